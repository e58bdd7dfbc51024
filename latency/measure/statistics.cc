// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/binomial.h"

namespace forall {
namespace {

// Turns a median absolute deviation into a standard deviation of a normal distribution.
constexpr double kMadScale = 1.4826;

std::vector<double> Sorted(absl::Span<const double> samples) {
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

double MedianOfSorted(absl::Span<const double> sorted) {
  if (sorted.empty()) return 0;
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double MedianAbsoluteDeviation(absl::Span<const double> samples, double median) {
  std::vector<double> deviations;
  deviations.reserve(samples.size());
  for (const double sample : samples) deviations.push_back(std::abs(sample - median));
  return Median(deviations);
}

double OutlierLimit(absl::Span<const double> samples) {
  const double median = Median(samples);
  const double spread = kMadScale * MedianAbsoluteDeviation(samples, median);
  return median + std::max(5 * spread, 0.02 * median);
}

// Ranks from 0, equal samples sharing their mean rank.
std::vector<double> Ranks(absl::Span<const double> samples) {
  std::vector<size_t> order(samples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return samples[a] < samples[b]; });
  std::vector<double> ranks(samples.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    while (last + 1 < order.size() && samples[order[last + 1]] == samples[order[first]]) ++last;
    for (size_t i = first; i <= last; ++i) ranks[order[i]] = static_cast<double>(first + last) / 2;
    first = last + 1;
  }
  return ranks;
}

}  // namespace

double Median(absl::Span<const double> samples) { return MedianOfSorted(Sorted(samples)); }

std::optional<double> MedianRank(int n) {
  double below = 0;  // P(B < k), B binomial (n, 1/2)
  for (int k = 0; k < (n + 1) / 2; ++k) {
    const double next = below + BinomialProbability(k, n, 0.5);
    if (next > 0.025) {
      if (k == 0) return std::nullopt;
      // Between ranks k and k + 1, of intervals with 1 - 2 below and 1 - 2 next.
      const double share = (0.025 - below) / (next - below);
      return k + (n - k) * share / (k + (n - 2 * k) * share);
    }
    below = next;
  }
  return std::nullopt;
}

Estimate EstimateMedian(absl::Span<const double> samples, double effective_runs) {
  if (samples.empty()) return {};
  const std::vector<double> sorted = Sorted(samples);
  const int n = static_cast<int>(sorted.size());
  const int independent = std::clamp(static_cast<int>(effective_runs), 0, n);
  double rank = 1;
  if (const std::optional<double> found = MedianRank(independent); found.has_value()) {
    rank = std::max(1.0, *found / (independent + 1) * (n + 1));
  }
  const auto first = static_cast<size_t>(rank);  // counted from 1, as is the next
  const double share = rank - static_cast<double>(first);
  const size_t next = std::min(first + 1, sorted.size());
  const auto between = [share](double a, double b) { return a + share * (b - a); };
  return {.value = MedianOfSorted(sorted),
          .low = between(sorted[first - 1], sorted[next - 1]),
          .high = between(sorted[sorted.size() - first], sorted[sorted.size() - next])};
}

double RankAutocorrelation(absl::Span<const double> samples) {
  if (samples.size() < 4) return 0;
  const std::vector<double> ranks = Ranks(samples);
  const double mean = static_cast<double>(ranks.size() - 1) / 2;
  double variance = 0;
  double covariance = 0;
  for (size_t i = 0; i < ranks.size(); ++i) {
    variance += (ranks[i] - mean) * (ranks[i] - mean);
    if (i > 0) covariance += (ranks[i] - mean) * (ranks[i - 1] - mean);
  }
  if (variance <= 0) return 0;
  const double plain = covariance / variance;
  return std::clamp(plain + (1 + 3 * plain) / static_cast<double>(samples.size()), -1.0, 1.0);
}

double EffectiveRuns(int n, double autocorrelation) {
  if (autocorrelation <= 0) return n;
  return n * (1 - autocorrelation) / (1 + autocorrelation);
}

int CountOutliers(absl::Span<const double> samples) {
  const double limit = OutlierLimit(samples);
  return static_cast<int>(
      std::count_if(samples.begin(), samples.end(), [&](double s) { return s > limit; }));
}

bool HasTwoModes(absl::Span<const double> samples) {
  std::vector<double> x = Sorted(samples);
  const size_t n = x.size();
  if (n < 12) return false;
  const double centre = MedianOfSorted(x);
  const double limit = OutlierLimit(samples);
  // Sums around the median, so that the difference of large squares does not cancel.
  std::vector<double> sum(n + 1, 0);
  std::vector<double> sum_of_squares(n + 1, 0);
  for (size_t i = 0; i < n; ++i) {
    const double d = std::min(x[i], limit) - centre;
    sum[i + 1] = sum[i] + d;
    sum_of_squares[i + 1] = sum_of_squares[i] + d * d;
  }
  const auto squares_within = [&](size_t from, size_t to) {
    const double s = sum[to] - sum[from];
    return sum_of_squares[to] - sum_of_squares[from] - s * s / static_cast<double>(to - from);
  };
  const size_t least = std::max<size_t>(3, (n + 4) / 5);
  size_t split = 0;
  double squares = std::numeric_limits<double>::infinity();
  for (size_t i = least; i + least <= n; ++i) {
    const double candidate = squares_within(0, i) + squares_within(i, n);
    if (candidate < squares) {
      squares = candidate;
      split = i;
    }
  }
  const double left = sum[split] / static_cast<double>(split);
  const double right = (sum[n] - sum[split]) / static_cast<double>(n - split);
  const double spread = std::sqrt(std::max(0.0, squares) / static_cast<double>(n - 2));
  // Even one mode can be split, and a small sample of it rather well: with this factor fewer than 2
  // % of normal, lognormal and exponential samples of any size are accused.
  const double factor = 4.5 + 45 / static_cast<double>(n);
  return right - left > std::max(factor * spread, 0.02 * centre);
}

double WindowedDrift(absl::Span<const double> samples) {
  const size_t window = std::max<size_t>(6, samples.size() / 6);
  if (samples.size() < 2 * window) return 0;
  double smallest = 0;
  double largest = 0;
  for (size_t start = 0; start + window <= samples.size(); start += window) {
    const double median = Median(samples.subspan(start, window));
    smallest = start == 0 ? median : std::min(smallest, median);
    largest = std::max(largest, median);
  }
  return smallest > 0 ? largest / smallest - 1 : 0;
}

absl::StatusOr<PercentileEstimate> EstimatePercentile(absl::Span<const double> samples,
                                                      double percentile, double effective_runs) {
  // Above 99.99 the number needed is beyond any measurement, and the search for it long.
  if (!(percentile >= 0.01 && percentile <= 99.99)) {
    return absl::InvalidArgumentError(
        absl::StrCat("percentile must be in [0.01, 99.99], not ", percentile));
  }
  const int64_t needed = FewestSamplesForPercentile(percentile);
  const auto n = static_cast<int64_t>(samples.size());
  if (n < needed) {
    return absl::FailedPreconditionError(absl::StrCat("percentile ", percentile, " needs at least ",
                                                      needed, " runs, there are ", n));
  }
  const int64_t independent = std::clamp<int64_t>(static_cast<int64_t>(effective_runs), 1, n);
  const double share = percentile / 100;
  // The largest rank that lies above the percentile in at most 2.5 % of cases, and the smallest
  // that lies below it in at most so many.
  int64_t low = 0;
  int64_t high = 0;
  double at_most = 0;  // P(X <= rank - 1)
  for (int64_t rank = 1; rank <= independent && high == 0; ++rank) {
    at_most += BinomialProbability(rank - 1, independent, share);
    if (at_most <= 0.025) low = rank;
    if (at_most >= 0.975) high = rank;
  }
  PercentileEstimate result;
  result.bounded = low > 0 && high > 0;
  const std::vector<double> sorted = Sorted(samples);
  const double stretch = static_cast<double>(n + 1) / static_cast<double>(independent + 1);
  const auto at = [&](double rank) {
    return sorted[static_cast<size_t>(std::clamp<double>(rank, 1, static_cast<double>(n))) - 1];
  };
  result.estimate.value = at(std::ceil(share * static_cast<double>(n)));
  result.estimate.low = at(std::floor(static_cast<double>(low) * stretch));
  result.estimate.high =
      high == 0 ? sorted.back() : at(std::ceil(static_cast<double>(high) * stretch));
  result.estimate.low = std::min(result.estimate.low, result.estimate.value);
  result.estimate.high = std::max(result.estimate.high, result.estimate.value);
  return result;
}

double Mean(absl::Span<const double> values) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double StandardDeviation(absl::Span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double RelativeDeviation(absl::Span<const double> values) {
  const double mean = Mean(values);
  return mean == 0 ? 0 : StandardDeviation(values) / mean;
}

double StudentT975(int degrees_of_freedom) {
  constexpr std::array<double, 10> kTable = {12.706, 4.303, 3.182, 2.776, 2.571,
                                             2.447,  2.365, 2.306, 2.262, 2.228};
  const int df = std::max(1, degrees_of_freedom);
  if (df <= static_cast<int>(kTable.size())) return kTable[static_cast<size_t>(df - 1)];
  // Cornish-Fisher expansion around the normal quantile (Abramowitz and Stegun 26.7.5).
  const double z = 1.959964;
  return z + (z * z * z + z) / (4 * df) +
         (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96.0 * df * df);
}

}  // namespace forall
