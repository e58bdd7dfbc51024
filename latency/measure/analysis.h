// SPDX-License-Identifier: Apache-2.0
// From raw samples to estimates and reasons. Pure, so that stored samples can be judged anew.
#ifndef FORALL_LATENCY_MEASURE_ANALYSIS_H_
#define FORALL_LATENCY_MEASURE_ANALYSIS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "latency/measure/measurement.h"

namespace forall {

struct SessionAnalysis {
  Estimate ratio;
  Estimate candidate_ns;
  Estimate reference_ns;
  double autocorrelation = 0;
  double reference_drift = 0;
  int outliers = 0;
  std::vector<Reason> reasons;
};

// The interval of the ratio alone, which is what decides whether to go on.
Estimate EstimateRatio(const SessionSamples& samples);

SessionAnalysis AnalyzeSession(const SessionSamples& samples, const Profile& profile);

// Whether the device's own speed, as the reference shows it, moved too far meanwhile for the ratio
// to be believed: by more than 50 %, or by more than 10 % with the ratio's windows more than 5 %
// apart (docs/adr/0004-a-changed-pace-is-noisy.md).
bool IsThrottled(const SessionSamples& samples);

// One estimate of several sessions: the mean of their values, with an interval for what a further
// session (of another process, say) will find with 95 % probability: Student's, from the scatter of
// the sessions pooled with `known` (what a calibration and its controls found), joined to what a
// typical session says about itself. Fewer than three sessions without a known spread tell nothing
// about the scatter, and it is left out.
Estimate CombineSessions(const std::vector<Estimate>& sessions, SessionSpread known);

// What a measurement says of a latency's percentile.
struct TailEstimate {
  // In multiples of the reference's median, as LatencyResult::ratio, and as its interval for what
  // one further session will find: the order-statistic interval of all sessions' samples, widened
  // by the ratio's own.
  Estimate ratio;
  int64_t samples = 0;
  Verdict verdict = Verdict::kRejected;
  std::vector<Reason> reasons;
};
// Of the candidate's own times, each divided by the median of the reference in its session: the
// tail of single ratios would be the reference's as well. Where a device measures by itself the
// samples are its program's. `result` must be analyzed. FailedPrecondition with how many runs are
// needed when there are too few; InvalidArgument for a percentile that there is not.
absl::StatusOr<TailEstimate> EstimateTail(const LatencyResult& result, double percentile);

// Fills in everything of `result` that follows from result->sessions, ->profile and ->environment.
// `baseline_reference_ns` 0: not known.
void AnalyzeResult(SessionSpread known, double baseline_reference_ns, LatencyResult* result);

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_ANALYSIS_H_
