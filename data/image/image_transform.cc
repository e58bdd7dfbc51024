// SPDX-License-Identifier: Apache-2.0
#include "data/image/image_transform.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace forall {
namespace {

constexpr int kFractionBits = 22;
constexpr int32_t kHalf = 1 << (kFractionBits - 1);

// Which positions along one axis give one output position, and their weights.
struct Taps {
  int32_t first = 0;
  int32_t count = 0;
  const int32_t* weights = nullptr;
};

// The outputs [begin, begin + count) of an axis that is resized from `from` to `to`.
class AxisTaps {
 public:
  AxisTaps(int64_t from, int64_t to, int64_t begin, int64_t count) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    const double support = std::max(scale, 1.0);
    const size_t most = static_cast<size_t>(std::ceil(support)) * 2 + 1;
    weights_.resize(most * static_cast<size_t>(count));
    taps_.reserve(static_cast<size_t>(count));
    std::vector<double> exact(most);
    for (int64_t i = 0; i < count; ++i) {
      const double center = (static_cast<double>(begin + i) + 0.5) * scale;
      // Both bounds are cut towards zero after adding a half, as in PIL.
      const auto bound = [&](double position) {
        return std::clamp<int64_t>(static_cast<int64_t>(position + 0.5), 0, from);
      };
      const int64_t first = bound(center - support);
      const auto taps = static_cast<size_t>(bound(center + support) - first);
      double sum = 0;
      for (size_t k = 0; k < taps; ++k) {
        const double distance =
            (static_cast<double>(first) + static_cast<double>(k) - center + 0.5) * (1.0 / support);
        exact[k] = std::max(0.0, 1.0 - std::abs(distance));
        sum += exact[k];
      }
      int32_t* const weights = &weights_[most * static_cast<size_t>(i)];
      for (size_t k = 0; k < taps; ++k) {
        const double weight = sum != 0 ? exact[k] / sum : exact[k];
        weights[k] = static_cast<int32_t>(0.5 + weight * (1 << kFractionBits));
      }
      taps_.push_back({static_cast<int32_t>(first), static_cast<int32_t>(taps), weights});
    }
  }
  const std::vector<Taps>& all() const { return taps_; }

 private:
  std::vector<int32_t> weights_;
  std::vector<Taps> taps_;
};

// Both passes are written once and compiled twice, for the baseline processor and for AVX2; the
// sums are of whole numbers, so both give the same bytes.
#define FORALL_ALWAYS_INLINE inline __attribute__((always_inline))

using Int4 = int32_t __attribute__((vector_size(16)));
using Byte4 = uint8_t __attribute__((vector_size(4)));

// One row: output i of `planes` (a row of each plane, `stride` bytes apart) from pixels of `row`.
// Reads one byte past the last pixel.
FORALL_ALWAYS_INLINE void ResizeRow(const uint8_t* row, const Taps* taps, size_t count, bool mirror,
                                    uint8_t* planes, size_t stride) {
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* pixel = row + 3 * static_cast<size_t>(taps[i].first);
    Int4 sum = {kHalf, kHalf, kHalf, 0};
    for (int32_t k = 0; k < taps[i].count; ++k, pixel += 3) {
      Byte4 bytes;
      std::memcpy(&bytes, pixel, sizeof(bytes));
      sum += __builtin_convertvector(bytes, Int4) * taps[i].weights[k];
    }
    const size_t at = mirror ? count - 1 - i : i;
    for (size_t c = 0; c < 3; ++c) {
      planes[c * stride + at] = static_cast<uint8_t>(std::min(sum[c] >> kFractionBits, 255));
    }
  }
}

// `count` sums of rows, `stride` bytes apart, weighted by `taps`.
FORALL_ALWAYS_INLINE void BlendRows(const uint8_t* rows, size_t stride, const Taps& taps,
                                    size_t count, int32_t* sums, uint8_t* output) {
  std::fill_n(sums, count, kHalf);
  for (int32_t k = 0; k < taps.count; ++k) {
    const uint8_t* const row = rows + static_cast<size_t>(k) * stride;
    const int32_t weight = taps.weights[k];
    for (size_t i = 0; i < count; ++i) sums[i] += row[i] * weight;
  }
  for (size_t i = 0; i < count; ++i) {
    output[i] = static_cast<uint8_t>(std::min(sums[i] >> kFractionBits, 255));
  }
}

struct Kernels {
  void (*resize_row)(const uint8_t*, const Taps*, size_t, bool, uint8_t*, size_t);
  void (*blend_rows)(const uint8_t*, size_t, const Taps&, size_t, int32_t*, uint8_t*);
};

void ResizeRowPlain(const uint8_t* row, const Taps* taps, size_t count, bool mirror,
                    uint8_t* planes, size_t stride) {
  ResizeRow(row, taps, count, mirror, planes, stride);
}
void BlendRowsPlain(const uint8_t* rows, size_t stride, const Taps& taps, size_t count,
                    int32_t* sums, uint8_t* output) {
  BlendRows(rows, stride, taps, count, sums, output);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void ResizeRowAvx2(const uint8_t* row, const Taps* taps,
                                                   size_t count, bool mirror, uint8_t* planes,
                                                   size_t stride) {
  ResizeRow(row, taps, count, mirror, planes, stride);
}
__attribute__((target("avx2"))) void BlendRowsAvx2(const uint8_t* rows, size_t stride,
                                                   const Taps& taps, size_t count, int32_t* sums,
                                                   uint8_t* output) {
  BlendRows(rows, stride, taps, count, sums, output);
}
#endif

Kernels ChooseKernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return {ResizeRowAvx2, BlendRowsAvx2};
#endif
  return {ResizeRowPlain, BlendRowsPlain};
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

void TransformImage(const RgbImage& image, const TransformPlan& plan, absl::Span<uint8_t> planes) {
  static const Kernels kernels = ChooseKernels();
  const AxisTaps columns(plan.source.width, plan.width, plan.crop.x, plan.crop.width);
  const AxisTaps rows(plan.source.height, plan.height, plan.crop.y, plan.crop.height);
  const size_t width = static_cast<size_t>(plan.crop.width);
  // Rows of the source that any kept row needs, resized along x: three planes' rows side by side.
  const int32_t first = rows.all().front().first;
  const int32_t last = rows.all().back().first + rows.all().back().count;
  std::vector<uint8_t> narrow(3 * width * static_cast<size_t>(last - first));
  for (int32_t y = first; y < last; ++y) {
    const uint8_t* const row = image.row(static_cast<int>(plan.source.y + y)) + 3 * plan.source.x;
    kernels.resize_row(row, columns.all().data(), width, plan.mirror,
                       &narrow[3 * width * static_cast<size_t>(y - first)], width);
  }
  std::vector<int32_t> sums(3 * width);
  std::vector<uint8_t> blended(3 * width);
  const size_t plane = width * static_cast<size_t>(plan.crop.height);
  for (size_t y = 0; y < rows.all().size(); ++y) {
    const Taps& taps = rows.all()[y];
    kernels.blend_rows(&narrow[3 * width * static_cast<size_t>(taps.first - first)], 3 * width,
                       taps, 3 * width, sums.data(), blended.data());
    for (size_t c = 0; c < 3; ++c) {
      std::copy_n(&blended[c * width], width, &planes[c * plane + y * width]);
    }
  }
}

}  // namespace forall
