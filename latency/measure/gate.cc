// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/gate.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace forall {

std::string Gate::Trouble(const GateReading& reading) {
  if (limits_.max_celsius > 0) {
    if (reading.celsius.value_or(0) > limits_.max_celsius) {
      return absl::StrCat(*reading.celsius, " degrees Celsius, more than ", limits_.max_celsius);
    }
    // It may be hot, and the way there disturbed.
    if (told_celsius_ && !reading.celsius.has_value()) return "its temperature cannot be read";
    told_celsius_ |= reading.celsius.has_value();
  }
  highest_caps_khz_.resize(std::max(highest_caps_khz_.size(), reading.frequency_caps_khz.size()));
  for (size_t core = 0; core < reading.frequency_caps_khz.size(); ++core) {
    const int64_t cap = reading.frequency_caps_khz[core];
    if (cap <= 0) continue;
    int64_t& highest = highest_caps_khz_[core];
    highest = std::max(highest, cap);
    if (static_cast<double>(cap) >= (1 - limits_.frequency_loss) * static_cast<double>(highest)) {
      continue;
    }
    return absl::StrCat("core ", core, " capped at ", cap / 1000, " MHz, it was ", highest / 1000);
  }
  return "";
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
