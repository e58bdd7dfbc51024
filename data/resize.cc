// SPDX-License-Identifier: Apache-2.0
#include "data/resize.h"

#include <algorithm>
#include <cmath>

namespace forall {

std::vector<double> ResizeMatrix(int from, int to) {
  std::vector<double> matrix(static_cast<size_t>(to) * from, 0.0);
  const double scale = static_cast<double>(from) / to;
  const double support = std::max(scale, 1.0);
  for (int i = 0; i < to; ++i) {
    const double center = scale * (i + 0.5);
    // Both bounds round half up, as PIL's resampling does; what is below zero is cut to it.
    const int begin = std::max(static_cast<int>(std::floor(center - support + 0.5)), 0);
    const int end = std::min(static_cast<int>(std::floor(center + support + 0.5)), from);
    double* row = matrix.data() + static_cast<size_t>(i) * from;
    double sum = 0;
    for (int j = begin; j < end; ++j) {
      row[j] = std::max(0.0, 1.0 - std::abs((j + 0.5 - center) / support));
      sum += row[j];
    }
    for (int j = begin; j < end; ++j) row[j] /= sum;
  }
  return matrix;
}

PlaneResizer::PlaneResizer(int from, int to)
    : from_(from), to_(to), matrix_(ResizeMatrix(from, to)) {}

void PlaneResizer::Resize(absl::Span<const float> input, absl::Span<float> output) const {
  std::vector<double> rows(static_cast<size_t>(from_) * to_);
  for (int y = 0; y < from_; ++y) {
    for (int x = 0; x < to_; ++x) {
      const double* weights = matrix_.data() + static_cast<size_t>(x) * from_;
      double sum = 0;
      for (int j = 0; j < from_; ++j) sum += weights[j] * input[static_cast<size_t>(y) * from_ + j];
      rows[static_cast<size_t>(y) * to_ + x] = sum;
    }
  }
  for (int y = 0; y < to_; ++y) {
    const double* weights = matrix_.data() + static_cast<size_t>(y) * from_;
    for (int x = 0; x < to_; ++x) {
      double sum = 0;
      for (int j = 0; j < from_; ++j) sum += weights[j] * rows[static_cast<size_t>(j) * to_ + x];
      output[static_cast<size_t>(y) * to_ + x] = static_cast<float>(sum);
    }
  }
}

}  // namespace forall
