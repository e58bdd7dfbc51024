// SPDX-License-Identifier: Apache-2.0
#include "data/image/image_transform.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace forall {
namespace {

constexpr int kFractionBits = 22;
constexpr int32_t kHalf = 1 << (kFractionBits - 1);

// Which positions along one axis give each of the outputs [begin, begin + count) when the axis is
// resized from `from` to `to`: `taps` positions from first(i) on, all inside the axis, some with a
// weight of zero.
class AxisTaps {
 public:
  AxisTaps(int64_t from, int64_t to, int64_t begin, int64_t count)
      : scale_(static_cast<double>(from) / static_cast<double>(to)), from_(from) {
    for (int64_t i = 0; i < count; ++i) {
      const double center = (static_cast<double>(begin + i) + 0.5) * scale_;
      taps_ = std::max(taps_, Bound(center + support_) - Bound(center - support_));
    }
    first_.reserve(static_cast<size_t>(count));
    weights_.resize(static_cast<size_t>(taps_ * count), 0);
    for (int64_t i = 0; i < count; ++i) {
      AddOutput((static_cast<double>(begin + i) + 0.5) * scale_, &weights_[Index(i)]);
    }
  }

  int64_t taps() const { return taps_; }
  int64_t first(int64_t output) const { return first_[static_cast<size_t>(output)]; }
  const int32_t* weights(int64_t output) const { return &weights_[Index(output)]; }

 private:
  size_t Index(int64_t output) const { return static_cast<size_t>(taps_ * output); }
  // Rounded half up, as in PIL, and cut to the axis.
  int64_t Bound(double position) const {
    return std::clamp<int64_t>(static_cast<int64_t>(std::floor(position + 0.5)), 0, from_);
  }
  void AddOutput(double center, int32_t* weights) {
    const int64_t begin = Bound(center - support_);
    const int64_t count = Bound(center + support_) - begin;
    std::vector<double> exact(static_cast<size_t>(count));
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) {
      const double distance = (static_cast<double>(begin + k) - center + 0.5) * (1.0 / support_);
      exact[static_cast<size_t>(k)] = std::max(0.0, 1.0 - std::abs(distance));
      sum += exact[static_cast<size_t>(k)];
    }
    const int64_t first = std::min(begin, from_ - taps_);
    for (int64_t k = 0; k < count; ++k) {
      const double weight = sum != 0 ? exact[static_cast<size_t>(k)] / sum : 0.0;
      weights[begin - first + k] =
          static_cast<int32_t>(std::floor(0.5 + weight * (1 << kFractionBits)));
    }
    first_.push_back(static_cast<int32_t>(first));
  }

  const double scale_;
  const double support_ = std::max(scale_, 1.0);
  const int64_t from_;
  int64_t taps_ = 0;
  std::vector<int32_t> first_;
  std::vector<int32_t> weights_;
};

// Sums are of whole numbers, so every kernel gives the same bytes. Weights are not negative and sum
// to one but for their rounding: with fewer than 16,000 taps a sum passes 255 by less than one, and
// there is nothing to clip.
//
// Between the passes a pixel takes four bytes, the last of which means nothing.
struct Kernels {
  // One row: `count` pixels of `output` from pixels of `row`, which is followed by at least a byte.
  void (*resize_row)(const uint8_t* row, const AxisTaps& columns, int64_t count, bool mirror,
                     uint8_t* output);
  // `count` sums of the bytes of `taps` rows, `count` bytes apart.
  void (*blend_rows)(const uint8_t* rows, const int32_t* weights, int64_t taps, int64_t count,
                     int32_t* sums, uint8_t* output);
};

