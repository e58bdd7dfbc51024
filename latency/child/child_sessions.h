// SPDX-License-Identifier: Apache-2.0
// Sessions in a process of their own, which is reused until a model crashes it or overruns its
// time. Profiles that are `fresh` give each session a process of its own: most of what makes a
// network's latency differ from one day to the next differs between processes
// (docs/measurement.md).
#ifndef FORALL_LATENCY_CHILD_CHILD_SESSIONS_H_
#define FORALL_LATENCY_CHILD_CHILD_SESSIONS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "latency/backend/backend.h"
#include "latency/child/child_link.h"
#include "latency/child/confinement.h"
#include "latency/measure/session.h"

namespace forall {

// Thread-compatible.
class ChildSessions : public SessionRunner {
 public:
  struct Options {
    // What to start: MeasuringChildCommand() (latency/child/measuring_child.h).
    std::vector<std::string> command = {};
    // What the child's factory makes its backend of.
    std::string configuration = {};
    // What Describe says of that backend.
    BackendDescription description = {};
    std::string reference_model = {};
    // To load the models, which includes building an engine where a runtime does that.
    absl::Duration prepare_limit = absl::Minutes(1);
    // To run a session, beyond what its profile allows for: a run that never ends is noticed so
    // late.
    absl::Duration run_limit = absl::Seconds(30);
    // Largest private memory of the child; 0: what the machine has.
    int64_t memory_bytes = 0;
    // What the child gives up before it hears of a model.
    Confinement confinement = {};
  };

  explicit ChildSessions(Options options);

  // Starts the child and has it run the reference network. FailedPrecondition when that fails.
  absl::Status Check() override;
  // InvalidArgument also when the model twice in a row crashes the child, or does not load or end
  // in time; ResourceExhausted also when the child was killed from outside twice, as a kernel short
  // of memory does. Cancelling kills the child.
  absl::StatusOr<SessionSamples> Run(absl::string_view model, const Profile& profile,
                                     const std::function<bool()>& cancelled) override;
  // In a process started for it, in which no other model was ever loaded; it lives as long as the
  // lone model. Errors as Run, without a second try.
  absl::StatusOr<std::unique_ptr<LoneModel>> LoadAlone(
      absl::string_view model, const std::function<bool()>& cancelled) override;
  BackendDescription Describe() const override { return options_.description; }
  const std::string& reference_model() const override { return options_.reference_model; }

  // The child at this moment; -1 when there is none.
  pid_t pid() const { return link_.pid(); }

 private:
  absl::StatusOr<SessionSamples> RunOnce(absl::string_view model, const Profile& profile,
                                         const std::function<bool()>& cancelled);

  const Options options_;
  ChildLink link_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_CHILD_CHILD_SESSIONS_H_
