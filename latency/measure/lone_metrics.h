// SPDX-License-Identifier: Apache-2.0
// Memory and energy of a model that is loaded and runs alone, so that nothing of the reference is
// in the numbers (docs/energy-and-memory.md). Unlike a latency they are absolute: what disturbs
// shows in the scatter between processes and between windows, and in the load.
#ifndef FORALL_LATENCY_MEASURE_LONE_METRICS_H_
#define FORALL_LATENCY_MEASURE_LONE_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "latency/measure/environment.h"
#include "latency/measure/measurement.h"
#include "latency/measure/session.h"
#include "latency/sensor/power_sensor.h"

namespace forall {

struct LoneMetric {
  // In MiB or mJ; the interval is Student's, for what one further process or window will find.
  // Meaningless when rejected.
  Estimate estimate;
  int64_t samples = 0;  // processes, windows
  Verdict verdict = Verdict::kRejected;
  // Names of Reason where there is one that fits; why it is rejected in words.
  std::vector<std::string> reasons;
};

// Each of `processes` (at least 3) loads the model as the only one and runs it for the first times;
// its peak is what that adds to what was resident before. The half-width is at least what the
// kernel's count may be off. NOISY with the reason sessions_disagree when it is more than 5 %.
// REJECTED where the kernel cannot tell. Errors: the model's; Cancelled.
absl::StatusOr<LoneMetric> MeasurePeakMemory(SessionRunner* sessions, absl::string_view model,
                                             int processes, const std::function<bool()>& cancelled);

// The sensors that energy per inference is taken from: of the first source that has any (RAPL,
// INA3221) all that may be added up, or else a battery. Where models run on an NVIDIA GPU
// (`gpu`, e.g. "gpu-0"), that one by NVML takes RAPL's place.
class EnergySensors {
 public:
  // Unavailable, with what was looked for and why it cannot be had.
  static absl::StatusOr<std::unique_ptr<EnergySensors>> Choose(PowerSensors found,
                                                               const std::string& gpu = "");

  std::vector<PowerSensor*> sensors() const;
  // "rapl package-0 + rapl dram": for people.
  std::string Describe() const;

 private:
  EnergySensors() = default;
  std::vector<std::unique_ptr<PowerSensor>> sensors_;
};

struct EnergyOptions {
  SessionRunner* sessions = nullptr;  // not owned, as are the next three
  const EnergySensors* sensors = nullptr;
  Clock* clock = Clock::Real();
  const EnvironmentProbe* probe = nullptr;  // nullptr: no load is noticed
  // Of one window; longer where a sensor needs it.
  absl::Duration window = absl::Milliseconds(500);
  int windows = 5;  // at least 3
  // False: sampled sensors are not read meanwhile, which suits counters in tests.
  bool background = true;
};

// After a warm-up, `windows` times: nothing for a window, the model in a loop for a window. Of
// each, (joules - watts at rest x seconds) / inferences. A window that the sensors refuse is
// repeated, as many in all as windows were wanted. NOISY when the half-width is more than 10 %
// (target_missed) or others worked meanwhile (load). REJECTED when fewer than 3 windows could be
// had. Errors: the model's; Cancelled.
absl::StatusOr<LoneMetric> MeasureEnergy(const EnergyOptions& options, absl::string_view model,
                                         const std::function<bool()>& cancelled);

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_LONE_METRICS_H_
