// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/energy_meter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// Reading a sensor costs the measured machine time (an INA3221 sits behind a slow bus).
constexpr absl::Duration kShortestSamplePeriod = absl::Milliseconds(10);

// How often the meter reads by itself; infinite: at the ends only.
absl::Duration SamplePeriod(const EnergyMeter::Options& options) {
  const SensorDescription& sensor = options.sensor->description();
  if (sensor.kind == SensorKind::kCounter) return sensor.longest_gap / 4;
  if (options.sample_period > absl::ZeroDuration()) return options.sample_period;
  return std::max(sensor.update_period, kShortestSamplePeriod);
}

bool Spoils(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsDataLoss(status);
}

std::string Name(const SensorDescription& sensor) {
  return absl::StrCat(sensor.source, " ", sensor.domain);
}

}  // namespace

absl::StatusOr<double> EnergyReport::JoulesPerInference() const {
  if (inferences < 1) return absl::UnavailableError("no inferences were counted");
  const double net = joules - idle_watts.value_or(0) * seconds;
  if (net <= 0) {
    return absl::UnavailableError(absl::StrCat(
        source, " ", domain, ": ", average_watts, " W while measuring are no more than ",
        idle_watts.value_or(0),
        " W at rest: take the baseline anew while the machine is quiet, or measure for "
        "longer"));
  }
  return net / static_cast<double>(inferences);
}

absl::StatusOr<std::unique_ptr<EnergyMeter>> EnergyMeter::Create(const Options& options) {
  if (options.sensor == nullptr)
    return absl::InvalidArgumentError("an energy meter needs a sensor");
  if (options.sample_period < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("sample_period must not be negative");
  }
  if (options.least_updates < 1) {
    return absl::InvalidArgumentError("least_updates must be 1 or more");
  }
  if (options.idle_watts.has_value() &&
      (!std::isfinite(*options.idle_watts) || *options.idle_watts < 0)) {
    return absl::InvalidArgumentError("idle_watts must be a number of 0 or more");
  }
  return std::unique_ptr<EnergyMeter>(new EnergyMeter(options));
}

EnergyMeter::EnergyMeter(const Options& options)
    : options_(options),
      description_(options_.sensor->description()),
      sample_period_(SamplePeriod(options_)),
      idle_watts_(options_.idle_watts) {}

EnergyMeter::~EnergyMeter() { JoinThread(); }

absl::Duration EnergyMeter::ShortestInterval() const {
  const bool sampled = description_.kind == SensorKind::kSampled;
  const absl::Duration update =
      sampled ? std::max(description_.update_period, sample_period_) : description_.update_period;
  return update * options_.least_updates;
}

void EnergyMeter::ReadSensor() {
  const int64_t before_ns = options_.clock->SteadyNanos();
  const absl::StatusOr<double> value = options_.sensor->Read();
  const int64_t now_ns = before_ns + (options_.clock->SteadyNanos() - before_ns) / 2;
  interval_.failure = value.status();
  if (!value.ok()) {
    ++interval_.failed_samples;
    if (interval_.spoilt.ok() && Spoils(value.status())) interval_.spoilt = value.status();
    return;
  }
  if (interval_.samples == 0) {
    interval_.first_ns = now_ns;
    interval_.first_value = *value;
  } else {
    const int64_t gap_ns = now_ns - interval_.last_ns;
    interval_.longest_gap_ns = std::max(interval_.longest_gap_ns, gap_ns);
    // The trapezoid rule.
    interval_.sampled_joules +=
        (interval_.last_value + *value) / 2 * static_cast<double>(gap_ns) * 1e-9;
  }
  interval_.last_ns = now_ns;
  interval_.last_value = *value;
  ++interval_.samples;
}

absl::Status EnergyMeter::Start() {
  if (started_)
    return absl::FailedPreconditionError("the energy meter runs already: stop it first");
  interval_ = Interval();
  ReadSensor();
  FORALL_RETURN_IF_ERROR(WithContext(interval_.failure, Name(description_)));
  started_ = true;
  if (!options_.background || sample_period_ == absl::InfiniteDuration()) return absl::OkStatus();
  {
    MutexLock lock(&mu_);
    stopping_ = false;
  }
  thread_ = Thread("energy", [this] { SampleUntilStopped(); });
  return absl::OkStatus();
}

