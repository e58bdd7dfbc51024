// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/analysis.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "latency/measure/statistics.h"

namespace forall {
namespace {

// The reference's drift from which on the device counts as having changed its pace, and the one
// past which not even the ratio is believed: beyond it another frequency, core or neighbour is at
// work.
constexpr double kPaceLimit = 0.10;
constexpr double kThrottleLimit = 0.50;
// How far windows of the ratio may lie apart for the ratio to count as having held meanwhile.
constexpr double kRatioLimit = 0.05;
// Wider than the throttle limit: between measurements a shared machine wanders further than within
// one, and the ratio follows.
constexpr double kBaselineLimit = 0.20;
constexpr double kSessionsLimit = 0.05;
constexpr double kOutlierShare = 0.10;
// Half of the samples count as independent: the autocorrelation at which (1-r)/(1+r) is a half.
constexpr double kCorrelationLimit = 1.0 / 3;

Estimate EstimateSeries(absl::Span<const double> samples) {
  const double autocorrelation = RankAutocorrelation(samples);
  return EstimateMedian(samples, EffectiveRuns(static_cast<int>(samples.size()), autocorrelation));
}

// Whether the halves' medians lie more than 1 % and more than chance apart: three standard
// deviations of their difference, an interval's half-width being about two of one median.
bool HalvesDisagree(absl::Span<const double> ratios) {
  const size_t half = ratios.size() / 2;
  if (half < 6) return false;
  const Estimate first = EstimateMedian(ratios.first(half), static_cast<double>(half));
  const Estimate second =
      EstimateMedian(ratios.subspan(half), static_cast<double>(ratios.size() - half));
  const double chance = 1.5 * std::hypot(first.high - first.low, second.high - second.low) / 2;
  return std::abs(first.value - second.value) > std::max(0.01 * first.value, chance);
}

std::vector<double> Values(const std::vector<Estimate>& estimates) {
  std::vector<double> values;
  for (const Estimate& estimate : estimates) values.push_back(estimate.value);
  return values;
}

// Half-width of the interval for one more session's value, from scatter alone.
double BetweenSessions(const std::vector<double>& values, double known_deviation,
                       int known_degrees) {
  const int own_degrees = static_cast<int>(values.size()) - 1;
  if (known_deviation <= 0) known_degrees = 0;
  if (known_degrees == 0 && own_degrees < 2) return 0;
  const double own_deviation = StandardDeviation(values);
  const int degrees = own_degrees + known_degrees;
  const double variance = (own_degrees * own_deviation * own_deviation +
                           known_degrees * known_deviation * known_deviation) /
                          degrees;
  return StudentT975(degrees) * std::sqrt(variance * (1 + 1.0 / (own_degrees + 1)));
}

void AddReason(Reason reason, std::vector<Reason>* reasons) {
  if (std::find(reasons->begin(), reasons->end(), reason) == reasons->end()) {
    reasons->push_back(reason);
  }
}

}  // namespace

bool IsThrottled(const SessionSamples& samples) {
  const double drift = WindowedDrift(samples.reference_ns);
  if (drift <= kPaceLimit) return false;
  return drift > kThrottleLimit || WindowedDrift(samples.Ratios()) > kRatioLimit;
}

Estimate EstimateRatio(const SessionSamples& samples) { return EstimateSeries(samples.Ratios()); }

SessionAnalysis AnalyzeSession(const SessionSamples& samples, const Profile& profile) {
  const std::vector<double> ratios = samples.Ratios();
  SessionAnalysis analysis;
  analysis.ratio = EstimateSeries(ratios);
  analysis.candidate_ns = EstimateSeries(samples.candidate_ns);
  analysis.reference_ns = EstimateSeries(samples.reference_ns);
  analysis.autocorrelation = RankAutocorrelation(ratios);
  analysis.reference_drift = WindowedDrift(samples.reference_ns);
  analysis.outliers = CountOutliers(ratios);

  const int runs = static_cast<int>(ratios.size());
  std::vector<Reason>& reasons = analysis.reasons;
  if (IsThrottled(samples)) {
    reasons.push_back(Reason::kThrottled);
  } else if (analysis.reference_drift > kPaceLimit) {
    reasons.push_back(Reason::kPaceChanged);
  }
  if (runs < profile.min_runs) reasons.push_back(Reason::kTooFewRuns);
  if (!samples.warmup_stable) reasons.push_back(Reason::kUnstableWarmup);
  // A short independent series shows some correlation by chance: about 1/sqrt(n) of it.
  if (analysis.autocorrelation > std::max(kCorrelationLimit, 2.6 / std::sqrt(std::max(1, runs)))) {
    reasons.push_back(Reason::kCorrelated);
  }
  if (HasTwoModes(ratios)) reasons.push_back(Reason::kTwoModes);
  if (HalvesDisagree(ratios)) reasons.push_back(Reason::kDrift);
  if (analysis.outliers > kOutlierShare * runs) reasons.push_back(Reason::kOutliers);
  if (analysis.ratio.RelativeHalfWidth() > 2 * profile.target_half_width) {
    reasons.push_back(Reason::kTargetMissed);
  }
  return analysis;
}

Estimate CombineSessions(const std::vector<Estimate>& sessions, SessionSpread known) {
  if (sessions.empty()) return {};
  const std::vector<double> values = Values(sessions);
  const double mean = Mean(values);
  std::vector<double> below;
  std::vector<double> above;
  for (const Estimate& session : sessions) {
    below.push_back(session.value - session.low);
    above.push_back(session.high - session.value);
  }
  double low_arm = Median(below);
  double high_arm = Median(above);
  const double between = BetweenSessions(values, known.relative * mean, known.degrees);
  low_arm = std::hypot(low_arm, between);
  high_arm = std::hypot(high_arm, between);
  return {.value = mean, .low = std::max(0.0, mean - low_arm), .high = mean + high_arm};
}

absl::StatusOr<TailEstimate> EstimateTail(const LatencyResult& result, double percentile) {
  std::vector<double> samples;
  double independent = 0;
  for (const SessionSamples& session : result.sessions) {
    const std::vector<double>& times =
        session.candidate_parts_ns.empty() ? session.candidate_ns : session.candidate_parts_ns;
    const double reference_ns = Median(session.reference_ns);
    if (!(reference_ns > 0)) return absl::FailedPreconditionError("a session has no runs");
    independent += EffectiveRuns(static_cast<int>(times.size()), RankAutocorrelation(times));
    for (const double time : times) samples.push_back(time / reference_ns);
  }
  FORALL_ASSIGN_OR_RETURN(const PercentileEstimate found,
                          EstimatePercentile(samples, percentile, independent));
  TailEstimate tail;
  tail.samples = static_cast<int64_t>(samples.size());
  tail.reasons = result.reasons;
  tail.verdict = result.verdict;
  if (!found.bounded && tail.verdict != Verdict::kRejected) {
    AddReason(Reason::kCorrelated, &tail.reasons);
    tail.verdict = Verdict::kNoisy;
  }
  const Estimate& own = found.estimate;
  const double below = result.ratio > 0 ? (result.ratio - result.ratio_low) / result.ratio : 0;
  const double above = result.ratio > 0 ? (result.ratio_high - result.ratio) / result.ratio : 0;
  tail.ratio.value = own.value;
  tail.ratio.low = std::max(0.0, own.value - std::hypot(own.value - own.low, own.value * below));
  tail.ratio.high = own.value + std::hypot(own.high - own.value, own.value * above);
  return tail;
}

void AnalyzeResult(SessionSpread known, double baseline_reference_ns, LatencyResult* result) {
  std::vector<Estimate> ratios;
  std::vector<Estimate> candidates;
  std::vector<Estimate> references;
  int fewest_runs = 0;
  for (const SessionSamples& session : result->sessions) {
    const SessionAnalysis analysis = AnalyzeSession(session, result->profile);
    ratios.push_back(analysis.ratio);
    candidates.push_back(analysis.candidate_ns);
    references.push_back(analysis.reference_ns);
    const int runs = static_cast<int>(session.candidate_ns.size());
    fewest_runs = ratios.size() == 1 ? runs : std::min(fewest_runs, runs);
    result->runs += runs;
    result->warmup_runs += session.warmup_runs;
    result->outliers += analysis.outliers;
    result->reference_drift = std::max(result->reference_drift, analysis.reference_drift);
    result->autocorrelation = std::max(result->autocorrelation, analysis.autocorrelation);
    for (const Reason reason : analysis.reasons) AddReason(reason, &result->reasons);
  }
  const Estimate ratio = CombineSessions(ratios, known);
  const Estimate candidate = CombineSessions(candidates, known);
  result->ratio = ratio.value;
  result->ratio_low = ratio.low;
  result->ratio_high = ratio.high;
  result->median_ns = candidate.value;
  result->median_low_ns = candidate.low;
  result->median_high_ns = candidate.high;
  result->reference_median_ns = CombineSessions(references, {}).value;
  if (ratios.size() >= 3) {
    result->session_spread = RelativeDeviation(Values(ratios));
    if (ratio.RelativeHalfWidth() > kSessionsLimit) {
      AddReason(Reason::kSessionsDisagree, &result->reasons);
    }
  }
  if (baseline_reference_ns > 0 &&
      std::abs(result->reference_median_ns / baseline_reference_ns - 1) > kBaselineLimit) {
    AddReason(Reason::kBaselineShift, &result->reasons);
  }
  if (const auto emulated = result->environment.find("emulated");
      emulated != result->environment.end() && emulated->second == "yes") {
    AddReason(Reason::kEmulated, &result->reasons);
  }
  result->verdict = VerdictOf(result->reasons, fewest_runs);
}

}  // namespace forall
