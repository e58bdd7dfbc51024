// SPDX-License-Identifier: Apache-2.0
// Points are added in the order of the first objective; the volume is the sum of the areas that
// they newly dominate in the plane of the other two. The frontier in that plane is a list,
// ascending in `a` and descending in `b`. What costs time is less the work than branches nobody can
// foresee: how many members a point drives out, and where its place is. So the usual cases are
// computed without asking, and only what is rare is asked for.
#include "search/pareto/hypervolume_3d.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "search/pareto/largest_box.h"

namespace forall {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kFewPoints = 64;
constexpr int64_t kManyPoints = 65000;  // names of steps, and counts, have 16 bits
constexpr int64_t kSample = 256;
constexpr int64_t kPivotSample = 32;
// Moves and steps per point that crowded buckets may cost before it is better to give up.
constexpr int64_t kPatience = 2;

// No NaN, no minus infinity, no sum that overflows to it.
bool Sound(const PointsView& points) {
  double sum = 0;
  for (const double value : points.values) sum += value;
  return sum > -kInfinity;
}

// Where most values lie: it is a sample's, so that some may be beyond.
struct Range {
  double low = kInfinity;
  double high = -kInfinity;

  void Widen(double value) {
    low = value < low ? value : low;
    high = high < value ? value : high;
  }
};

// Maps values monotonically to 0 ... count - 1, those beyond the range to the first and the last;
// NaN to anything of these.
class Buckets {
 public:
  // Nothing if the range is empty, or too small or too large for arithmetic.
  static std::optional<Buckets> Divide(const Range& range, int count) {
    const double width = range.high - range.low;
    const double scale = (count - 1) / width;
    if (!(width > 0) || !std::isfinite(width) || !std::isfinite(scale)) return std::nullopt;
    return Buckets(range, scale);
  }

  int32_t Of(double value) const {
    const double raised = value > range_.low ? value : range_.low;
    const double within = raised < range_.high ? raised : range_.high;
    return static_cast<int32_t>((within - range_.low) * scale_);
  }

 private:
  Buckets(const Range& range, double scale) : range_(range), scale_(scale) {}

  Range range_;
  double scale_;
};

// A point, and once it is a member of the frontier in the plane, a step of that.
struct alignas(32) Step {
  double x;
  double a;
  double b;
  uint32_t next;   // in the frontier: its offset from the first sentinel, in bytes
  int32_t bucket;  // of `a`
};

// Points in the order of the first objective, between two sentinels.
class Order {
 public:
  // `row_of` turns 0 ... count - 1 into rows. Nothing when a point is not strictly better than the
  // reference or not sound, or when buckets are crowded. `a_buckets` are kept with each point.
  template <typename RowOf>
  static std::optional<Order> Of(const PointsView& points, const double* reference, int64_t count,
                                 RowOf row_of, const Range& x_range, const Buckets& a_buckets) {
    const uint64_t bucket_count = 4 * std::bit_ceil(static_cast<uint64_t>(count));
    const std::optional<Buckets> buckets = Buckets::Divide(x_range, static_cast<int>(bucket_count));
    if (!buckets.has_value()) return std::nullopt;
    const double* const values = points.values.data();
    const auto bucket = std::make_unique_for_overwrite<int32_t[]>(static_cast<size_t>(count));
    std::vector<uint16_t> end(bucket_count, 0);
    double high_x = -kInfinity;
    double high_a = -kInfinity;
    double high_b = -kInfinity;
    double sum = 0;  // NaN or minus infinity if any value is
    for (int64_t i = 0; i < count; ++i) {
      const double* p = values + 3 * static_cast<int64_t>(row_of(i));
      const double x = p[0];
      const double a = p[1];
      const double b = p[2];
      sum += x + a + b;
      high_x = high_x < x ? x : high_x;
      high_a = high_a < a ? a : high_a;
      high_b = high_b < b ? b : high_b;
      bucket[i] = buckets->Of(x);
      ++end[bucket[i]];
    }
    const bool inside = high_x < reference[0] && high_a < reference[1] && high_b < reference[2];
    if (!inside || !(sum > -kInfinity)) return std::nullopt;
    SumUp(&end);
    Order order(count);
    Step* const steps = order.steps_.get() + 1;
    // From the last, so that each end becomes its bucket's begin and equal points keep their order.
    for (int64_t i = count; i-- > 0;) {
      const double* p = values + 3 * static_cast<int64_t>(row_of(i));
      Step& step = steps[--end[bucket[i]]];
      step.x = p[0];
      step.a = p[1];
      step.b = p[2];
      step.bucket = a_buckets.Of(p[1]);
    }
    if (!order.Insert()) return std::nullopt;
    return order;
  }

