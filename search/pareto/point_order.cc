// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/point_order.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace forall {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Below this, dealing into buckets costs more than it saves.
constexpr size_t kSmallSort = 64;
// A fuller bucket is sorted by itself before the last pass, which inserts.
constexpr int32_t kFullBucket = 16;

struct KeyedRow {
  double key;  // the first objective to order by
  int32_t row;
};

struct KeyLess {
  bool operator()(const KeyedRow& a, const KeyedRow& b) const {
    if (a.key != b.key) return a.key < b.key;
    return a.row < b.row;
  }
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

  int32_t operator()(double key) const {
    const double position = (key - low) * scale;
    return static_cast<int32_t>(std::min(std::max(position, 0.0), last));
  }
};

// Finite range of the keys; low > high when none is finite.
std::pair<double, double> FiniteRange(const std::vector<KeyedRow>& keyed) {
  double low = kInfinity;
  double high = -kInfinity;
  for (const KeyedRow& k : keyed) {
    low = std::min(low, k.key);
    high = std::max(high, k.key);
  }
  if (std::isfinite(low) && std::isfinite(high)) return {low, high};
  low = kInfinity;
  high = -kInfinity;
  for (const KeyedRow& k : keyed) {
    if (!std::isfinite(k.key)) continue;
    low = std::min(low, k.key);
    high = std::max(high, k.key);
  }
  return {low, high};
}

// For rows that are nearly in order.
template <typename Less>
void InsertionSort(const Less& less, std::vector<KeyedRow>* keyed) {
  for (size_t i = 1; i < keyed->size(); ++i) {
    const KeyedRow moving = (*keyed)[i];
    if ((*keyed)[i - 1].key < moving.key) continue;
    size_t place = i;
    for (; place > 0 && less(moving, (*keyed)[place - 1]); --place) {
      (*keyed)[place] = (*keyed)[place - 1];
    }
    (*keyed)[place] = moving;
  }
}

template <typename Less>
void Sort(const Less& less, std::vector<KeyedRow>* keyed) {
  const auto [low, high] = FiniteRange(*keyed);
  const size_t buckets = keyed->size();
  const double scale = static_cast<double>(buckets) / (high - low);
  if (keyed->size() < kSmallSort || !(low < high) || !std::isfinite(scale) || scale <= 0) {
    std::sort(keyed->begin(), keyed->end(), less);
    return;
  }
  const BucketMap bucket_of{low, scale, static_cast<double>(buckets - 1)};
  std::vector<int32_t> bucket(keyed->size());
  std::vector<int32_t> end(buckets + 1, 0);  // of the bucket before, until its rows are dealt
  for (size_t i = 0; i < keyed->size(); ++i) {
    bucket[i] = bucket_of((*keyed)[i].key);
    ++end[bucket[i] + 1];
  }
  int32_t fullest = 0;
  int32_t sum = 0;
  for (int32_t& count : end) {
    fullest = std::max(fullest, count);
    count = sum += count;
  }
  std::vector<KeyedRow> dealt(keyed->size());
  for (size_t i = 0; i < keyed->size(); ++i) dealt[end[bucket[i]]++] = (*keyed)[i];
  if (fullest > kFullBucket) {
    int32_t begin = 0;
    for (size_t b = 0; b < buckets; begin = end[b], ++b) {
      if (end[b] - begin > kFullBucket) {
        std::sort(dealt.begin() + begin, dealt.begin() + end[b], less);
      }
    }
  }
  InsertionSort(less, &dealt);
  keyed->swap(dealt);
}

template <typename Less>
std::vector<int32_t> Order(const PointsView& points, const std::vector<int32_t>& rows,
                           int objective, const Less& less) {
  std::vector<KeyedRow> keyed(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) keyed[i] = {points[rows[i]][objective], rows[i]};
  Sort(less, &keyed);
  std::vector<int32_t> order(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) order[i] = keyed[i].row;
  return order;
}

// A number for each objective; those of the first kind live in registers.
template <int kObjectives>
struct PerObjective : std::array<double, kObjectives> {
  PerObjective(int /*objectives*/, double value) { this->fill(value); }
};
template <>
struct PerObjective<0> : std::vector<double> {
  using std::vector<double>::vector;
};

// The number of objectives is known to the compiler (0: it is not), which may then unroll.
template <int kObjectives>
std::vector<int32_t> NotDominatedByPivot(const PointsView& points) {
  const int k = kObjectives > 0 ? kObjectives : points.objectives;
  const int64_t n = points.size();
  if (n == 0) return {};
  const double* const values = points.values.data();
  PerObjective<kObjectives> low(k, kInfinity);
  PerObjective<kObjectives> high(k, -kInfinity);
  for (int64_t i = 0; i < n; ++i) {
    for (int c = 0; c < k; ++c) {
      low[c] = std::min(low[c], values[i * k + c]);
      high[c] = std::max(high[c], values[i * k + c]);
    }
  }
  PerObjective<kObjectives> weight(k, 0);
  for (int c = 0; c < k; ++c) {
    const double range = high[c] - low[c];
    weight[c] = range > 0 && std::isfinite(1 / range) && std::isfinite(range) ? 1 / range : 0;
    if (weight[c] == 0) low[c] = 0;
  }
  // Any pivot is correct; NaN sums of infinite objectives merely never win.
  int64_t pivot = 0;
  double smallest = kInfinity;
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int c = 0; c < k; ++c) sum += (values[i * k + c] - low[c]) * weight[c];
    if (sum < smallest) {
      smallest = sum;
      pivot = i;
    }
  }
  PerObjective<kObjectives> best(k, 0);
  for (int c = 0; c < k; ++c) best[c] = points[pivot][c];
  std::vector<int32_t> rows(n);
  size_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    rows[kept] = static_cast<int32_t>(i);
    bool worse = false;
    bool better = false;
    for (int c = 0; c < k; ++c) {
      worse |= values[i * k + c] > best[c];
      better |= values[i * k + c] < best[c];
    }
    kept += (worse & !better) ? 0 : 1;
  }
  rows.resize(kept);
  return rows;
}

}  // namespace

std::vector<int32_t> AllRows(const PointsView& points) {
  std::vector<int32_t> rows(points.size());
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

std::vector<int32_t> RowsNotDominatedByPivot(const PointsView& points) {
  switch (points.objectives) {
    case 2:
      return NotDominatedByPivot<2>(points);
    case 3:
      return NotDominatedByPivot<3>(points);
    case 4:
      return NotDominatedByPivot<4>(points);
    default:
      return NotDominatedByPivot<0>(points);
  }
}

std::vector<int32_t> LexicographicOrder(const PointsView& points,
                                        const std::vector<int32_t>& rows) {
  return Order(points, rows, 0, LexicographicLess{points});
}

std::vector<int32_t> OrderByObjective(const PointsView& points, const std::vector<int32_t>& rows,
                                      int objective) {
  return Order(points, rows, objective, KeyLess{});
}

}  // namespace forall
