// SPDX-License-Identifier: Apache-2.0
// Waits before a measurement until the device is as cool and as fast as it should be: a hot phone
// is another phone.
#ifndef FORALL_LATENCY_MEASURE_GATE_H_
#define FORALL_LATENCY_MEASURE_GATE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace forall {

// What a gate looks at; absent: the device does not say, and nothing is asked of it.
struct GateReading {
  // Of the hottest zone.
  std::optional<double> celsius;
  // The highest frequency that the kernel allows at the moment, core by core; 0 where it does not
  // say.
  std::vector<int64_t> frequency_caps_khz = {};
};

struct GateLimits {
  // 0: whatever the temperature.
  double max_celsius = 0;
  // A core's cap may be lower than the highest that was seen of it by this share; caps that an
  // owner sets before the worker starts are what the device is.
  double frequency_loss = 0.02;
  // How long to wait for it; then the measurement is made, and is NOISY.
  absl::Duration patience = absl::Minutes(2);
  absl::Duration interval = absl::Seconds(1);
};

// Thread-compatible.
class Gate {
 public:
  struct Outcome {
    absl::Duration waited;
    // Why the device is not as it should be; "" when it is.
    std::string trouble;
  };

  Gate(GateLimits limits, std::function<GateReading()> read)
      : limits_(limits), read_(std::move(read)) {}

  // Cancelled when `cancelled` (may be empty) says so.
  absl::StatusOr<Outcome> Wait(Clock* clock, const std::function<bool()>& cancelled);

 private:
  std::string Trouble(const GateReading& reading);

  const GateLimits limits_;
  const std::function<GateReading()> read_;
  std::vector<int64_t> highest_caps_khz_;
  bool told_celsius_ = false;
};

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_GATE_H_
