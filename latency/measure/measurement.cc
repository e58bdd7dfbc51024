// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/measurement.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/binomial.h"

namespace forall {
namespace {

// Below this no order-statistic interval of the median reaches 95 %.
constexpr int kFewestRuns = 6;
constexpr absl::Duration kLongestForPercentile = absl::Minutes(1);

template <typename Pick>
std::vector<double> Concatenate(const std::vector<SessionSamples>& sessions, Pick pick) {
  std::vector<double> all;
  for (const SessionSamples& session : sessions) {
    const std::vector<double>& samples = pick(session);
    all.insert(all.end(), samples.begin(), samples.end());
  }
  return all;
}

}  // namespace

absl::StatusOr<Profile> ProfileNamed(absl::string_view name) {
  if (name == "screening") return Profile{.name = "screening", .target_half_width = 0.02};
  if (name == "standard") {
    return Profile{.name = "standard",
                   .target_half_width = 0.01,
                   .max_duration = absl::Seconds(2),
                   .sessions = 3,
                   .fresh = true};
  }
  if (name == "final") {
    return Profile{.name = "final",
                   .target_half_width = 0.005,
                   .max_duration = absl::Seconds(1),
                   .sessions = 5,
                   .fresh = true};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown latency profile '", name, "': use screening, standard or final"));
}

Profile ForCalls(const Profile& profile, int runs_per_call) {
  Profile calls = profile;
  const int64_t runs = int64_t{profile.min_runs} * profile.sessions;
  const int64_t asked = (runs + runs_per_call - 1) / std::max(1, runs_per_call);
  calls.min_runs = std::max(kFewestRuns + profile.sessions, static_cast<int>(asked));
  calls.max_runs = 4 * calls.min_runs;
  calls.min_duration = absl::ZeroDuration();
  calls.max_duration = absl::Minutes(30);
  calls.sessions = 1;
  calls.fresh = false;
  return calls;
}

Profile ForPercentile(const Profile& profile, double percentile) {
  Profile longer = profile;
  const int64_t needed = FewestSamplesForPercentile(percentile);
  const int64_t each = (needed + profile.sessions - 1) / profile.sessions;
  longer.min_runs = std::max(profile.min_runs, static_cast<int>(each));
  longer.max_runs = std::max(profile.max_runs, longer.min_runs);
  longer.few_runs_duration =
      std::max(profile.few_runs_duration, kLongestForPercentile / profile.sessions);
  return longer;
}

absl::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTrusted:
      return "TRUSTED";
    case Verdict::kNoisy:
      return "NOISY";
    case Verdict::kRejected:
      break;
  }
  return "REJECTED";
}

absl::string_view ReasonName(Reason reason) {
  switch (reason) {
    case Reason::kThrottled:
      return "throttled";
    case Reason::kPaceChanged:
      return "pace_changed";
    case Reason::kTooFewRuns:
      return "too_few_runs";
    case Reason::kUnstableWarmup:
      return "unstable_warmup";
    case Reason::kCorrelated:
      return "correlated";
    case Reason::kTwoModes:
      return "two_modes";
    case Reason::kDrift:
      return "drift";
    case Reason::kLoad:
      return "load";
    case Reason::kOutliers:
      return "outliers";
    case Reason::kTargetMissed:
      return "target_missed";
    case Reason::kSessionsDisagree:
      return "sessions_disagree";
    case Reason::kBaselineShift:
      return "baseline_shift";
    case Reason::kGate:
      return "gate";
    case Reason::kEmulated:
      break;
  }
  return "emulated";
}

Verdict VerdictOf(const std::vector<Reason>& reasons, int runs) {
  const bool throttled = std::count(reasons.begin(), reasons.end(), Reason::kThrottled) > 0;
  if (throttled || runs < kFewestRuns) return Verdict::kRejected;
  return reasons.empty() ? Verdict::kTrusted : Verdict::kNoisy;
}

double Estimate::RelativeHalfWidth() const {
  if (value <= 0) return 0;
  return std::max(high - value, value - low) / value;
}

std::vector<double> SessionSamples::Ratios() const {
  std::vector<double> ratios;
  const size_t runs = std::min(candidate_ns.size(), reference_ns.size());
  ratios.reserve(runs);
  for (size_t i = 0; i < runs; ++i) ratios.push_back(candidate_ns[i] / reference_ns[i]);
  return ratios;
}

Estimate LatencyResult::AtBaseline(double baseline_reference_ns) const {
  return {.value = ratio * baseline_reference_ns,
          .low = ratio_low * baseline_reference_ns,
          .high = ratio_high * baseline_reference_ns};
}

std::vector<double> LatencyResult::CandidateSamples() const {
  return Concatenate(sessions, [](const SessionSamples& s) -> const std::vector<double>& {
    return s.candidate_ns;
  });
}

std::vector<double> LatencyResult::ReferenceSamples() const {
  return Concatenate(sessions, [](const SessionSamples& s) -> const std::vector<double>& {
    return s.reference_ns;
  });
}

}  // namespace forall