void ResizeRow(const uint8_t* row, const AxisTaps& columns, int64_t count, bool mirror,
               uint8_t* output) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* pixel = row + 3 * columns.first(i);
    const int32_t* const weights = columns.weights(i);
    int32_t sums[3] = {kHalf, kHalf, kHalf};
    for (int64_t k = 0; k < columns.taps(); ++k, pixel += 3) {
      for (int c = 0; c < 3; ++c) sums[c] += pixel[c] * weights[k];
    }
    uint8_t* const out = output + 4 * (mirror ? count - 1 - i : i);
    for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(sums[c] >> kFractionBits);
  }
}

inline __attribute__((always_inline)) void BlendRowsInline(const uint8_t* rows,
                                                           const int32_t* weights, int64_t taps,
                                                           int64_t count, int32_t* sums,
                                                           uint8_t* output) {
  std::fill_n(sums, count, kHalf);
  for (int64_t k = 0; k < taps; ++k, rows += count) {
    const int32_t weight = weights[k];
    for (int64_t i = 0; i < count; ++i) sums[i] += rows[i] * weight;
  }
  for (int64_t i = 0; i < count; ++i) output[i] = static_cast<uint8_t>(sums[i] >> kFractionBits);
}

void BlendRows(const uint8_t* rows, const int32_t* weights, int64_t taps, int64_t count,
               int32_t* sums, uint8_t* output) {
  BlendRowsInline(rows, weights, taps, count, sums, output);
}

#if defined(__x86_64__)

// The three sums of a pixel side by side. kTaps is the number of taps, or 0 when only `columns`
// tells.
template <int64_t kTaps>
__attribute__((target("avx2"))) void ResizeRowAvx2By(const uint8_t* row, const AxisTaps& columns,
                                                     int64_t count, bool mirror, uint8_t* output) {
  const int64_t taps = kTaps > 0 ? kTaps : columns.taps();
  const int32_t* weights = columns.weights(0);
  const __m128i low_bytes = _mm_set1_epi32(0x0c080400);
  for (int64_t i = 0; i < count; ++i, weights += taps) {
    const uint8_t* const pixel = row + 3 * columns.first(i);
    __m128i sum = _mm_set1_epi32(kHalf);
    for (int64_t k = 0; k < taps; ++k) {
      int32_t word;
      std::memcpy(&word, pixel + 3 * k, sizeof(word));
      sum = _mm_add_epi32(sum, _mm_mullo_epi32(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(word)),
                                               _mm_set1_epi32(weights[k])));
    }
    const int32_t bytes =
        _mm_cvtsi128_si32(_mm_shuffle_epi8(_mm_srai_epi32(sum, kFractionBits), low_bytes));
    std::memcpy(output + 4 * (mirror ? count - 1 - i : i), &bytes, sizeof(bytes));
  }
}

void ResizeRowAvx2(const uint8_t* row, const AxisTaps& columns, int64_t count, bool mirror,
                   uint8_t* output) {
  switch (columns.taps()) {  // unrolled for what photographs need
    case 2:
      return ResizeRowAvx2By<2>(row, columns, count, mirror, output);
    case 3:
      return ResizeRowAvx2By<3>(row, columns, count, mirror, output);
    case 4:
      return ResizeRowAvx2By<4>(row, columns, count, mirror, output);
    case 5:
      return ResizeRowAvx2By<5>(row, columns, count, mirror, output);
    case 6:
      return ResizeRowAvx2By<6>(row, columns, count, mirror, output);
    default:
      return ResizeRowAvx2By<0>(row, columns, count, mirror, output);
  }
}

__attribute__((target("avx2"))) void BlendRowsAvx2(const uint8_t* rows, const int32_t* weights,
                                                   int64_t taps, int64_t count, int32_t* sums,
                                                   uint8_t* output) {
  BlendRowsInline(rows, weights, taps, count, sums, output);
}

#endif

Kernels ChooseKernels(TransformKernel kernel) {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (kernel == TransformKernel::kBest && has_avx2) return {ResizeRowAvx2, BlendRowsAvx2};
#endif
  return {ResizeRow, BlendRows};
}

int64_t RoundHalfToEven(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

}  // namespace

