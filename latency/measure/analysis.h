// SPDX-License-Identifier: Apache-2.0
// From raw samples to estimates and reasons. Pure, so that stored samples can be judged anew.
#ifndef FORALL_LATENCY_MEASURE_ANALYSIS_H_
#define FORALL_LATENCY_MEASURE_ANALYSIS_H_

#include <vector>

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

// One estimate of several sessions: the mean of their values, with Student's 95 % interval for a
// further session (of another process, say) when there are at least three; never narrower than what
// a typical session says about itself. `known_spread`, a relative standard deviation between
// sessions, stands in when there are fewer.
Estimate CombineSessions(const std::vector<Estimate>& sessions, double known_spread);

// Fills in everything of `result` that follows from result->sessions and result->profile.
// `baseline_reference_ns` 0: not known.
void AnalyzeResult(double known_spread, double baseline_reference_ns, LatencyResult* result);

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_ANALYSIS_H_
