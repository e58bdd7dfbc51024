// SPDX-License-Identifier: Apache-2.0
#include "base/forecast_quality.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <vector>

namespace forall {
namespace {

constexpr double kTwoSided95 = 1.959963984540054;

bool IsFinite(const Forecast& forecast) {
  return std::isfinite(forecast.expected) && std::isfinite(forecast.deviation) &&
         std::isfinite(forecast.measured);
}

double PairsOf(double count) { return count * (count - 1) / 2; }

// Pairs of equal neighbours in a sorted range.
template <typename Equal>
double TiedPairs(size_t count, Equal equal) {
  double pairs = 0;
  for (size_t begin = 0; begin < count;) {
    size_t end = begin + 1;
    while (end < count && equal(begin, end)) ++end;
    pairs += PairsOf(static_cast<double>(end - begin));
    begin = end;
  }
  return pairs;
}

// Sorts and returns how many pairs stood in the wrong order.
double Inversions(std::vector<double>* values) {
  std::vector<double> merged(values->size());
  double inversions = 0;
  for (size_t width = 1; width < values->size(); width *= 2) {
    for (size_t begin = 0; begin < values->size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, values->size());
      const size_t end = std::min(begin + 2 * width, values->size());
      size_t left = begin;
      size_t right = middle;
      for (size_t out = begin; out < end; ++out) {
        const bool take_right =
            left == middle || (right < end && (*values)[right] < (*values)[left]);
        if (take_right) inversions += static_cast<double>(middle - left);
        merged[out] = (*values)[take_right ? right++ : left++];
      }
    }
    values->swap(merged);
  }
  return inversions;
}

// Knight's way, JASA 1966: after sorting by one side, discordant pairs are inversions of the other.
std::optional<double> KendallTau(std::vector<Forecast> pairs) {
  std::sort(pairs.begin(), pairs.end(), [](const Forecast& a, const Forecast& b) {
    return a.expected != b.expected ? a.expected < b.expected : a.measured < b.measured;
  });
  const size_t count = pairs.size();
  const double expected_ties =
      TiedPairs(count, [&](size_t i, size_t j) { return pairs[i].expected == pairs[j].expected; });
  const double joint_ties = TiedPairs(count, [&](size_t i, size_t j) {
    return pairs[i].expected == pairs[j].expected && pairs[i].measured == pairs[j].measured;
  });
  std::vector<double> measured;
  measured.reserve(count);
  for (const Forecast& pair : pairs) measured.push_back(pair.measured);
  const double discordant = Inversions(&measured);
  const double measured_ties =
      TiedPairs(count, [&](size_t i, size_t j) { return measured[i] == measured[j]; });
  const double all = PairsOf(static_cast<double>(count));
  const double scale = std::sqrt(all - expected_ties) * std::sqrt(all - measured_ties);
  if (scale == 0) return std::nullopt;
  return (all - expected_ties - measured_ties + joint_ties - 2 * discordant) / scale;
}

// From 1; equal values share the mean of their ranks.
std::vector<double> Ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) {
      ranks[order[i]] = static_cast<double>(begin + 1 + end) / 2;
    }
    begin = end;
  }
  return ranks;
}

std::optional<double> SpearmanRho(const std::vector<Forecast>& pairs) {
  std::vector<double> expected;
  std::vector<double> measured;
  for (const Forecast& pair : pairs) {
    expected.push_back(pair.expected);
    measured.push_back(pair.measured);
  }
  const std::vector<double> x = Ranks(expected);
  const std::vector<double> y = Ranks(measured);
  const double mean = (static_cast<double>(pairs.size()) + 1) / 2;
  double xy = 0;
  double xx = 0;
  double yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  if (xx == 0 || yy == 0) return std::nullopt;
  return xy / std::sqrt(xx) / std::sqrt(yy);
}

}  // namespace

ForecastQuality JudgeForecasts(absl::Span<const Forecast> forecasts) {
  std::vector<Forecast> pairs;
  std::copy_if(forecasts.begin(), forecasts.end(), std::back_inserter(pairs), IsFinite);
  ForecastQuality quality;
  quality.count = static_cast<int64_t>(pairs.size());
  if (pairs.empty()) return quality;
  const double share = 1 / static_cast<double>(pairs.size());
  double relative_errors = 0;
  int64_t relative = 0;
  int64_t within[4] = {};
  for (const Forecast& pair : pairs) {
    const double error = std::abs(pair.expected - pair.measured);
    const double size = std::abs(pair.measured);
    if (size > 0) {
      relative_errors += error / size;
      ++relative;
    }
    within[0] += error <= 0.05 * size;
    within[1] += error <= 0.10 * size;
    within[2] += error <= 0.15 * size;
    within[3] += error <= kTwoSided95 * pair.deviation;
    quality.mean_signed_error += (pair.expected - pair.measured) * share;
  }
  if (relative > 0) quality.mean_relative_error = relative_errors / static_cast<double>(relative);
  quality.within_5_percent = static_cast<double>(within[0]) * share;
  quality.within_10_percent = static_cast<double>(within[1]) * share;
  quality.within_15_percent = static_cast<double>(within[2]) * share;
  quality.within_interval = static_cast<double>(within[3]) * share;
  quality.kendall_tau = KendallTau(pairs);
  quality.spearman_rho = SpearmanRho(pairs);
  return quality;
}

}  // namespace forall
