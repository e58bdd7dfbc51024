// SPDX-License-Identifier: Apache-2.0
#include "latency/child/confinement.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// What Linux gives whoever is nobody, where no file of users says so.
constexpr uid_t kNobody = 65534;
// To the calls that change users and groups.
constexpr uid_t kUnchanged = static_cast<uid_t>(-1);
constexpr rlim_t kLargestFile = rlim_t{8} << 30;  // an engine of TensorRT is a file
constexpr rlim_t kMostDescriptors = 4096;
constexpr char kLocalSockets[] = "+local-sockets";

void Limit(__rlimit_resource resource, rlim_t most) {
  struct rlimit limit = {};
  getrlimit(resource, &limit);
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = std::min(limit.rlim_cur, limit.rlim_max);
  // Lowering is never refused.
  setrlimit(resource, &limit);
}

bool WriteText(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return written;
}

absl::StatusOr<UserIds> FindUser(const std::string& name) {
  UserIds ids;
  if (absl::SimpleAtoi(name, &ids.uid) && ids.uid != kUnchanged) {
    const struct passwd* const entry = getpwuid(ids.uid);
    ids.gid = entry == nullptr ? ids.uid : entry->pw_gid;
    return ids;
  }
  const struct passwd* const entry = getpwnam(name.c_str());
  if (entry == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("this machine has no user \"", name, "\" (a number does as well)"));
  }
  return UserIds{entry->pw_uid, entry->pw_gid};
}

absl::StatusOr<gid_t> FindGroup(const std::string& name) {
  gid_t gid = 0;
  if (absl::SimpleAtoi(name, &gid) && gid != kUnchanged) return gid;
  const struct group* const entry = getgrnam(name.c_str());
  if (entry == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("this machine has no group \"", name, "\" (a number does as well)"));
  }
  return entry->gr_gid;
}

#if defined(__x86_64__)
constexpr uint32_t kMachine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kMachine = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kMachine = 0;
#endif
// From here on x86-64's numbers mean the calls of another binary interface (x32).
constexpr uint32_t kFirstX32 = 0x40000000;

// The network, and what one socket could be turned into.
constexpr uint32_t kSocketCalls[] = {SYS_socket, SYS_socketpair, SYS_connect, SYS_bind,
                                     SYS_listen, SYS_accept,     SYS_accept4};

// Refused whatever their arguments.
constexpr uint32_t kRefused[] = {
    // Other programs.
    SYS_execve,
    SYS_execveat,
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
    // Other processes.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
#ifdef SYS_pidfd_open
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
#endif
#ifdef SYS_pidfd_getfd
    SYS_pidfd_getfd,
#endif
#ifdef SYS_process_madvise
    SYS_process_madvise,
#endif
// Calls that would not pass through this filter.
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
#endif
    // The file system's shape.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
#ifdef SYS_move_mount
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
#endif
#ifdef SYS_mount_setattr
    SYS_mount_setattr,
#endif
    // The parts of a kernel where most of its holes were.
    SYS_unshare,
    SYS_setns,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_swapon,
    SYS_swapoff,
    SYS_reboot,
    SYS_acct,
    SYS_quotactl,
    SYS_syslog,
#ifdef SYS_iopl
    SYS_iopl,
    SYS_ioperm,
#endif
    SYS_personality,
};

