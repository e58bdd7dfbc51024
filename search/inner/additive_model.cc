// SPDX-License-Identifier: Apache-2.0
#include "search/inner/additive_model.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace forall {
namespace {

// Relative to the number of observations; small, since the score has no noise of its own.
constexpr double kRidge = 1e-4;

// Solves a x = b in place, `a` symmetric and positive definite, its lower triangle row by row
// (row i starts at i * (i + 1) / 2).
void SolveCholesky(std::vector<double>* a, std::vector<double>* b) {
  const size_t n = b->size();
  double* const l = a->data();
  double* const x = b->data();
  for (size_t i = 0; i < n; ++i) {
    double* const row = l + i * (i + 1) / 2;
    for (size_t j = 0; j <= i; ++j) {
      const double* const other = l + j * (j + 1) / 2;
      double dot = 0;
      for (size_t k = 0; k < j; ++k) dot += row[k] * other[k];
      row[j] = i == j ? std::sqrt(row[j] - dot) : (row[j] - dot) / other[j];
    }
    double dot = 0;
    for (size_t k = 0; k < i; ++k) dot += row[k] * x[k];
    x[i] = (x[i] - dot) / row[i];
  }
  for (size_t i = n; i-- > 0;) {
    const double* const row = l + i * (i + 1) / 2;
    x[i] /= row[i];
    for (size_t k = 0; k < i; ++k) x[k] -= row[k] * x[i];
  }
}

}  // namespace

AdditiveModel::AdditiveModel(const CandidateSpace& space) {
  for (size_t d = 0; d < space.width(); ++d) {
    offset_.push_back(features_);
    features_ += space.inactive(d) + 1u;
  }
  moments_.resize(size_t{features_} * (features_ + 1) / 2);
  learning_.resize(offset_.size());
  products_.resize(features_);
  coefficients_.resize(features_);
}

void AdditiveModel::Learn(const State* row, double score) {
  if (!std::isfinite(score)) return;
  uint32_t* const learning = learning_.data();
  for (size_t d = 0; d < offset_.size(); ++d) {
    const size_t i = offset_[d] + row[d];
    learning[d] = static_cast<uint32_t>(i);
    uint32_t* const moments = &moments_[i * (i + 1) / 2];
    for (size_t e = 0; e <= d; ++e) ++moments[learning[e]];
    products_[i] += score;
  }
  weight_ += 1;
  total_ += score;
}

void AdditiveModel::Fit(absl::Span<const AdditiveModel* const> observers) {
  std::vector<double> moments(moments_.size());
  std::vector<double> products(features_);
  double weight = 0;
  double total = 0;
  for (const AdditiveModel* observer : observers) {
    for (size_t i = 0; i < moments.size(); ++i) moments[i] += observer->moments_[i];
    for (size_t i = 0; i < features_; ++i) products[i] += observer->products_[i];
    weight += observer->weight_;
    total += observer->total_;
  }
  if (weight <= 0) return;
  const double mean = total / weight;
  // What was never seen is left out: its coefficient stays zero.
  std::vector<size_t> seen;
  for (size_t i = 0; i < features_; ++i) {
    if (moments[i * (i + 1) / 2 + i] > 0) seen.push_back(i);
  }
  std::vector<double> a;
  std::vector<double> b;
  for (const size_t i : seen) {
    for (const size_t j : seen) {
      if (j > i) break;
      a.push_back(moments[i * (i + 1) / 2 + j] + (i == j ? kRidge * weight + 1e-9 : 0));
    }
    b.push_back(products[i] - mean * moments[i * (i + 1) / 2 + i]);
  }
  SolveCholesky(&a, &b);
  mean_ = static_cast<float>(mean);
  std::fill(coefficients_.begin(), coefficients_.end(), 0.0f);
  for (size_t i = 0; i < seen.size(); ++i) {
    if (std::isfinite(b[i])) coefficients_[seen[i]] = static_cast<float>(b[i]);
  }
  MeasureScale(seen);
}

void AdditiveModel::MeasureScale(const std::vector<size_t>& seen) {
  double ranges = 0;
  int dimensions = 0;
  for (size_t d = 0, i = 0; d < offset_.size(); ++d) {
    const size_t end = d + 1 < offset_.size() ? offset_[d + 1] : features_;
    const size_t first = i;
    float least = 0;
    float most = 0;
    for (; i < seen.size() && seen[i] + 1 < end; ++i) {  // the last state is "inactive"
      const float value = coefficients_[seen[i]];
      least = i == first ? value : std::min(least, value);
      most = i == first ? value : std::max(most, value);
    }
    if (i > first + 1) {
      ranges += static_cast<double>(most - least);
      ++dimensions;
    }
    while (i < seen.size() && seen[i] < end) ++i;
  }
  scale_ = dimensions > 0 ? ranges / dimensions : 0;
}

FactoredSum AdditiveModel::AsSum(const CandidateSpace& space) const {
  FactoredSum sum(space);
  sum.AddConstant(static_cast<double>(mean_));
  for (uint32_t d = 0; d < offset_.size(); ++d) {
    const absl::Span<double> values = sum.Add({d});
    for (size_t s = 0; s < values.size(); ++s) {
      values[s] = static_cast<double>(coefficients_[offset_[d] + s]);
    }
  }
  return sum;
}

}  // namespace forall
