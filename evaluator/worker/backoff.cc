// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/backoff.h"

#include <algorithm>

namespace forall {

Backoff::Backoff(const Options& options)
    : options_(options), random_(options.seed), next_(options.first) {}

absl::Duration Backoff::Next() {
  const absl::Duration delay = next_ * (0.8 + 0.4 * random_.Double());
  next_ = std::min(next_ * 1.6, options_.longest);
  return delay;
}

bool IsConnectionTrouble(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return true;
    default:
      return false;
  }
}

absl::Status RetryConnection(const Backoff::Options& options, const StopSignal& stop,
                             const std::function<absl::Status()>& attempt) {
  Backoff backoff(options);
  while (!stop.stopped()) {
    const absl::Status status = attempt();
    if (!IsConnectionTrouble(status)) return status;
    stop.wait(backoff.Next());
  }
  return absl::CancelledError("stopped");
}

}  // namespace forall
