// SPDX-License-Identifier: Apache-2.0
// What a process gives up before it loads a model of a stranger: its user, its network, most of
// what it could ask of the kernel (docs/security.md#models-of-strangers).
#ifndef FORALL_LATENCY_CHILD_CONFINEMENT_H_
#define FORALL_LATENCY_CHILD_CONFINEMENT_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

struct UserIds {
  uid_t uid = 0;
  gid_t gid = 0;
};

struct Confinement {
  // Whom the process becomes, without supplementary groups; absent: it stays who it is.
  std::optional<UserIds> user = {};
  // Whether it may make sockets of its own machine (AF_UNIX): CUDA makes one at its start.
  bool local_sockets = false;
};

// What --measure-as asks for: "USER" or "USER:GROUP", names or numbers. "" is nobody for root and
// the process's own user for everybody else. InvalidArgument for a user or group that is not known,
// and when this process may not become that user.
absl::StatusOr<Confinement> ConfinementAs(absl::string_view text);

// Whether that user can make files in a folder, by its mode bits alone. NotFound when it is not
// there.
absl::StatusOr<bool> MayWriteIn(const std::string& folder, const UserIds& user);

// How a measuring child is told: one argument of its command line. InvalidArgument for what the
// writer does not write.
std::string ConfinementToText(const Confinement& confinement);
absl::StatusOr<Confinement> ConfinementFromText(absl::string_view text);

// Confines this process for good; to be called while it has one thread. In this order: limits (no
// core file, files of 8 GiB, 4096 descriptors), no new privileges by exec, a network namespace in
// which there is nothing, where the user changes `before_user` (which may still read what only the
// former user can; empty: nothing) and the user, no capabilities, a filter of system calls. Returns
// a sentence for each of namespace and filter that the kernel refuses; FailedPrecondition when the
// user cannot be left, which must not be passed over.
absl::StatusOr<std::vector<std::string>> Confine(const Confinement& confinement,
                                                 const std::function<void()>& before_user);

// The parts of Confine, for tests and for whoever needs one alone.

// Unavailable where the kernel does not allow it.
absl::Status LeaveNetwork();
// FailedPrecondition. No way back.
absl::Status BecomeUser(const UserIds& user);
void DropCapabilities();
// Refuses, with EPERM: sockets (all, or all but local ones); processes and programs started;
// signals and limits for other processes; tracing them, though not their files in /proc, which only
// another user, another user namespace or Yama keeps shut; io_uring, mounts, namespaces, keys, BPF,
// performance events, kernel modules. Threads, memory, files and ioctl of devices remain. Needs
// no_new_privs, which it sets. Unavailable where the kernel has no such filters; on x86-64 and
// aarch64 only.
absl::Status FilterSystemCalls(bool local_sockets = false);

}  // namespace forall

#endif  // FORALL_LATENCY_CHILD_CONFINEMENT_H_
