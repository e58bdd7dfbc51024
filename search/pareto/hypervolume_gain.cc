// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/hypervolume_gain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/pareto/hypervolume.h"

namespace forall {
namespace {

// Of a frontier of two objectives in `rows`, ascending in the first and descending in the second.
double PlaneGain(const std::vector<double>& rows, double a, double b, double end_a, double end_b) {
  const size_t size = rows.size() / 2;
  size_t low = 0;  // the first member that is worse in the first objective
  for (size_t high = size; low < high;) {
    const size_t middle = (low + high) / 2;
    if (rows[2 * middle] <= a) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  double height = low == 0 ? end_b : rows[2 * low - 1];
  double left = a;
  double gain = 0;
  for (size_t i = low; height > b; ++i) {
    const double right = i < size ? rows[2 * i] : end_a;
    gain += (right - left) * (height - b);
    if (i == size) break;
    left = right;
    height = rows[2 * i + 1];
  }
  return gain;
}

// Of the normal distribution, at 1/16, 3/16, ... 15/16.
constexpr std::array<double, 8> kQuantiles = {-1.5341, -0.8871, -0.4888, -0.1573,
                                              0.1573,  0.4888,  0.8871,  1.5341};

}  // namespace

absl::StatusOr<HypervolumeGain> HypervolumeGain::Create(std::vector<double> reference) {
  for (const double value : reference) {
    if (!std::isfinite(value)) return absl::InvalidArgumentError("a reference must be finite");
  }
  FORALL_ASSIGN_OR_RETURN(Frontier frontier, Frontier::Create(static_cast<int>(reference.size())));
  return HypervolumeGain(std::move(reference), std::move(frontier));
}

HypervolumeGain::HypervolumeGain(std::vector<double> reference, Frontier frontier)
    : reference_(std::move(reference)), frontier_(std::move(frontier)) {}

bool HypervolumeGain::Counts(absl::Span<const double> point) const {
  for (size_t i = 0; i < reference_.size(); ++i) {
    if (!(point[i] < reference_[i]) || !std::isfinite(point[i])) return false;
  }
  return true;
}

void HypervolumeGain::Add(absl::Span<const double> point) {
  FORALL_CHECK(point.size() == reference_.size());
  if (!Counts(point)) return;
  const absl::StatusOr<Frontier::Insertion> inserted = frontier_.Insert(0, point);
  if (!inserted.ok() || !inserted->inserted) return;
  rows_.clear();
  for (const Frontier::Member& member : frontier_.Members()) {
    rows_.insert(rows_.end(), member.point.begin(), member.point.end());
  }
}

double HypervolumeGain::Gain(absl::Span<const double> point) const {
  FORALL_CHECK(point.size() == reference_.size());
  if (!Counts(point)) return 0;
  const size_t width = reference_.size();
  if (width == 2) return PlaneGain(rows_, point[0], point[1], reference_[0], reference_[1]);
  double box = 1;
  for (size_t i = 0; i < width; ++i) box *= reference_[i] - point[i];
  std::vector<double> limited = rows_;
  for (size_t i = 0; i < limited.size(); ++i) limited[i] = std::max(limited[i], point[i % width]);
  const absl::StatusOr<double> covered =
      Hypervolume({limited, static_cast<int>(width)}, reference_);
  return std::max(0.0, box - covered.value_or(box));
}

double HypervolumeGain::ExpectedGain(absl::Span<const double> point,
                                     absl::Span<const double> deviations) const {
  FORALL_CHECK(deviations.size() == point.size());
  if (std::all_of(deviations.begin(), deviations.end(), [](double d) { return d == 0; })) {
    return Gain(point);
  }
  absl::InlinedVector<double, 8> outcome(point.size());
  double sum = 0;
  for (size_t i = 0; i < kQuantiles.size(); ++i) {
    // An odd stride visits all eight; of four objectives no two do so in step.
    for (size_t k = 0; k < outcome.size(); ++k) {
      outcome[k] = point[k] + deviations[k] * kQuantiles[(i * (2 * k + 1) + k) % kQuantiles.size()];
    }
    sum += Gain(outcome);
  }
  return sum / static_cast<double>(kQuantiles.size());
}

}  // namespace forall
