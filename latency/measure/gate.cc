// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/gate.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace forall {

std::string Gate::Trouble(const GateReading& reading) {
  if (limits_.max_celsius > 0 && reading.celsius.value_or(0) > limits_.max_celsius) {
    return absl::StrCat(*reading.celsius, " degrees Celsius, more than ", limits_.max_celsius);
  }
  const int64_t cap = reading.frequency_cap_khz.value_or(0);
  if (cap <= 0) return "";
  highest_cap_khz_ = std::max(highest_cap_khz_, cap);
  if (static_cast<double>(cap) >=
      (1 - limits_.frequency_loss) * static_cast<double>(highest_cap_khz_)) {
    return "";
  }
  return absl::StrCat("frequency capped at ", cap / 1000, " MHz, it was ", highest_cap_khz_ / 1000);
}

absl::StatusOr<Gate::Outcome> Gate::Wait(Clock* clock, const std::function<bool()>& cancelled) {
  const int64_t start_ns = clock->SteadyNanos();
  while (true) {
    if (cancelled && cancelled()) return absl::CancelledError("measurement cancelled");
    Outcome outcome;
    outcome.trouble = Trouble(read_());
    outcome.waited = absl::Nanoseconds(clock->SteadyNanos() - start_ns);
    if (outcome.trouble.empty() || outcome.waited >= limits_.patience) return outcome;
    clock->SleepFor(limits_.interval);
  }
}

}  // namespace forall
