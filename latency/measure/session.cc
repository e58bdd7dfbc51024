// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/session.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "latency/measure/analysis.h"
#include "latency/measure/core_pin.h"
#include "latency/measure/statistics.h"
#include "latency/measure/warmup.h"

namespace forall {
namespace {

// The interval is looked at every so many runs: the more often, the likelier it is narrow by luck.
constexpr int kRunsBetweenLooks = 4;
constexpr absl::Duration kLongestWarmUp = absl::Seconds(5);
constexpr int kRunsToJudgeCorrelation = 150;
constexpr double kSuspicion = 1.3;  // standard deviations of an independent series' correlation
constexpr int64_t kCacheLine = 64;
constexpr int64_t kSmallestFlush = int64_t{16} << 20;
constexpr int64_t kLargestFlush = int64_t{256} << 20;

class Session {
 public:
  Session(PreparedModel* reference, PreparedModel* candidate, Clock* clock, const Profile& profile,
          bool calls, const std::function<void()>& flush, const std::function<bool()>& cancelled)
      : reference_(reference),
        candidate_(candidate),
        clock_(clock),
        profile_(profile),
        calls_(calls),
        flush_(flush),
        cancelled_(cancelled) {}

  absl::StatusOr<SessionSamples> Run() {
    // A program that is called warms up by itself.
    if (!calls_) FORALL_RETURN_IF_ERROR(WarmUp());
    FORALL_RETURN_IF_ERROR(Sample());
    return std::move(samples_);
  }

 private:
  // One timing; of a call, the median, whose parts go to `parts`.
  absl::StatusOr<double> Time(PreparedModel* model, std::vector<double>* parts) {
    if (profile_.cold_cache) flush_();
    FORALL_ASSIGN_OR_RETURN(const std::vector<double> times, model->Time(clock_));
    if (times.size() == 1) return times.front();
    if (times.empty()) return absl::InternalError("a call of the backend measured nothing");
    parts->insert(parts->end(), times.begin(), times.end());
    return Median(times);
  }

  absl::Status TimePair(double* reference_ns, double* candidate_ns) {
    if (cancelled_ && cancelled_()) return absl::CancelledError("measurement cancelled");
    const absl::StatusOr<double> reference = Time(reference_, &samples_.reference_parts_ns);
    if (!reference.ok()) return AsDeviceTrouble(reference.status());
    *reference_ns = *reference;
    FORALL_ASSIGN_OR_RETURN(*candidate_ns, Time(candidate_, &samples_.candidate_parts_ns));
    return absl::OkStatus();
  }

  // Slow models get longer: a session of too few runs says nothing.
  bool TimeIsUp(int64_t start_ns, int runs) const {
    const absl::Duration limit = runs < profile_.min_runs
                                     ? std::max(profile_.max_duration, profile_.few_runs_duration)
                                     : profile_.max_duration;
    return absl::Nanoseconds(clock_->SteadyNanos() - start_ns) >= limit;
  }

  bool WarmUpTimeIsUp(int64_t start_ns) const {
    return absl::Nanoseconds(clock_->SteadyNanos() - start_ns) >=
           std::max(profile_.max_duration, kLongestWarmUp);
  }

  absl::Status WarmUp() {
    WarmupDetector reference;
    WarmupDetector candidate;
    const int64_t start_ns = clock_->SteadyNanos();
    int& runs = samples_.warmup_runs;
    while (!(reference.stable() && candidate.stable()) && runs < WarmupDetector::kMaxRuns &&
           !WarmUpTimeIsUp(start_ns)) {
      double reference_ns = 0;
      double candidate_ns = 0;
      FORALL_RETURN_IF_ERROR(TimePair(&reference_ns, &candidate_ns));
      reference.Add(reference_ns);
      candidate.Add(candidate_ns);
      ++runs;
    }
    samples_.warmup_stable = reference.stable() && candidate.stable();
    samples_.reference_parts_ns.clear();
    samples_.candidate_parts_ns.clear();
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

  bool GoodEnough(int runs) {
    if (runs < profile_.min_runs || (runs - profile_.min_runs) % kRunsBetweenLooks != 0)
      return false;
    // A few runs that once seemed to depend on each other do not tell by how much.
    if (runs < kRunsToJudgeCorrelation) {
      suspicious_ |= RankAutocorrelation(samples_.Ratios()) > kSuspicion / std::sqrt(runs);
      if (suspicious_) return false;
    }
    return EstimateRatio(samples_).RelativeHalfWidth() <= profile_.target_half_width;
  }

  PreparedModel* const reference_;
  PreparedModel* const candidate_;
  Clock* const clock_;
  const Profile& profile_;
  const bool calls_;
  const std::function<void()>& flush_;
  const std::function<bool()>& cancelled_;
  SessionSamples samples_;
  bool suspicious_ = false;
};

class LocalLoneModel : public LoneModel {
 public:
  LocalLoneModel(std::unique_ptr<PreparedModel> model, Clock* clock,
                 std::unique_ptr<ScopedCorePin> pin)
      : pin_(std::move(pin)), model_(std::move(model)), clock_(clock) {}

