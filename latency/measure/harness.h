// SPDX-License-Identifier: Apache-2.0
// Measures the latency of one model on this device: warm-up until stable, candidate and a fixed
// reference network interleaved 1:1, as many runs as the wanted interval takes, verdict beside the
// number. The steps and their constants are explained in docs/measurement.md.
#ifndef FORALL_LATENCY_MEASURE_HARNESS_H_
#define FORALL_LATENCY_MEASURE_HARNESS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "latency/measure/environment.h"
#include "latency/measure/gate.h"
#include "latency/measure/host_lock.h"
#include "latency/measure/measurement.h"
#include "latency/measure/session.h"

namespace forall {

// What a calibration found: the yardstick of a device.
struct Baseline {
  // Of the reference network. Store it with the device; ratio * reference_ns is a latency in
  // nanoseconds.
  double reference_ns = 0;
  // Relative standard deviation of a ratio between sessions.
  double session_spread = 0;
  // The whole measurement.
  LatencyResult result;
};

// Thread-safe; measurements of one harness follow one another.
class LatencyHarness {
 public:
  struct Options {
    // Runs the sessions. Not owned, must outlive the harness.
    SessionRunner* sessions = nullptr;
    Clock* clock = Clock::Real();
    // Held exclusively while measuring; nullptr: the caller already holds it, or there is no need.
    HostLock* host_lock = nullptr;
    // nullptr: no environment is probed and no load is noticed.
    const EnvironmentProbe* probe = nullptr;
    // What Calibrate measures against the reference; "": the reference itself, in whose ratio much
    // of what differs between sessions cancels.
    std::string calibration_model = {};
    // From Calibrate, if known. A reference that is more than 20 % off is a reason for NOISY.
    double baseline_reference_ns = 0;
    // If known before Calibrate finds it. Widens the intervals: few sessions, taken within a second
    // or two, cannot show how sessions of other processes and other minutes differ.
    SessionSpread session_spread = {};
    // Once calibrated, a fresh session of the calibration model comes before every so many
    // measurements; the spread is that of the last 25. 0: never, as with a device that
    // measures by itself.
    int control_interval = 8;
    // Passed before each measurement; nullptr: none. Not owned, must outlive the harness.
    Gate* gate = nullptr;
    // Every session, of the calibration too, is as a profile with cold_cache would have it.
    bool cold_cache = false;
    // A throttled measurement is repeated this often in all, with a pause before.
    int attempts = 2;
    absl::Duration cool_down = absl::Milliseconds(500);
  };

  // The backend's error when it cannot run the reference.
  static absl::StatusOr<std::unique_ptr<LatencyHarness>> Create(Options options);

  // `model` is a model file's bytes. `cancelled` (may be empty) is asked before every run.
  // Returns a result also when it is REJECTED; an error only when the model cannot be run (the
  // backend's codes), when cancelled (Cancelled), or when the lock cannot be had.
  absl::StatusOr<LatencyResult> Measure(absl::string_view model, const Profile& profile,
                                        const std::function<bool()>& cancelled = {});

  // Measures the calibration model with profile "final" and adopts the result for later
  // measurements (when it is rejected, only the spread). Once per device and worker start.
  absl::StatusOr<Baseline> Calibrate(const std::function<bool()>& cancelled = {});

 private:
  explicit LatencyHarness(Options options);

  absl::StatusOr<LatencyResult> MeasureLocked(absl::string_view model, const Profile& wanted,
                                              const std::function<bool()>& cancelled)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Adds to `repetitions` how often the device changed its pace and the session was begun anew, and
  // to `other_processes` the processor time that other processes spent for all of them.
  absl::StatusOr<SessionSamples> RunSession(absl::string_view model, const Profile& profile,
                                            const std::function<bool()>& cancelled,
                                            int* repetitions, absl::Duration* other_processes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Times the calibration model when it is its turn.
  absl::Status Control(const std::function<bool()>& cancelled) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  const std::string& CalibrationModel() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LearnSpread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;
  Options options_ ABSL_GUARDED_BY(mu_);
  // The calibration model's ratios, of the calibration and since; empty before.
  std::vector<double> controls_ ABSL_GUARDED_BY(mu_);
  int measurements_since_control_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_HARNESS_H_
