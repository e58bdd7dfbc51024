// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/lone_metrics.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/cut_text.h"
#include "base/status_macros.h"
#include "latency/measure/statistics.h"
#include "latency/sensor/energy_meter.h"

namespace forall {
namespace {

constexpr double kMebibyte = 1 << 20;
constexpr double kMillijoules = 1e3;
constexpr double kMemoryLimit = 0.05;
constexpr double kEnergyLimit = 0.10;
constexpr int kFewestWindows = 3;
constexpr absl::Duration kWarmUp = absl::Milliseconds(200);
// A sensor that needs more than this for one window would take hours for a search.
constexpr absl::Duration kLongestWindow = absl::Minutes(1);
constexpr absl::string_view kBattery = "battery";
constexpr size_t kMostReasonBytes = 400;
constexpr absl::Duration kNap = absl::Milliseconds(50);

// How far a resident size may be off on `threads` cores: the kernel adds up pages in batches per
// thread (64, before Linux 6.2) or per core (32 or twice the number of cores, since).
double ResidentResolutionMib(int threads) {
  const double cores = static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  const double pages = std::max(64.0, 2 * cores) * std::max(1, threads);
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / kMebibyte;
}

// For one more of the same, with 95 % probability.
Estimate PredictNext(const std::vector<double>& values, double least_half_width) {
  const double mean = Mean(values);
  const auto n = static_cast<int>(values.size());
  const double half =
      n < 2 ? mean : StudentT975(n - 1) * StandardDeviation(values) * std::sqrt(1 + 1.0 / n);
  const double arm = std::max(half, least_half_width);
  return {.value = mean, .low = std::max(0.0, mean - arm), .high = mean + arm};
}

LoneMetric Rejected(absl::string_view why) {
  LoneMetric metric;
  metric.reasons.push_back(CutText(why, kMostReasonBytes));
  return metric;
}

void AddReason(Reason reason, LoneMetric* metric) {
  metric->reasons.emplace_back(ReasonName(reason));
  metric->verdict = Verdict::kNoisy;
}

absl::Status Sleep(Clock* clock, absl::Duration duration, const std::function<bool()>& cancelled) {
  const int64_t end_ns = clock->SteadyNanos() + absl::ToInt64Nanoseconds(duration);
  while (true) {
    if (cancelled && cancelled()) return absl::CancelledError("measurement cancelled");
    const absl::Duration left = absl::Nanoseconds(end_ns - clock->SteadyNanos());
    if (left <= absl::ZeroDuration()) return absl::OkStatus();
    clock->SleepFor(std::min(left, kNap));
  }
}

// One meter for each sensor, as if they were one.
class Meters {
 public:
  explicit Meters(const EnergyOptions& options) : options_(options) {}

  absl::Status Create() {
    window_ = options_.window;
    for (PowerSensor* const sensor : options_.sensors->sensors()) {
      EnergyMeter::Options meter;
      meter.sensor = sensor;
      meter.background = options_.background;
      meter.clock = options_.clock;
      FORALL_ASSIGN_OR_RETURN(std::unique_ptr<EnergyMeter> created, EnergyMeter::Create(meter));
      // A little more than the least, for the clock is read at other moments than the sensor.
      window_ = std::max(window_, 1.2 * created->ShortestInterval());
      meters_.push_back(std::move(created));
    }
    return absl::OkStatus();
  }
  absl::Duration window() const { return window_; }

