// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/harness.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "latency/measure/analysis.h"
#include "latency/measure/statistics.h"

namespace forall {
namespace {

constexpr size_t kControls = 25;

// Probes around a measurement.
class Surroundings {
 public:
  explicit Surroundings(const EnvironmentProbe* probe) : probe_(probe) {
    if (probe_ == nullptr) return;
    environment_ = probe_->Probe();
    before_ = probe_->ReadCpuTimes();
  }

  // Returns whether the load was too high for a measurement on so many threads, for which other
  // processes worked so long.
  bool Describe(int threads, absl::Duration other_processes,
                std::map<std::string, std::string>* fields) const {
    if (probe_ == nullptr) return false;
    *fields = environment_.Fields();
    std::optional<CpuTimes> after = probe_->ReadCpuTimes();
    if (!before_.has_value() || !after.has_value()) return false;
    after->own += other_processes / absl::Seconds(1.0 / static_cast<double>(sysconf(_SC_CLK_TCK)));
    const auto load = LoadBetween(*before_, *after, environment_.cores);
    (*fields)["load_judged"] = load.has_value() ? "yes" : "no";
    if (!load.has_value()) return false;
    (*fields)["load_other_cores"] = absl::StrCat(load->other_cores);
    (*fields)["load_steal_share"] = absl::StrCat(load->steal_share);
    return load->TooHigh(environment_.cores, threads);
  }

 private:
  const EnvironmentProbe* const probe_;
  Environment environment_;
  std::optional<CpuTimes> before_;
};

absl::Status CheckProfile(const Profile& profile) {
  if (profile.min_runs < 1 || profile.max_runs < profile.min_runs || profile.sessions < 1 ||
      !(profile.target_half_width > 0) || profile.max_duration <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "latency profile '", profile.name,
        "': runs, sessions, duration and target must be positive, max_runs >= min_runs"));
  }
  return absl::OkStatus();
}

// What the sessions saw: counts are added up, of anything else the last session's word stands.
void AddNotes(const std::vector<SessionSamples>& sessions,
              std::map<std::string, std::string>* environment) {
  int64_t switches = 0;
  for (const SessionSamples& session : sessions) {
    for (const auto& [name, value] : session.notes) (*environment)[name] = value;
    const auto counted = session.notes.find("involuntary_switches");
    int64_t count = 0;
    if (counted != session.notes.end() && absl::SimpleAtoi(counted->second, &count)) {
      switches += count;
    }
  }
  (*environment)["involuntary_switches"] = absl::StrCat(switches);
}

}  // namespace

