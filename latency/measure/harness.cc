// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/harness.h"

#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "latency/measure/analysis.h"
#include "latency/measure/core_pin.h"
#include "latency/measure/warmup.h"

namespace forall {
namespace {

// The interval is looked at every so many runs: the more often, the likelier it is narrow by luck.
constexpr int kRunsBetweenLooks = 4;
constexpr absl::Duration kLongestForFewRuns = absl::Seconds(5);

// One session: a candidate and a reference in turn.
class Session {
 public:
  Session(PreparedModel* reference, PreparedModel* candidate, Clock* clock, const Profile& profile,
          const std::function<bool()>& cancelled)
      : reference_(reference),
        candidate_(candidate),
        clock_(clock),
        profile_(profile),
        cancelled_(cancelled) {}

  absl::StatusOr<SessionSamples> Run() {
    FORALL_RETURN_IF_ERROR(WarmUp());
    FORALL_RETURN_IF_ERROR(Sample());
    return std::move(samples_);
  }

 private:
  absl::StatusOr<double> Time(PreparedModel* model) {
    const int64_t start = clock_->SteadyNanos();
    FORALL_RETURN_IF_ERROR(model->Run());
    // At least one nanosecond: a ratio to zero would be no number.
    return static_cast<double>(std::max<int64_t>(1, clock_->SteadyNanos() - start));
  }

  absl::Status TimePair(double* reference_ns, double* candidate_ns) {
    if (cancelled_ && cancelled_()) return absl::CancelledError("measurement cancelled");
    FORALL_ASSIGN_OR_RETURN(*reference_ns, Time(reference_));
    FORALL_ASSIGN_OR_RETURN(*candidate_ns, Time(candidate_));
    return absl::OkStatus();
  }

  // Slow models get longer: a session of too few runs says nothing.
  bool TimeIsUp(int64_t start_ns, int runs) const {
    const absl::Duration limit = runs < profile_.min_runs
                                     ? std::max(profile_.max_duration, kLongestForFewRuns)
                                     : profile_.max_duration;
    return absl::Nanoseconds(clock_->SteadyNanos() - start_ns) >= limit;
  }

  absl::Status WarmUp() {
    WarmupDetector reference;
    WarmupDetector candidate;
    const int64_t start_ns = clock_->SteadyNanos();
    int& runs = samples_.warmup_runs;
    while (!(reference.stable() && candidate.stable()) && runs < WarmupDetector::kMaxRuns &&
           !TimeIsUp(start_ns, runs)) {
      double reference_ns = 0;
      double candidate_ns = 0;
      FORALL_RETURN_IF_ERROR(TimePair(&reference_ns, &candidate_ns));
      reference.Add(reference_ns);
      candidate.Add(candidate_ns);
      ++runs;
    }
    samples_.warmup_stable = reference.stable() && candidate.stable();
    return absl::OkStatus();
  }

  absl::Status Sample() {
    const int64_t start_ns = clock_->SteadyNanos();
    int runs = 0;
    do {
      double reference_ns = 0;
      double candidate_ns = 0;
      FORALL_RETURN_IF_ERROR(TimePair(&reference_ns, &candidate_ns));
      samples_.reference_ns.push_back(reference_ns);
      samples_.candidate_ns.push_back(candidate_ns);
      ++runs;
    } while (runs < profile_.max_runs && !TimeIsUp(start_ns, runs) &&
             !(GoodEnough(runs) && LongEnough(start_ns)));
    return absl::OkStatus();
  }

  bool LongEnough(int64_t start_ns) const {
    return absl::Nanoseconds(clock_->SteadyNanos() - start_ns) >= profile_.min_duration;
  }

  bool GoodEnough(int runs) const {
    if (runs < profile_.min_runs || (runs - profile_.min_runs) % kRunsBetweenLooks != 0)
      return false;
    return EstimateRatio(samples_).RelativeHalfWidth() <= profile_.target_half_width;
  }

