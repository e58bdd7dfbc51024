// SPDX-License-Identifier: Apache-2.0
// How long to wait between tries, and who may end the waiting.
#ifndef FORALL_EVALUATOR_WORKER_BACKOFF_H_
#define FORALL_EVALUATOR_WORKER_BACKOFF_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/random.h"

namespace forall {

// What a step that may take long asks its caller. Both functions are thread-safe.
struct StopSignal {
  // True once the step should end; it then returns Cancelled.
  std::function<bool()> stopped = [] { return false; };
  // Waits so long, or less when `stopped` may have changed.
  std::function<void(absl::Duration)> wait;
};

// Growing delays with jitter, so that a fleet does not come back all at once. Thread-compatible.
class Backoff {
 public:
  struct Options {
    absl::Duration first = absl::Milliseconds(100);
    absl::Duration longest = absl::Seconds(2);
    // Give every worker its own.
    uint64_t seed = 0;
  };
  explicit Backoff(const Options& options);

  // `first`, then 1.6 times more each time up to `longest`; each 20 % more or less.
  absl::Duration Next();
  void Reset() { next_ = options_.first; }

 private:
  const Options options_;
  Random random_;
  absl::Duration next_;
};

// True for errors that a restart of the other side explains: Unavailable, DeadlineExceeded,
// Cancelled.
bool IsConnectionTrouble(const absl::Status& status);

// Calls `attempt` until it returns something else than connection trouble. Cancelled when stopped.
absl::Status RetryConnection(const Backoff::Options& options, const StopSignal& stop,
                             const std::function<absl::Status()>& attempt);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_BACKOFF_H_