TransformPlan EvaluationPlan(int width, int height, int resolution) {
  const int64_t shorter = (int64_t{resolution} * 8 + 6) / 7;  // ceil(resolution / 0.875)
  TransformPlan plan;
  plan.source = {0, 0, width, height};
  plan.width = width <= height ? shorter : shorter * width / height;
  plan.height = width <= height ? shorter * height / width : shorter;
  plan.crop = {RoundHalfToEven(static_cast<double>(plan.width - resolution) / 2),
               RoundHalfToEven(static_cast<double>(plan.height - resolution) / 2), resolution,
               resolution};
  return plan;
}

TransformPlan TrainingPlan(int width, int height, int resolution, Random* random) {
  constexpr double kSmallestArea = 0.08;
  constexpr double kNarrowest = 3.0 / 4;
  constexpr double kWidest = 4.0 / 3;
  TransformPlan plan;
  plan.width = plan.height = resolution;
  plan.crop = {0, 0, resolution, resolution};
  const auto between = [&](double low, double high) {
    return low + (high - low) * random->Double();
  };
  const auto within = [&](int64_t bound) {
    return static_cast<int64_t>(random->Uniform(static_cast<uint64_t>(bound)));
  };
  const double area = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < 10 && plan.source.width == 0; ++attempt) {
    const double part = area * between(kSmallestArea, 1.0);
    const double ratio = std::exp(between(std::log(kNarrowest), std::log(kWidest)));
    const int64_t w = RoundHalfToEven(std::sqrt(part * ratio));
    const int64_t h = RoundHalfToEven(std::sqrt(part / ratio));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    const int64_t top = within(height - h + 1);
    plan.source = {within(width - w + 1), top, w, h};
  }
  if (plan.source.width == 0) {  // an image too long and thin: the widest part of its middle
    const double ratio = static_cast<double>(width) / height;
    int64_t w = width;
    int64_t h = height;
    if (ratio < kNarrowest) h = RoundHalfToEven(width / kNarrowest);
    if (ratio > kWidest) w = RoundHalfToEven(height * kWidest);
    plan.source = {(width - w) / 2, (height - h) / 2, w, h};
  }
  plan.mirror = random->Bernoulli(0.5);
  return plan;
}

void TransformImage(const RgbImage& image, const TransformPlan& plan, absl::Span<uint8_t> planes,
                    TransformKernel kernel) {
  const Kernels kernels = ChooseKernels(kernel);
  const int64_t width = plan.crop.width;
  const int64_t height = plan.crop.height;
  const AxisTaps columns(plan.source.width, plan.width, plan.crop.x, width);
  const AxisTaps rows(plan.source.height, plan.height, plan.crop.y, height);
  // Rows of the source that any kept row needs, resized along x.
  const int64_t stride = 4 * width;
  const int64_t first = rows.first(0);
  const int64_t last = rows.first(height - 1) + rows.taps();
  std::vector<uint8_t> narrow(static_cast<size_t>(stride * (last - first)));
  for (int64_t y = first; y < last; ++y) {
    const uint8_t* const row = image.row(static_cast<int>(plan.source.y + y)) + 3 * plan.source.x;
    kernels.resize_row(row, columns, width, plan.mirror,
                       &narrow[static_cast<size_t>(stride * (y - first))]);
  }
  std::vector<int32_t> sums(static_cast<size_t>(stride));
  std::vector<uint8_t> blended(static_cast<size_t>(stride));
  for (int64_t y = 0; y < height; ++y) {
    kernels.blend_rows(&narrow[static_cast<size_t>(stride * (rows.first(y) - first))],
                       rows.weights(y), rows.taps(), stride, sums.data(), blended.data());
    for (int64_t c = 0; c < 3; ++c) {
      uint8_t* const plane = planes.data() + (c * height + y) * width;
      for (int64_t x = 0; x < width; ++x) plane[x] = blended[static_cast<size_t>(4 * x + c)];
    }
  }
}

}  // namespace forall