  absl::StatusOr<LoneRun> RunFor(absl::Duration duration,
                                 const std::function<bool()>& cancelled) override {
    LoneRun run;
    const int64_t end_ns = clock_->SteadyNanos() + absl::ToInt64Nanoseconds(duration);
    do {
      if (cancelled && cancelled()) return absl::CancelledError("measurement cancelled");
      FORALL_RETURN_IF_ERROR(model_->Run());
      ++run.inferences;
    } while (clock_->SteadyNanos() < end_ns);
    return run;
  }

  absl::StatusOr<int64_t> PeakMemoryBytes() const override {
    return absl::FailedPreconditionError("the memory of one model among others cannot be told");
  }

 private:
  const std::unique_ptr<ScopedCorePin> pin_;  // outlives the model
  const std::unique_ptr<PreparedModel> model_;
  Clock* const clock_;
};

// How often the calling thread was interrupted for the sake of another.
int64_t InvoluntarySwitches() {
  struct rusage usage = {};
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

int64_t FlushBytes() {
  int64_t largest = 0;
  for (const int name : {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE}) {
    largest = std::max<int64_t>(largest, sysconf(name));
  }
  return std::clamp(2 * largest, kSmallestFlush, kLargestFlush);
}

}  // namespace

void FlushCaches() {
  // Made at its first use and kept: fresh pages would be zeroed by the kernel each time.
  static std::vector<char>* const memory = new std::vector<char>(static_cast<size_t>(FlushBytes()));
  for (size_t i = 0; i < memory->size(); i += kCacheLine) {
    volatile char& line = (*memory)[i];
    line = static_cast<char>(line + 1);
  }
}

absl::Status AsDeviceTrouble(const absl::Status& status) {
  if (status.ok() || absl::IsCancelled(status) || absl::IsUnavailable(status)) return status;
  constexpr absl::string_view kWhat = "the reference network cannot be timed";
  if (absl::StartsWith(status.message(), kWhat)) {
    return absl::FailedPreconditionError(status.message());
  }
  return absl::FailedPreconditionError(absl::StrCat(kWhat, ": ", status.message()));
}

absl::Status LocalSessions::Check() {
  return AsDeviceTrouble(
      options_.backend->Prepare(options_.reference_model, SessionMemory::kReused).status());
}

absl::StatusOr<SessionSamples> LocalSessions::Run(absl::string_view model, const Profile& profile,
                                                  const std::function<bool()>& cancelled) {
  const BackendDescription backend = options_.backend->Describe();
  // Before any session exists, because its threads inherit the cores.
  std::optional<ScopedCorePin> pin;
  if (options_.pin_cores) pin.emplace(backend.threads);
  const int64_t switches = InvoluntarySwitches();

  const bool fresh = profile.fresh;
  const SessionMemory memory = fresh ? SessionMemory::kFresh : SessionMemory::kReused;
  std::unique_ptr<PreparedModel> own_reference;
  std::unique_ptr<PreparedModel>& reference = fresh ? own_reference : reference_;
  // What lies on another device may be gone; preparing it again is one look.
  if (reference == nullptr || backend.runs_per_call > 1) {
    absl::StatusOr<std::unique_ptr<PreparedModel>> prepared =
        options_.backend->Prepare(options_.reference_model, memory);
    if (!prepared.ok()) return AsDeviceTrouble(prepared.status());
    reference = *std::move(prepared);
  }
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<PreparedModel> candidate,
                          options_.backend->Prepare(model, memory));
  if (on_prepared_) on_prepared_();
  const std::function<void()> flush =
      options_.flush_caches ? options_.flush_caches : std::function<void()>(&FlushCaches);
  Session session(reference.get(), candidate.get(), options_.clock, profile,
                  backend.runs_per_call > 1, flush, cancelled);
  FORALL_ASSIGN_OR_RETURN(SessionSamples samples, session.Run());
  if (options_.read_notes) samples.notes = options_.read_notes();
  samples.notes["involuntary_switches"] = absl::StrCat(InvoluntarySwitches() - switches);
  if (pin.has_value() && pin->cores().empty()) {
    samples.notes["pin_refused"] = pin->refusal();
  } else if (pin.has_value()) {
    samples.notes["pinned_cores"] = absl::StrJoin(pin->cores(), ",");
  }
  return samples;
}

absl::StatusOr<std::unique_ptr<LoneModel>> LocalSessions::LoadAlone(
    absl::string_view model, const std::function<bool()>& /*cancelled*/) {
  const BackendDescription backend = options_.backend->Describe();
  if (backend.runs_per_call > 1) {
    return absl::FailedPreconditionError(
        "a device that measures by itself does not run a model for as long as it is told");
  }
  std::unique_ptr<ScopedCorePin> pin;
  if (options_.pin_cores) pin = std::make_unique<ScopedCorePin>(backend.threads);
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<PreparedModel> prepared,
                          options_.backend->Prepare(model, SessionMemory::kFresh));
  return std::unique_ptr<LoneModel>(
      new LocalLoneModel(std::move(prepared), options_.clock, std::move(pin)));
}

}  // namespace forall