// A kernel has no more capabilities than there are bits.
void DropBoundingSet() {
  for (int capability = 0; capability < 64; ++capability) {
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
}

// A program for the kernel: a chain of tests, each of which answers or falls through to the next.
class Filter {
 public:
  Filter() {
    Load(offsetof(struct seccomp_data, arch));
    Add(BPF_JMP | BPF_JEQ | BPF_K, kMachine, 1, 0);
    Answer(SECCOMP_RET_KILL_PROCESS);
    LoadNumber();
#if defined(__x86_64__)
    Add(BPF_JMP | BPF_JGE | BPF_K, kFirstX32, 0, 1);
    Answer(Error(EPERM));
#endif
  }

  void Refuse(uint32_t call, int error) {
    Add(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
    Answer(Error(error));
  }
  // Allowed when the low half of its first argument, an int to the kernel, is one of these.
  void AllowOnly(uint32_t call, const std::vector<uint32_t>& values) {
    Add(BPF_JMP | BPF_JEQ | BPF_K, call, 0, static_cast<uint8_t>(2 * values.size() + 2));
    Load(kFirstArgument);
    for (const uint32_t value : values) {
      Add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
      Answer(SECCOMP_RET_ALLOW);
    }
    Answer(Error(EPERM));
  }
  // Allowed when the first argument has one of these bits.
  void AllowWith(uint32_t call, uint32_t bits) {
    Add(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
    Load(kFirstArgument);
    Add(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    Answer(Error(EPERM));
    Answer(SECCOMP_RET_ALLOW);
  }
  // The last step: whatever nothing else was said of.
  void AllowTheRest() { Answer(SECCOMP_RET_ALLOW); }

  struct sock_fprog Program() {
    return {static_cast<unsigned short>(steps_.size()), steps_.data()};
  }

 private:
  static constexpr uint32_t kFirstArgument = offsetof(struct seccomp_data, args);
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low half comes first");

  static uint32_t Error(int error) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error); }
  void Add(int code, uint32_t k, uint8_t then, uint8_t otherwise) {
    steps_.push_back({static_cast<uint16_t>(code), then, otherwise, k});
  }
  void Load(uint32_t offset) { Add(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
  void LoadNumber() { Load(offsetof(struct seccomp_data, nr)); }
  void Answer(uint32_t action) { Add(BPF_RET | BPF_K, action, 0, 0); }

  std::vector<struct sock_filter> steps_;
};

}  // namespace

absl::StatusOr<Confinement> ConfinementAs(absl::string_view text) {
  const bool root = geteuid() == 0;
  if (text.empty() && !root) return Confinement{};
  if (text.empty()) {
    const struct passwd* const nobody = getpwnam("nobody");
    Confinement confinement;
    confinement.user =
        nobody == nullptr ? UserIds{kNobody, kNobody} : UserIds{nobody->pw_uid, nobody->pw_gid};
    return confinement;
  }
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  FORALL_ASSIGN_OR_RETURN(UserIds ids, FindUser(parts[0]));
  if (parts.size() == 2) {
    FORALL_ASSIGN_OR_RETURN(ids.gid, FindGroup(parts[1]));
  }
  Confinement confinement;
  if (ids.uid == geteuid() && ids.gid == getegid()) return confinement;
  confinement.user = ids;
  if (root) return confinement;
  return absl::InvalidArgumentError(absl::StrCat(
      "only root can measure as another user; this is user ", geteuid(), ", group ", getegid()));
}

absl::StatusOr<bool> MayWriteIn(const std::string& folder, const UserIds& user) {
  struct stat entry = {};
  if (stat(folder.c_str(), &entry) != 0 || !S_ISDIR(entry.st_mode)) {
    return absl::NotFoundError(absl::StrCat("\"", folder, "\" is no folder"));
  }
  if (user.uid == 0) return true;
  mode_t needed = S_IWOTH | S_IXOTH;
  if (entry.st_gid == user.gid) needed = S_IWGRP | S_IXGRP;
  if (entry.st_uid == user.uid) needed = S_IWUSR | S_IXUSR;
  return (entry.st_mode & needed) == needed;
}

std::string ConfinementToText(const Confinement& confinement) {
  std::string text = "as-is";
  if (confinement.user.has_value()) {
    text = absl::StrCat(confinement.user->uid, ":", confinement.user->gid);
  }
  return confinement.local_sockets ? absl::StrCat(text, kLocalSockets) : text;
}

absl::StatusOr<Confinement> ConfinementFromText(absl::string_view text) {
  Confinement confinement;
  absl::string_view rest = text;
  confinement.local_sockets = absl::ConsumeSuffix(&rest, kLocalSockets);
  if (rest == "as-is") return confinement;
  const std::vector<std::string> parts = absl::StrSplit(rest, ':');
  UserIds ids;
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &ids.uid) &&
      absl::SimpleAtoi(parts[1], &ids.gid)) {
    confinement.user = ids;
    return confinement;
  }
  return absl::InvalidArgumentError(absl::StrCat("no confinement: \"", text, "\""));
}

absl::Status LeaveNetwork() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  // Without privileges the namespace has to belong to a user namespace of one's own.
  const int flags = uid == 0 ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER;
  if (unshare(flags) != 0) return absl::UnavailableError(std::strerror(errno));
  if (uid == 0) return absl::OkStatus();
  // So that it is called what it was. Files are those of the user in any case.
  WriteText("/proc/self/setgroups", "deny");
  WriteText("/proc/self/uid_map", absl::StrCat(uid, " ", uid, " 1"));
  WriteText("/proc/self/gid_map", absl::StrCat(gid, " ", gid, " 1"));
  return absl::OkStatus();
}

