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

// Fills in everything of `result` that follows from result->sessions, ->profile and ->environment.
// `baseline_reference_ns` 0: not known.
void AnalyzeResult(SessionSpread known, double baseline_reference_ns, LatencyResult* result);

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_ANALYSIS_H_