LatencyHarness::LatencyHarness(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<LatencyHarness>> LatencyHarness::Create(Options options) {
  // Tried here, so that a worker learns at its start, not with its first task.
  if (const absl::Status status = options.sessions->Check(); !status.ok()) {
    return WithContext(status, "reference network");
  }
  return std::unique_ptr<LatencyHarness>(new LatencyHarness(std::move(options)));
}

absl::StatusOr<LatencyResult> LatencyHarness::Measure(absl::string_view model,
                                                      const Profile& profile,
                                                      const std::function<bool()>& cancelled) {
  FORALL_RETURN_IF_ERROR(CheckProfile(profile));
  MutexLock lock(&mu_);
  return MeasureLocked(model, profile, cancelled);
}

absl::StatusOr<Baseline> LatencyHarness::Calibrate(const std::function<bool()>& cancelled) {
  FORALL_ASSIGN_OR_RETURN(const Profile profile, ProfileNamed("final"));
  MutexLock lock(&mu_);
  options_.baseline_reference_ns = 0;  // An old one must not judge the new.
  Baseline baseline;
  controls_.clear();
  absl::StatusOr<LatencyResult> result = MeasureLocked(CalibrationModel(), profile, cancelled);
  if (!result.ok()) return AsDeviceTrouble(result.status());
  baseline.result = *std::move(result);
  for (const SessionSamples& session : baseline.result.sessions) {
    controls_.push_back(EstimateRatio(session).value);
  }
  LearnSpread();
  measurements_since_control_ = 0;
  baseline.reference_ns = baseline.result.reference_median_ns;
  baseline.session_spread = baseline.result.session_spread;
  if (baseline.result.verdict != Verdict::kRejected) {
    options_.baseline_reference_ns = baseline.reference_ns;
  }
  return baseline;
}

absl::StatusOr<LatencyResult> LatencyHarness::MeasureLocked(
    absl::string_view model, const Profile& wanted, const std::function<bool()>& cancelled) {
  const int runs_per_call = options_.sessions->Describe().runs_per_call;
  Profile profile = runs_per_call > 1 ? ForCalls(wanted, runs_per_call) : wanted;
  profile.cold_cache |= options_.cold_cache;
  std::optional<HostLock::Holder> holder;
  if (options_.host_lock != nullptr) {
    FORALL_ASSIGN_OR_RETURN(
        holder, options_.host_lock->AcquireExclusive(absl::InfiniteDuration(), cancelled));
  }
  Clock* const clock = options_.clock;
  LatencyResult result;
  result.profile = profile;
  result.backend = options_.sessions->Describe();
  // With the lock held, so that nothing else warms the device.
  Gate::Outcome gate;
  if (options_.gate != nullptr) {
    FORALL_ASSIGN_OR_RETURN(gate, options_.gate->Wait(clock, cancelled));
  }
  result.start_time = clock->Now();
  const int64_t start_ns = clock->SteadyNanos();
  FORALL_RETURN_IF_ERROR(Control(cancelled));
  const Surroundings surroundings(options_.probe);

  int repetitions = 0;
  absl::Duration other_processes;
  for (int i = 0; i < profile.sessions; ++i) {
    FORALL_ASSIGN_OR_RETURN(SessionSamples samples,
                            RunSession(model, profile, cancelled, &repetitions, &other_processes));
    result.sessions.push_back(std::move(samples));
  }

  const bool loaded =
      surroundings.Describe(result.backend.threads, other_processes, &result.environment);
  AddNotes(result.sessions, &result.environment);
  result.environment["repeated_sessions"] = absl::StrCat(repetitions);
  if (loaded) result.reasons.push_back(Reason::kLoad);
  if (gate.waited > absl::ZeroDuration()) {
    result.environment["gate_waited"] =
        absl::FormatDuration(absl::Trunc(gate.waited, absl::Seconds(1)));
  }
  if (!gate.trouble.empty()) {
    result.reasons.push_back(Reason::kGate);
    result.environment["gate"] = gate.trouble;
  }
  AnalyzeResult(options_.session_spread, options_.baseline_reference_ns, &result);
  result.duration = absl::Nanoseconds(clock->SteadyNanos() - start_ns);
  return result;
}

const std::string& LatencyHarness::CalibrationModel() const {
  return options_.calibration_model.empty() ? options_.sessions->reference_model()
                                            : options_.calibration_model;
}

absl::Status LatencyHarness::Control(const std::function<bool()>& cancelled) {
  if (controls_.empty() || options_.control_interval == 0) return absl::OkStatus();
  // A call is a process of its own already, and takes seconds.
  if (options_.sessions->Describe().runs_per_call > 1) return absl::OkStatus();
  if (++measurements_since_control_ < options_.control_interval) return absl::OkStatus();
  measurements_since_control_ = 0;
  FORALL_ASSIGN_OR_RETURN(Profile profile, ProfileNamed("screening"));
  profile.fresh = true;
  profile.cold_cache = options_.cold_cache;
  const absl::StatusOr<SessionSamples> samples =
      options_.sessions->Run(CalibrationModel(), profile, cancelled);
  if (absl::IsCancelled(samples.status())) return samples.status();
  if (!samples.ok()) {
    // The measurement that it comes before will tell whether anything is wrong with the device.
    FORALL_LOG(WARNING) << "control session failed: " << samples.status().message();
    return absl::OkStatus();
  }
  if (IsThrottled(*samples)) return absl::OkStatus();
  controls_.push_back(EstimateRatio(*samples).value);
  if (controls_.size() > kControls) controls_.erase(controls_.begin());
  LearnSpread();
  return absl::OkStatus();
}

void LatencyHarness::LearnSpread() {
  options_.session_spread = {.relative = RelativeDeviation(controls_),
                             .degrees = static_cast<int>(controls_.size()) - 1};
}

absl::StatusOr<SessionSamples> LatencyHarness::RunSession(absl::string_view model,
                                                          const Profile& profile,
                                                          const std::function<bool()>& cancelled,
                                                          int* repetitions,
                                                          absl::Duration* other_processes) {
  for (int attempt = 1;; ++attempt) {
    FORALL_ASSIGN_OR_RETURN(SessionSamples samples,
                            options_.sessions->Run(model, profile, cancelled));
    *other_processes += samples.other_process_time;
    if (attempt >= options_.attempts || !IsThrottled(samples)) return samples;
    ++*repetitions;
    options_.clock->SleepFor(options_.cool_down);
  }
}

}  // namespace forall