absl::Status BecomeUser(const UserIds& user) {
  const char* what = nullptr;
  if (user.uid == kUnchanged || user.gid == kUnchanged) {
    return absl::FailedPreconditionError("there is no such user or group");
  }
  if (setgroups(0, nullptr) != 0) {
    what = "groups";
  } else if (setresgid(user.gid, user.gid, user.gid) != 0) {
    what = "group";
  } else if (setresuid(user.uid, user.uid, user.uid) != 0) {
    what = "user";
  }
  if (what != nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the ", what, " cannot be changed to ", user.uid, ":", user.gid, ": ", std::strerror(errno),
        "; --measure-as names another user, and root, say, leaves it as it is"));
  }
  // Its own files in /proc would be root's otherwise, and peak memory is read there.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  return absl::OkStatus();
}

void DropCapabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  syscall(SYS_capset, &header, none);
}

absl::Status FilterSystemCalls(bool local_sockets) {
  if (kMachine == 0) return absl::UnavailableError("there is no list of calls for this processor");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return absl::UnavailableError(std::strerror(errno));
  }
  Filter filter;
  for (const uint32_t call : kRefused) filter.Refuse(call, EPERM);
  if (local_sockets) {
    filter.AllowOnly(SYS_socket, {AF_UNIX});
  } else {
    for (const uint32_t call : kSocketCalls) filter.Refuse(call, EPERM);
  }
  // Its flags are in memory, where a filter cannot look: the C library then uses the older one.
#ifdef SYS_clone3
  filter.Refuse(SYS_clone3, ENOSYS);
#endif
  filter.AllowWith(SYS_clone, CLONE_THREAD);
  const auto self = static_cast<uint32_t>(getpid());
  filter.AllowOnly(SYS_kill, {self});
  filter.AllowOnly(SYS_tgkill, {self});
  filter.AllowOnly(SYS_prlimit64, {0, self});
  filter.AllowTheRest();
  const struct sock_fprog program = filter.Program();
  // Threads that a sanitizer or an emulator has started already included.
  const long result =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (result == 0) return absl::OkStatus();
  return absl::UnavailableError(result > 0 ? "another thread has a filter of its own"
                                           : std::strerror(errno));
}

absl::StatusOr<std::vector<std::string>> Confine(const Confinement& confinement,
                                                 const std::function<void()>& before_user) {
  std::vector<std::string> refusals;
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_FSIZE, kLargestFile);
  Limit(RLIMIT_NOFILE, kMostDescriptors);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    refusals.push_back(absl::StrCat("confinement: no_new_privs: ", std::strerror(errno)));
  }
  const absl::Status network = LeaveNetwork();
  DropBoundingSet();
  if (confinement.user.has_value()) {
    if (before_user) before_user();
    FORALL_RETURN_IF_ERROR(BecomeUser(*confinement.user));
  }
  DropCapabilities();
  const absl::Status filter = FilterSystemCalls(confinement.local_sockets);
  if (!filter.ok()) {
    refusals.push_back(
        absl::StrCat("filter: the measuring process may make any system call: ", filter.message()));
  }
  if (!network.ok()) {
    refusals.push_back(absl::StrCat(
        "network: the measuring process has no network namespace of its own: ", network.message(),
        filter.ok() ? "; it is refused sockets all the same"
                    : "; a model can reach the network: keep this machine to models you trust"));
  }
  return refusals;
}

}  // namespace forall