  absl::Status Start() {
    for (size_t i = 0; i < meters_.size(); ++i) {
      const absl::Status status = meters_[i]->Start();
      if (status.ok()) continue;
      for (size_t j = 0; j < i; ++j) meters_[j]->StopAsBaseline().status().IgnoreError();
      return status;
    }
    return absl::OkStatus();
  }
  // All are stopped, whatever one of them says.
  absl::Status StopAsBaseline() {
    absl::Status status;
    for (const auto& meter : meters_) status.Update(meter->StopAsBaseline().status());
    return status;
  }
  absl::StatusOr<double> StopAndDivide(int64_t inferences) {
    absl::Status status;
    EnergyReport sum;
    double idle_watts = 0;
    for (const auto& meter : meters_) {
      const absl::StatusOr<EnergyReport> report = meter->Stop(inferences);
      status.Update(report.status());
      if (!report.ok()) continue;
      sum.source = report->source;
      absl::StrAppend(&sum.domain, sum.domain.empty() ? "" : " + ", report->domain);
      sum.joules += report->joules;
      sum.seconds = std::max(sum.seconds, report->seconds);
      sum.average_watts += report->average_watts;
      idle_watts += report->idle_watts.value_or(0);
    }
    FORALL_RETURN_IF_ERROR(status);
    sum.idle_watts = idle_watts;
    sum.inferences = inferences;
    return sum.JoulesPerInference();
  }

 private:
  const EnergyOptions& options_;
  absl::Duration window_;
  std::vector<std::unique_ptr<EnergyMeter>> meters_;
};

// The sensors' trouble is in `refusal`, everything else is an error.
absl::StatusOr<std::optional<double>> MeasureWindow(const EnergyOptions& options, LoneModel* model,
                                                    Meters* meters,
                                                    const std::function<bool()>& cancelled,
                                                    absl::Duration* process_time,
                                                    absl::Status* refusal) {
  std::optional<double> none;
  *refusal = meters->Start();
  if (!refusal->ok()) return none;
  const absl::Status slept = Sleep(options.clock, meters->window(), cancelled);
  *refusal = meters->StopAsBaseline();
  FORALL_RETURN_IF_ERROR(slept);
  if (!refusal->ok()) return none;
  *refusal = meters->Start();
  if (!refusal->ok()) return none;
  const absl::StatusOr<LoneRun> run = model->RunFor(meters->window(), cancelled);
  const absl::StatusOr<double> joules = meters->StopAndDivide(run.ok() ? run->inferences : 1);
  FORALL_RETURN_IF_ERROR(run.status());
  *process_time += run->process_time;
  *refusal = joules.status();
  if (!refusal->ok()) return none;
  return std::optional<double>(*joules);
}

// Whether others worked too much since `before`.
bool WasLoaded(const EnergyOptions& options, std::optional<CpuTimes> before,
               absl::Duration process_time) {
  if (options.probe == nullptr || !before.has_value()) return false;
  std::optional<CpuTimes> after = options.probe->ReadCpuTimes();
  if (!after.has_value()) return false;
  after->own += process_time / absl::Seconds(1.0 / static_cast<double>(sysconf(_SC_CLK_TCK)));
  const int cores = options.probe->Probe().cores;
  const auto load = LoadBetween(*before, *after, cores);
  return load.has_value() && load->TooHigh(cores, options.sessions->Describe().threads);
}

}  // namespace

absl::StatusOr<LoneMetric> MeasurePeakMemory(SessionRunner* sessions, absl::string_view model,
                                             int processes,
                                             const std::function<bool()>& cancelled) {
  std::vector<double> peaks;
  for (int i = 0; i < processes; ++i) {
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<LoneModel> lone,
                            sessions->LoadAlone(model, cancelled));
    const absl::StatusOr<int64_t> peak = lone->PeakMemoryBytes();
    if (!peak.ok()) return Rejected(peak.status().message());
    if (*peak <= 0) return Rejected("loading the model added nothing that the kernel counted");
    peaks.push_back(static_cast<double>(*peak) / kMebibyte);
  }
  LoneMetric metric;
  metric.estimate = PredictNext(peaks, ResidentResolutionMib(sessions->Describe().threads));
  metric.samples = processes;
  metric.verdict = Verdict::kTrusted;
  if (metric.estimate.RelativeHalfWidth() > kMemoryLimit) {
    AddReason(Reason::kSessionsDisagree, &metric);
  }
  return metric;
}