  // Point i of 1 ... count; 0 and count + 1 are the sentinels'.
  Step* steps() { return steps_.get(); }
  int64_t count() const { return count_; }

 private:
  explicit Order(int64_t count)
      : count_(count),
        steps_(std::make_unique_for_overwrite<Step[]>(static_cast<size_t>(count) + 2)) {}

  // Counts become how many there are up to and with each. Four at a time: the product with kOnes
  // has their running sums, in the order of bytes that a machine of this kind has.
  static void SumUp(std::vector<uint16_t>* counts) {
    static_assert(std::endian::native == std::endian::little);
    constexpr uint64_t kOnes = 0x0001000100010001;
    uint64_t before = 0;
    for (size_t i = 0; i < counts->size(); i += 4) {
      uint64_t four = 0;
      std::memcpy(&four, counts->data() + i, sizeof(four));
      four *= kOnes;
      const uint64_t sums = before + four;
      std::memcpy(counts->data() + i, &sums, sizeof(sums));
      before += (four >> 48) * kOnes;
    }
  }

  // The last touch: whoever shares a bucket. False if that takes too many moves.
  bool Insert() {
    int64_t moves = kPatience * count_;
    for (int64_t i = 2; i <= count_; ++i) {
      if (steps_[i - 1].x <= steps_[i].x) continue;
      const Step moving = steps_[i];
      int64_t place = i;
      for (; place > 1 && steps_[place - 1].x > moving.x; --place) {
        steps_[place] = steps_[place - 1];
      }
      steps_[place] = moving;
      if ((moves -= i - place) < 0) return false;
    }
    return true;
  }

  int64_t count_;
  std::unique_ptr<Step[]> steps_;
};

// For each bucket the last step of the frontier that lies in a lower one.
class StepBelow {
 public:
  explicit StepBelow(int buckets) : below_(static_cast<size_t>(buckets) + kLanes, 0) {}

  uint32_t operator[](int32_t bucket) const { return below_[bucket]; }

  // For the buckets after `first`, up to `last`. Mostly they are a few: so many are written always,
  // each as it was or new.
  void Set(int32_t first, int32_t last, uint16_t step) {
    uint16_t* const begin = below_.data() + first + 1;
    const auto count = static_cast<int16_t>(last - first);
    for (int16_t lane = 0; lane < kLanes; ++lane) {
      const auto mask = static_cast<uint16_t>(static_cast<int16_t>(lane - count) >> 15);
      begin[lane] = static_cast<uint16_t>((step & mask) | (begin[lane] & ~mask));
    }
    if (count > kLanes) std::fill(begin + kLanes, begin + count, step);
  }

