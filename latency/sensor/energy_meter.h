// SPDX-License-Identifier: Apache-2.0
// Energy used between two moments, by one sensor.
//
//   EnergyMeter::Options options;
//   options.sensor = sensors.available[0].get();
//   FORALL_ASSIGN_OR_RETURN(auto meter, EnergyMeter::Create(options));
//   FORALL_RETURN_IF_ERROR(meter->Start());
//   ... nothing, for meter->ShortestInterval() ...
//   FORALL_RETURN_IF_ERROR(meter->StopAsBaseline().status());
//   FORALL_RETURN_IF_ERROR(meter->Start());
//   ... 500 inferences ...
//   FORALL_ASSIGN_OR_RETURN(EnergyReport report, meter->Stop(500));
//
// What cannot be measured is an error with its reason, never 0 joules.
#ifndef FORALL_LATENCY_SENSOR_ENERGY_METER_H_
#define FORALL_LATENCY_SENSOR_ENERGY_METER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "latency/sensor/power_sensor.h"

namespace forall {

struct EnergyReport {
  double joules = 0;  // All that the sensor saw, what the machine uses at rest included.
  double seconds = 0;
  double average_watts = 0;
  std::string source;
  std::string domain;
  SensorKind kind = SensorKind::kCounter;
  // Readings, the first and the last included, and those that failed and were left out.
  int64_t samples = 0;
  int64_t failed_samples = 0;
  // Mean and longest time from one reading to the next.
  absl::Duration sample_interval;
  absl::Duration longest_gap;
  // What the machine draws at rest, where a baseline was taken.
  std::optional<double> idle_watts;
  int64_t inferences = 0;

  // (joules - idle_watts x seconds) / inferences, or joules / inferences without a baseline.
  // Unavailable when the load cannot be told from rest.
  absl::StatusOr<double> JoulesPerInference() const;
};

// Thread-compatible. A meter measures again and again; a baseline stays until the next one.
class EnergyMeter {
 public:
  struct Options {
    PowerSensor* sensor = nullptr;  // Not owned, used by nobody else meanwhile, outlives the meter.
    // How often a sampled sensor is read; zero: as often as it is updated, at most every 10 ms.
    absl::Duration sample_period = absl::ZeroDuration();
    // Fewer new values than this within an interval are refused: the ends of an interval are each
    // known to one update only, so with 20 the error at an end is at most 5 % of the energy.
    int least_updates = 20;
    // Known beforehand, e.g. from another meter of the same sensor.
    std::optional<double> idle_watts = {};
    // False: no thread reads the sensor, the caller does so by Sample() between its runs.
    bool background = true;
    Clock* clock = Clock::Real();
  };

  // InvalidArgument without a sensor, or when a number is out of its range.
  static absl::StatusOr<std::unique_ptr<EnergyMeter>> Create(const Options& options);
  ~EnergyMeter();
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;

  // Takes the first reading and begins to sample. FailedPrecondition when it was started already;
  // the sensor's errors.
  absl::Status Start();
  // One more reading; a failed one counts as such. FailedPrecondition before Start or when a thread
  // does this.
  absl::Status Sample();
  // Takes the last reading and ends the interval, also when it returns an error:
  // - FailedPrecondition: not started; the interval is shorter than ShortestInterval(); the sensor
  //   was in a state that forbids measuring;
  // - InvalidArgument: no inferences;
  // - Unavailable: the sensor vanished, stood still, was read too seldom, or reads nonsense;
  // - DataLoss: energy was missed.
  absl::StatusOr<EnergyReport> Stop(int64_t inferences);
  // Ends an interval in which nothing was to do: its average watts are subtracted from now on.
  absl::StatusOr<double> StopAsBaseline();

  // The shortest interval that Stop accepts.
  absl::Duration ShortestInterval() const;

 private:
  // What was read since Start. Touched by the thread alone while there is one.
  struct Interval {
    int64_t first_ns = 0;
    int64_t last_ns = 0;
    double first_value = 0;
    double last_value = 0;
    double sampled_joules = 0;
    int64_t samples = 0;
    int64_t failed_samples = 0;
    int64_t longest_gap_ns = 0;
    absl::Status failure;  // The last reading's.
    absl::Status spoilt;   // The first failure that spoils the interval.
  };

  explicit EnergyMeter(const Options& options);
  void ReadSensor();
  void SampleUntilStopped();
  void JoinThread();
  absl::StatusOr<EnergyReport> Finish();
  absl::Status CheckInterval(const EnergyReport& report) const;

  const Options options_;
  const SensorDescription& description_;
  const absl::Duration sample_period_;
  std::optional<double> idle_watts_;
  bool started_ = false;
  Interval interval_;

  Mutex mu_;
  CondVar stop_changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_ENERGY_METER_H_
