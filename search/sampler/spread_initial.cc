// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/spread_initial.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace forall {
namespace {

constexpr int kDraws = 24;
constexpr double kMostTilt = 5;  // exponents 1/32 to 32

// The digits of `n` in base 2, mirrored at the point: in (0, 1) for n >= 1.
double VanDerCorput(uint64_t n) {
  double value = 0;
  for (double digit = 0.5; n > 0; n >>= 1, digit /= 2) {
    if ((n & 1) != 0) value += digit;
  }
  return value;
}

// tilt > 0 prefers small options, tilt < 0 large ones, 0 is uniform.
Architecture TiltedSample(const SearchSpace& space, double tilt, Random* random) {
  const double exponent = std::exp2(tilt);
  Architecture sample = space.Smallest();
  for (size_t i = 0; i < sample.choices.size(); ++i) {
    const size_t options = space.dimensions()[i].options.size();
    const double position = std::pow(random->Double(), exponent) * static_cast<double>(options);
    // pow may round up to 1.
    sample.choices[i] = static_cast<int32_t>(std::min(static_cast<size_t>(position), options - 1));
  }
  return space.Canonical(sample);
}

}  // namespace

SpreadInitial::SpreadInitial(const AdmissibleRegion& region,
                             std::function<double(const Architecture&)> cost, int samples)
    : region_(region), cost_(std::move(cost)), samples_(samples) {
  if (region_.ends().empty()) return;
  low_ = LogCost(region_.ends().front());
  high_ = LogCost(region_.ends().back());
}

double SpreadInitial::LogCost(const Architecture& architecture) const {
  return std::log(std::max(cost_(architecture), std::numeric_limits<double>::min()));
}

Architecture SpreadInitial::Draw(int64_t index, int attempt, Random* random) const {
  const std::vector<Architecture>& ends = region_.ends();
  if (ends.empty()) return region_.space().Sample(random);
  if (index < 2 && attempt == 0) return index == 0 ? ends.front() : ends.back();
  if (index < 2) return DrawNear(index == 0 ? low_ : high_, random);
  const double gap = 1.0 / std::max(1, samples_ - 2);
  const double aim =
      VanDerCorput(static_cast<uint64_t>(index - 1)) + gap * (random->Double() - 0.5);
  return DrawNear(low_ + std::clamp(aim, 0.0, 1.0) * (high_ - low_), random);
}

Architecture SpreadInitial::DrawNear(double log_cost, Random* random) const {
  Architecture nearest;
  double distance = std::numeric_limits<double>::infinity();
  double tilt = 0;
  for (int i = 0; i < kDraws; ++i) {
    Architecture candidate = TiltedSample(region_.space(), tilt, random);
    const double error = LogCost(candidate) - log_cost;
    if (i == 0 || std::abs(error) < distance) {
      distance = std::abs(error);
      nearest = std::move(candidate);
    }
    tilt += (error > 0 ? 2.0 : -2.0) / (1 + 0.5 * i);
    tilt = std::clamp(tilt, -kMostTilt, kMostTilt);
  }
  return nearest;
}

}  // namespace forall
