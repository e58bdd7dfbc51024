// SPDX-License-Identifier: Apache-2.0
// A measuring child and the conversation with it.
#ifndef FORALL_LATENCY_CHILD_CHILD_LINK_H_
#define FORALL_LATENCY_CHILD_CHILD_LINK_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/child_process.h"
#include "latency/child/confinement.h"

namespace forall {

// Whether a status that a link returned is a crash of the child, or an overrun that it was killed
// for: only then is another try worth while.
bool IsChildCrash(const absl::Status& status);

// Thread-compatible.
class ChildLink {
 public:
  struct Options {
    // What to start: MeasuringChildCommand() (measuring_child.h).
    std::vector<std::string> command = {};
    // What the child's factory makes its backend of.
    std::string configuration = {};
    // "": models are loaded alone (LoadAlone in session.h).
    std::string reference_model = {};
    // To load the reference.
    absl::Duration prepare_limit = absl::Minutes(1);
    // Largest private memory of the child; 0: what the machine has.
    int64_t memory_bytes = 0;
    // What the child gives up before it hears of a model.
    Confinement confinement = {};
  };

  explicit ChildLink(Options options) : options_(std::move(options)) {}
  ~ChildLink() { End(); }
  ChildLink(const ChildLink&) = delete;
  ChildLink& operator=(const ChildLink&) = delete;

  // Starts a child unless one is running, and has it make its backend and run the reference.
  // FailedPrecondition when that fails; Cancelled.
  absl::Status Start(const std::function<bool()>& cancelled);
  void End();
  // Two frames.
  absl::Status Send(absl::string_view text, absl::string_view model);
  // What the child says next: of a result the value of `key`, as JSON; nothing of other events; an
  // error that it tells is the model's, and it goes on. On any error of the conversation the child
  // is ended, for nobody knows what it would say next: InvalidArgument when it crashed, or when
  // `what` did not come in time; DataLoss for what no session says; ResourceExhausted when it was
  // killed from outside, as a kernel short of memory does.
  absl::StatusOr<std::string> Receive(absl::Duration limit, const std::function<bool()>& cancelled,
                                      absl::string_view what, const std::string& key);

  // The child at this moment; -1 when there is none.
  pid_t pid() const { return process_ == nullptr ? -1 : process_->pid(); }

 private:
  absl::StatusOr<std::string> ReceiveText(absl::Duration limit,
                                          const std::function<bool()>& cancelled,
                                          absl::string_view what);
  // Of a child that closed its socket by itself.
  absl::Status CrashStatus();

  const Options options_;
  std::unique_ptr<ChildProcess> process_;
  int socket_ = -1;
};

}  // namespace forall

#endif  // FORALL_LATENCY_CHILD_CHILD_LINK_H_