void EnergyMeter::SampleUntilStopped() {
  while (true) {
    {
      MutexLock lock(&mu_);
      // A spurious wake-up only makes one sample come early.
      if (!stopping_) stop_changed_.WaitWithTimeout(&mu_, sample_period_);
      if (stopping_) return;
    }
    ReadSensor();
  }
}

void EnergyMeter::JoinThread() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  stop_changed_.SignalAll();
  thread_.Join();
}

absl::Status EnergyMeter::Sample() {
  if (!started_) return absl::FailedPreconditionError("the energy meter is not running");
  if (options_.background) {
    return absl::FailedPreconditionError("the energy meter samples by itself");
  }
  ReadSensor();
  return absl::OkStatus();
}

absl::Status EnergyMeter::CheckInterval(const EnergyReport& report) const {
  const absl::Duration length = absl::Seconds(report.seconds);
  if (length < ShortestInterval()) {
    return absl::FailedPreconditionError(absl::StrCat(
        absl::FormatDuration(length), " is too short: the sensor has a new value every ",
        absl::FormatDuration(description_.update_period), ", measure for at least ",
        absl::FormatDuration(ShortestInterval())));
  }
  if (report.longest_gap > description_.longest_gap) {
    return absl::DataLossError(absl::StrCat("not read for ",
                                            absl::FormatDuration(report.longest_gap),
                                            ", while its counter may wrap around within ",
                                            absl::FormatDuration(description_.longest_gap)));
  }
  // Two periods are one late or failed sample. Beyond, a tenth of the interval may be a guess.
  if (report.kind == SensorKind::kSampled &&
      report.longest_gap > std::max(2 * sample_period_, length / 10)) {
    return absl::UnavailableError(
        absl::StrCat("not read for ", absl::FormatDuration(report.longest_gap), " of ",
                     absl::FormatDuration(length), ", ", report.failed_samples,
                     " readings failed: the power meanwhile is not known"));
  }
  if (!(report.joules > 0)) {  // NaN too.
    return absl::UnavailableError(
        report.kind == SensorKind::kCounter
            ? absl::StrCat("its counter stood still for ", absl::FormatDuration(length),
                           ", as those of virtual machines do: measure on the host")
            : absl::StrCat("it read no power for ", absl::FormatDuration(length)));
  }
  if (report.average_watts > description_.most_watts) {
    return absl::UnavailableError(absl::StrCat("it says ", report.average_watts,
                                               " W, more than the ", description_.most_watts,
                                               " W that can be: its counter was probably reset"));
  }
  return absl::OkStatus();
}

absl::StatusOr<EnergyReport> EnergyMeter::Finish() {
  if (!started_) return absl::FailedPreconditionError("the energy meter is not running");
  JoinThread();
  started_ = false;
  ReadSensor();
  const std::string name = Name(description_);
  FORALL_RETURN_IF_ERROR(WithContext(interval_.spoilt, name));
  if (!interval_.failure.ok()) {
    return absl::UnavailableError(
        absl::StrCat(name, ": lost while measuring: ", interval_.failure.message()));
  }
  const int64_t length_ns = interval_.last_ns - interval_.first_ns;
  EnergyReport report;
  report.source = description_.source;
  report.domain = description_.domain;
  report.kind = description_.kind;
  report.seconds = static_cast<double>(length_ns) * 1e-9;
  report.joules = description_.kind == SensorKind::kCounter
                      ? interval_.last_value - interval_.first_value
                      : interval_.sampled_joules;
  report.average_watts = length_ns > 0 ? report.joules / report.seconds : 0;
  report.samples = interval_.samples;
  report.failed_samples = interval_.failed_samples;
  report.longest_gap = absl::Nanoseconds(interval_.longest_gap_ns);
  report.sample_interval = absl::Nanoseconds(length_ns) / (interval_.samples - 1);
  FORALL_RETURN_IF_ERROR(WithContext(CheckInterval(report), name));
  return report;
}

absl::StatusOr<EnergyReport> EnergyMeter::Stop(int64_t inferences) {
  absl::StatusOr<EnergyReport> report = Finish();
  if (inferences < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("energy of ", inferences, " inferences: there must be at least one"));
  }
  FORALL_RETURN_IF_ERROR(report.status());
  report->inferences = inferences;
  report->idle_watts = idle_watts_;
  return report;
}

absl::StatusOr<double> EnergyMeter::StopAsBaseline() {
  FORALL_ASSIGN_OR_RETURN(const EnergyReport report, Finish());
  idle_watts_ = report.average_watts;
  return report.average_watts;
}

}  // namespace forall
