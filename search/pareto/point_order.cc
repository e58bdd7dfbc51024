// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/point_order.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace forall {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Below this, dealing into buckets costs more than it saves.
constexpr size_t kSmallSort = 256;
constexpr size_t kRowsPerBucket = 4;

struct KeyedRow {
  double key;  // first objective
  int32_t row;
};

struct LexicographicLess {
  PointsView points;
  bool operator()(const KeyedRow& a, const KeyedRow& b) const {
    if (a.key != b.key) return a.key < b.key;
    const double* p = points[a.row];
    const double* q = points[b.row];
    for (int c = 1; c < points.objectives; ++c) {
      if (p[c] != q[c]) return p[c] < q[c];
    }
    return a.row < b.row;
  }
};

// Maps keys to buckets monotonically; infinities go to the outermost ones.
struct BucketMap {
  double low = 0;
  double scale = 0;
  double last = 0;

  size_t operator()(double key) const {
    const double position = (key - low) * scale;
    return static_cast<size_t>(std::min(std::max(position, 0.0), last));
  }
};

// Finite range of the keys; low > high when none is finite.
std::pair<double, double> FiniteRange(const std::vector<KeyedRow>& keyed) {
  double low = kInfinity;
  double high = -kInfinity;
  for (const KeyedRow& k : keyed) {
    if (!std::isfinite(k.key)) continue;
    low = std::min(low, k.key);
    high = std::max(high, k.key);
  }
  return {low, high};
}

void SortByBuckets(const LexicographicLess& less, std::vector<KeyedRow>* keyed) {
  const auto [low, high] = FiniteRange(*keyed);
  const size_t buckets = keyed->size() / kRowsPerBucket;
  const double scale = static_cast<double>(buckets) / (high - low);
  if (!(low < high) || !std::isfinite(scale) || scale <= 0) {
    std::sort(keyed->begin(), keyed->end(), less);
    return;
  }
  const BucketMap bucket_of{low, scale, static_cast<double>(buckets - 1)};
  std::vector<int32_t> bucket(keyed->size());
  std::vector<int32_t> begin(buckets + 1, 0);
  for (size_t i = 0; i < keyed->size(); ++i) {
    bucket[i] = static_cast<int32_t>(bucket_of((*keyed)[i].key));
    ++begin[bucket[i] + 1];
  }
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  std::vector<KeyedRow> dealt(keyed->size());
  std::vector<int32_t> next(begin.begin(), begin.end() - 1);
  for (size_t i = 0; i < keyed->size(); ++i) dealt[next[bucket[i]]++] = (*keyed)[i];
  for (size_t b = 0; b < buckets; ++b) {
    if (begin[b + 1] - begin[b] > 1) {
      std::sort(dealt.begin() + begin[b], dealt.begin() + begin[b + 1], less);
    }
  }
  keyed->swap(dealt);
}

}  // namespace

std::vector<int32_t> AllRows(const PointsView& points) {
  std::vector<int32_t> rows(points.size());
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

std::vector<int32_t> RowsNotDominatedByPivot(const PointsView& points) {
  const int k = points.objectives;
  const int64_t n = points.size();
  std::vector<double> low(k, kInfinity);
  std::vector<double> high(k, -kInfinity);
  for (int64_t i = 0; i < n; ++i) {
    const double* p = points[i];
    for (int c = 0; c < k; ++c) {
      low[c] = std::min(low[c], p[c]);
      high[c] = std::max(high[c], p[c]);
    }
  }
  std::vector<double> weight(k);
  for (int c = 0; c < k; ++c) {
    const double range = high[c] - low[c];
    weight[c] = range > 0 && std::isfinite(1 / range) && std::isfinite(range) ? 1 / range : 0;
    if (weight[c] == 0) low[c] = 0;
  }
  // Any pivot is correct; NaN sums of infinite objectives merely never win.
  int64_t pivot = 0;
  double smallest = kInfinity;
  for (int64_t i = 0; i < n; ++i) {
    const double* p = points[i];
    double sum = 0;
    for (int c = 0; c < k; ++c) sum += (p[c] - low[c]) * weight[c];
    if (sum < smallest) {
      smallest = sum;
      pivot = i;
    }
  }
  std::vector<int32_t> rows(n);
  size_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    rows[kept] = static_cast<int32_t>(i);
    kept += Dominates(points[pivot], points[i], k) ? 0 : 1;
  }
  rows.resize(kept);
  return rows;
}

std::vector<int32_t> LexicographicOrder(const PointsView& points,
                                        const std::vector<int32_t>& rows) {
  std::vector<KeyedRow> keyed(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) keyed[i] = {points[rows[i]][0], rows[i]};
  const LexicographicLess less{points};
  if (keyed.size() < kSmallSort) {
    std::sort(keyed.begin(), keyed.end(), less);
  } else {
    SortByBuckets(less, &keyed);
  }
  std::vector<int32_t> order(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) order[i] = keyed[i].row;
  return order;
}

}  // namespace forall
