// SPDX-License-Identifier: Apache-2.0
// Distribution-free statistics of timing samples. Latencies are not normal: they have a floor, a
// tail and sometimes two modes, so everything here works on ranks. All functions are pure; samples
// must be finite.
#ifndef FORALL_LATENCY_MEASURE_STATISTICS_H_
#define FORALL_LATENCY_MEASURE_STATISTICS_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "latency/measure/measurement.h"

namespace forall {

// Mean of the two middle samples when their number is even. 0 for none.
double Median(absl::Span<const double> samples);

// The 1-based, fractional rank r of n sorted samples such that those at r and at n + 1 - r enclose
// the distribution's median with 95 % probability: by the exact binomial distribution (David and
// Nagaraja, "Order Statistics", 7.1), interpolated between whole ranks, none of which has just 95 %
// (Hettmansperger and Sheather, "Confidence intervals based on interpolated order statistics",
// Statistics & Probability Letters 1986). Absent below 6 samples, where no rank does.
std::optional<double> MedianRank(int n);

// Median with its order-statistic 95 % interval. `effective_runs` (at most the number of samples)
// says for how many independent ones the samples count: the ranks of so many are spread over all.
// Without enough for an interval it spans all samples.
Estimate EstimateMedian(absl::Span<const double> samples, double effective_runs);

// Lag-1 autocorrelation of the samples' ranks (so that a spike does not hide it), in [-1, 1],
// without the bias of short series, which is -(1 + 3 r) / n (Kendall, "Note on bias in the
// estimation of autocorrelation", Biometrika 1954). 0 below 4 samples or when all are equal.
double RankAutocorrelation(absl::Span<const double> samples);

// n (1 - r) / (1 + r) for positive r, the size of an independent sample that says as much about the
// centre of a first-order autoregressive one; n otherwise.
double EffectiveRuns(int n, double autocorrelation);

// Samples further than five scaled median absolute deviations above the median (with a floor of 2 %
// of the median, so that a very quiet series does not accuse itself).
int CountOutliers(absl::Span<const double> samples);

// Whether the samples gather at two values: the best split in two (least squares, outliers drawn
// in) leaves at least a fifth on each side, and the sides' means lie more than 2 % of the median
// and about five of their own standard deviations apart (more for small samples, which split well
// by chance).
bool HasTwoModes(absl::Span<const double> samples);

// Largest over smallest median of successive windows, minus 1. Windows have a sixth of the samples,
// at least 6; 0 when there are not two.
double WindowedDrift(absl::Span<const double> samples);

struct PercentileEstimate {
  Estimate estimate;
  // Whether the interval's ends are ranks with 95 % between them. Otherwise so few samples count as
  // independent that an end is the smallest or the largest sample.
  bool bounded = true;
};
// The nearest-rank percentile with its order-statistic 95 % interval: the ranks between which the
// distribution's percentile lies by the exact binomial distribution (David and Nagaraja, "Order
// Statistics", 7.1). `effective_runs` as EstimateMedian. InvalidArgument outside [0.01, 99.99],
// FailedPrecondition with the number needed when there are fewer samples than
// FewestSamplesForPercentile (base/binomial.h).
absl::StatusOr<PercentileEstimate> EstimatePercentile(absl::Span<const double> samples,
                                                      double percentile, double effective_runs);

// 0 for none.
double Mean(absl::Span<const double> values);
// The sample's, with n - 1; 0 below two.
double StandardDeviation(absl::Span<const double> values);
// The standard deviation over the mean; 0 when that is 0.
double RelativeDeviation(absl::Span<const double> values);

// The quantile 0.975 of Student's t distribution, for at least one degree of freedom.
double StudentT975(int degrees_of_freedom);

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_STATISTICS_H_