 private:
  static constexpr int16_t kLanes = 16;
  std::vector<uint16_t> below_;
};

// Without a branch: compilers make one of a conditional expression.
uint32_t Choose(bool first, uint32_t a, uint32_t b) {
  return b ^ ((a ^ b) & -static_cast<uint32_t>(first));
}

double AtLeast(double value, double least) { return value > least ? value : least; }

std::optional<double> Sweep(Order order, int buckets, const double* reference) {
  constexpr uint32_t kSize = sizeof(Step);
  char* const steps = reinterpret_cast<char*>(order.steps());
  const auto at = [steps](uint32_t offset) -> Step& {
    return *reinterpret_cast<Step*>(steps + offset);
  };
  const uint32_t end = static_cast<uint32_t>(order.count() + 1) * kSize;
  at(0) = {0, -kInfinity, reference[2], end, -1};
  at(end) = {0, reference[1], -kInfinity, end, buckets - 1};
  StepBelow below(buckets);
  int64_t patience = kPatience * order.count();
  double volume = 0;
  for (uint32_t i = kSize; i < end; i += kSize) {
    Step& p = at(i);
    const double a = p.a;
    const double b = p.b;
    // The last step that is not to the right of the point: its bucket seldom has two others.
    uint32_t left = kSize * below[p.bucket];
    const uint32_t after = at(left).next;
    left = Choose(at(after).a <= a, after, left);
    uint32_t first = at(left).next;
    while (at(first).a <= a) {
      left = first;
      first = at(left).next;
      if (--patience < 0) return std::nullopt;
    }
    Step& before = at(left);
    if (before.b <= b) continue;
    // It drives out none, one or two steps, seldom more.
    const Step& one = at(first);
    const Step& two = at(one.next);
    const Step& three = at(two.next);
    double area = (one.a - a) * (before.b - b) + (AtLeast(one.b, b) - b) * (two.a - one.a) +
                  (AtLeast(two.b, b) - b) * (three.a - two.a);
    uint32_t next = Choose(two.b >= b, two.next, Choose(one.b >= b, one.next, first));
    while (at(next).b >= b) {
      const Step& step = at(next);
      area += (step.b - b) * (at(step.next).a - step.a);
      next = step.next;
    }
    p.next = next;
    before.next = i;
    below.Set(p.bucket, at(next).bucket, static_cast<uint16_t>(i / kSize));
    volume += (reference[0] - p.x) * area;
  }
  return volume;
}

// The points of at most `most` of the rows, evenly.
template <typename RowOf>
std::vector<double> Sample(const PointsView& points, int64_t count, RowOf row_of, int64_t most) {
  const int64_t size = std::min(count, most);
  std::vector<double> sample;
  sample.reserve(static_cast<size_t>(3 * size));
  for (int64_t i = 0; i < size; ++i) {
    const double* p = points[row_of(i * count / size)];
    sample.insert(sample.end(), p, p + 3);
  }
  return sample;
}

Range RangeOf(const std::vector<double>& sample, size_t objective) {
  Range range;
  for (size_t i = objective; i < sample.size(); i += 3) range.Widen(sample[i]);
  return range;
}

template <typename RowOf>
std::optional<double> OrderAndSweep(const PointsView& points, const double* reference,
                                    int64_t count, RowOf row_of) {
  const std::vector<double> sample = Sample(points, count, row_of, kSample);
  // The frontier in the plane has about as many steps as the square root of the points.
  const auto buckets = static_cast<int>(
      std::bit_ceil(static_cast<uint64_t>(4 * std::sqrt(static_cast<double>(count)))));
  const std::optional<Buckets> a_buckets = Buckets::Divide(RangeOf(sample, 1), buckets);
  if (!a_buckets.has_value()) return std::nullopt;
  std::optional<Order> order =
      Order::Of(points, reference, count, row_of, RangeOf(sample, 0), *a_buckets);
  if (!order.has_value()) return std::nullopt;
  return Sweep(*std::move(order), buckets, reference);
}

// Whether a look for the largest box may pay: in a sample more than a few are dominated or beyond
// the reference.
bool WorthPruning(const PointsView& points, const double* reference) {
  const std::vector<double> sample = Sample(
      points, points.size(), [](int64_t i) { return i; }, kPivotSample);
  return RowsBesideLargestBox<3>({sample, 3}, reference).size() + 2 < kPivotSample;
}

}  // namespace

std::optional<double> SpreadHypervolume3(const PointsView& points, const double* reference) {
  const int64_t size = points.size();
  if (size < kFewPoints || points.values.size() % 3 != 0) return std::nullopt;
  if (size <= kManyPoints && !WorthPruning(points, reference)) {
    const std::optional<double> volume =
        OrderAndSweep(points, reference, size, [](int64_t i) { return i; });
    if (volume.has_value()) return volume;
    // Perhaps a point or two lie beyond the reference.
  }
  if (!Sound(points)) return std::nullopt;
  const std::vector<int32_t> rows = RowsBesideLargestBox<3>(points, reference);
  const auto count = static_cast<int64_t>(rows.size());
  if (count == 0 || count == size || count > kManyPoints) return std::nullopt;
  return OrderAndSweep(points, reference, count, [&rows](int64_t i) { return rows[i]; });
}

}  // namespace forall