  PreparedModel* const reference_;
  PreparedModel* const candidate_;
  Clock* const clock_;
  const Profile& profile_;
  const std::function<bool()>& cancelled_;
  SessionSamples samples_;
};

// How often the calling thread was interrupted for the sake of another.
int64_t InvoluntarySwitches() {
  struct rusage usage = {};
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

// Probes around a measurement.
class Surroundings {
 public:
  Surroundings(const EnvironmentProbe* probe, const ScopedCorePin* pin)
      : probe_(probe), pin_(pin), switches_(InvoluntarySwitches()) {
    if (probe_ == nullptr) return;
    environment_ = probe_->Probe();
    before_ = probe_->ReadCpuTimes();
  }

  // Returns whether the load was too high for a measurement on so many threads.
  bool Describe(int threads, std::map<std::string, std::string>* fields) const {
    bool too_high = false;
    if (probe_ != nullptr) {
      *fields = environment_.Fields();
      const std::optional<CpuTimes> after = probe_->ReadCpuTimes();
      if (before_.has_value() && after.has_value()) {
        const auto load = LoadBetween(*before_, *after, environment_.cores);
        (*fields)["load_judged"] = load.has_value() ? "yes" : "no";
        if (load.has_value()) {
          too_high = load->TooHigh(environment_.cores, threads);
          (*fields)["load_other_cores"] = absl::StrCat(load->other_cores);
          (*fields)["load_steal_share"] = absl::StrCat(load->steal_share);
        }
      }
    }
    (*fields)["involuntary_switches"] = absl::StrCat(InvoluntarySwitches() - switches_);
    if (pin_ == nullptr) return too_high;
    if (pin_->cores().empty()) {
      (*fields)["pin_refused"] = pin_->refusal();
    } else {
      (*fields)["pinned_cores"] = absl::StrJoin(pin_->cores(), ",");
    }
    return too_high;
  }

 private:
  const EnvironmentProbe* const probe_;
  const ScopedCorePin* const pin_;
  const int64_t switches_;
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

}  // namespace

LatencyHarness::LatencyHarness(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<LatencyHarness>> LatencyHarness::Create(Options options) {
  // Tried here, so that a worker learns at its start, not with its first task.
  absl::StatusOr<std::unique_ptr<PreparedModel>> reference =
      options.backend->Prepare(options.reference_model, SessionMemory::kReused);
  if (!reference.ok()) return WithContext(reference.status(), "reference network");
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
  FORALL_ASSIGN_OR_RETURN(baseline.result,
                          MeasureLocked(options_.reference_model, profile, cancelled));
  baseline.reference_ns = baseline.result.reference_median_ns;
  baseline.session_spread = baseline.result.session_spread;
  if (baseline.result.verdict != Verdict::kRejected) {
    options_.baseline_reference_ns = baseline.reference_ns;
  }
  options_.session_spread = baseline.session_spread;
  return baseline;
}

absl::StatusOr<LatencyResult> LatencyHarness::MeasureLocked(
    absl::string_view model, const Profile& profile, const std::function<bool()>& cancelled) {
  std::optional<HostLock::Holder> holder;
  if (options_.host_lock != nullptr) {
    FORALL_ASSIGN_OR_RETURN(
        holder, options_.host_lock->AcquireExclusive(absl::InfiniteDuration(), cancelled));
  }
  Clock* const clock = options_.clock;
  LatencyResult result;
  result.profile = profile;
  result.backend = options_.backend->Describe();
  result.start_time = clock->Now();
  const int64_t start_ns = clock->SteadyNanos();
  // Before any session exists, because its threads inherit the cores.
  std::optional<ScopedCorePin> pin;
  if (options_.pin_cores) pin.emplace(result.backend.threads);
  const Surroundings surroundings(options_.probe, pin.has_value() ? &*pin : nullptr);

  int repetitions = 0;
  for (int i = 0; i < profile.sessions; ++i) {
    FORALL_ASSIGN_OR_RETURN(SessionSamples samples,
                            RunSession(model, profile, cancelled, &repetitions));
    result.sessions.push_back(std::move(samples));
  }

  const bool loaded = surroundings.Describe(result.backend.threads, &result.environment);
  result.environment["repeated_sessions"] = absl::StrCat(repetitions);
  if (loaded) result.reasons.push_back(Reason::kLoad);
  AnalyzeResult(options_.session_spread, options_.baseline_reference_ns, &result);
  result.duration = absl::Nanoseconds(clock->SteadyNanos() - start_ns);
  return result;
}

absl::StatusOr<SessionSamples> LatencyHarness::RunSession(absl::string_view model,
                                                          const Profile& profile,
                                                          const std::function<bool()>& cancelled,
                                                          int* repetitions) {
  const bool fresh = profile.sessions > 1;
  const SessionMemory memory = fresh ? SessionMemory::kFresh : SessionMemory::kReused;
  std::unique_ptr<PreparedModel> own_reference;
  std::unique_ptr<PreparedModel>& reference = fresh ? own_reference : reference_;
  if (reference == nullptr) {
    FORALL_ASSIGN_OR_RETURN(reference, options_.backend->Prepare(options_.reference_model, memory));
  }
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<PreparedModel> candidate,
                          options_.backend->Prepare(model, memory));
  for (int attempt = 1;; ++attempt) {
    Session session(reference.get(), candidate.get(), options_.clock, profile, cancelled);
    FORALL_ASSIGN_OR_RETURN(SessionSamples samples, session.Run());
    if (attempt >= options_.attempts || !IsThrottled(samples)) return samples;
    ++*repetitions;
    options_.clock->SleepFor(options_.cool_down);
  }
}

}  // namespace forall