absl::StatusOr<std::unique_ptr<EnergySensors>> EnergySensors::Choose(PowerSensors found,
                                                                     const std::string& gpu) {
  std::unique_ptr<EnergySensors> chosen(new EnergySensors);
  std::vector<std::string> reasons;
  const absl::string_view first = gpu.empty() ? "rapl" : "nvml";
  for (const absl::string_view source : {first, absl::string_view("ina3221"), kBattery}) {
    for (std::unique_ptr<PowerSensor>& sensor : found.available) {
      if (sensor == nullptr) continue;
      const SensorDescription& description = sensor->description();
      if (description.source != source) continue;
      if (source == "nvml" && description.domain != gpu) continue;
      // A battery is the whole device by itself; its sensor refuses while there are two in use.
      const bool whole = source == kBattery && chosen->sensors_.empty();
      if (!description.additive && !whole) continue;
      EnergyMeter::Options meter;
      meter.sensor = sensor.get();
      const auto created = EnergyMeter::Create(meter);
      if (!created.ok() || (*created)->ShortestInterval() > kLongestWindow) {
        reasons.push_back(absl::StrCat(source, " ", description.domain,
                                       ": a new value comes too seldom, every ",
                                       absl::FormatDuration(description.update_period)));
        continue;
      }
      chosen->sensors_.push_back(std::move(sensor));
    }
    if (!chosen->sensors_.empty()) return chosen;
  }
  for (const UnavailableSensor& missing : found.unavailable) {
    reasons.push_back(absl::StrCat(missing.source, missing.domain.empty() ? "" : " ",
                                   missing.domain, ": ", missing.reason.message()));
  }
  if (reasons.empty()) reasons.emplace_back("no sensor whose numbers may be added up");
  return absl::UnavailableError(absl::StrJoin(reasons, "; "));
}

std::vector<PowerSensor*> EnergySensors::sensors() const {
  std::vector<PowerSensor*> sensors;
  for (const auto& sensor : sensors_) sensors.push_back(sensor.get());
  return sensors;
}

std::string EnergySensors::Describe() const {
  return absl::StrJoin(sensors_, " + ", [](std::string* out, const auto& sensor) {
    absl::StrAppend(out, sensor->description().source, " ", sensor->description().domain);
  });
}

absl::StatusOr<LoneMetric> MeasureEnergy(const EnergyOptions& options, absl::string_view model,
                                         const std::function<bool()>& cancelled) {
  Meters meters(options);
  FORALL_RETURN_IF_ERROR(meters.Create());
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<LoneModel> lone,
                          options.sessions->LoadAlone(model, cancelled));
  FORALL_RETURN_IF_ERROR(lone->RunFor(kWarmUp, cancelled).status());
  const std::optional<CpuTimes> before =
      options.probe == nullptr ? std::nullopt : options.probe->ReadCpuTimes();
  absl::Duration process_time;
  std::vector<double> energies;
  absl::Status refusal;
  for (int tries = 0; tries < 2 * options.windows; ++tries) {
    absl::Status why;
    FORALL_ASSIGN_OR_RETURN(
        const std::optional<double> joules,
        MeasureWindow(options, lone.get(), &meters, cancelled, &process_time, &why));
    refusal.Update(why);
    if (joules.has_value()) energies.push_back(*joules * kMillijoules);
    if (static_cast<int>(energies.size()) == options.windows) break;
  }
  if (static_cast<int>(energies.size()) < kFewestWindows) {
    return Rejected(refusal.message());
  }
  LoneMetric metric;
  metric.estimate = PredictNext(energies, 0);
  metric.samples = static_cast<int64_t>(energies.size());
  metric.verdict = Verdict::kTrusted;
  if (metric.estimate.RelativeHalfWidth() > kEnergyLimit) {
    AddReason(Reason::kTargetMissed, &metric);
  }
  if (WasLoaded(options, before, process_time)) AddReason(Reason::kLoad, &metric);
  return metric;
}

}  // namespace forall
