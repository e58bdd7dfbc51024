// SPDX-License-Identifier: Apache-2.0
#include "search/predictor/pairwise_model.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "Eigen/Cholesky"
#include "Eigen/Core"
#include "Eigen/Eigenvalues"
#include "base/log.h"

namespace forall {
namespace {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

// A measurement never tells more than this share of the spread: it keeps the matrix regular where
// an architecture was measured twice.
constexpr double kLeastNoise = 1e-3;
constexpr double kOneHotWeight = 0.5;
constexpr double kLeastShare = 0.3;

std::vector<size_t> Offsets(const CandidateSpace& space) {
  std::vector<size_t> offset = {0};
  for (size_t d = 0; d < space.width(); ++d) {
    offset.push_back(offset.back() + space.inactive(d) + 1u);
  }
  return offset;
}

// Features of every state, a column each: that the dimension is active, how large its option is,
// and which one it is. The first two let effects be shared between the options of a dimension,
// which is what few measurements can tell; the last lets them differ.
Matrix StateFeatures(const CandidateSpace& space, const DimensionWeights& weights) {
  FORALL_CHECK(weights.empty() || weights.size() == space.width());
  const std::vector<size_t> offset = Offsets(space);
  size_t features = 0;
  for (size_t d = 0; d < space.width(); ++d) features += space.inactive(d) + 2u;
  Matrix matrix =
      Matrix::Zero(static_cast<Eigen::Index>(features), static_cast<Eigen::Index>(offset.back()));
  Eigen::Index first = 0;
  for (size_t d = 0; d < space.width(); ++d) {
    const int options = space.inactive(d);
    for (int option = 0; option < options; ++option) {
      const auto column = static_cast<Eigen::Index>(offset[d]) + option;
      matrix(first, column) = 1;
      if (options > 1) matrix(first + 1, column) = 2.0 * option / (options - 1) - 1;
      matrix(first + 2 + option, column) = kOneHotWeight;
    }
    if (!weights.empty()) matrix.middleRows(first, options + 2) *= weights[d];
    first += options + 2;
  }
  return matrix;
}

Matrix RowFeatures(const CandidateSpace& space, const Candidates& rows, const Matrix& features) {
  const std::vector<size_t> offset = Offsets(space);
  Matrix matrix = Matrix::Zero(features.rows(), static_cast<Eigen::Index>(rows.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t d = 0; d < rows.width(); ++d) {
      matrix.col(static_cast<Eigen::Index>(i)) +=
          features.col(static_cast<Eigen::Index>(offset[d] + rows.row(i)[d]));
    }
  }
  return matrix;
}

// Centred features of the rows, and what g is divided by: their mean square.
struct Design {
  Vector mean;
  Matrix centred;
  double scale = 1;
};

Design MakeDesign(const CandidateSpace& space, const Candidates& rows, const Matrix& features) {
  Design design;
  design.centred = RowFeatures(space, rows, features);
  design.mean = design.centred.rowwise().mean();
  design.centred.colwise() -= design.mean;
  const double square = design.centred.squaredNorm() / static_cast<double>(rows.size());
  if (square > 0) design.scale = square;
  return design;
}

struct Centred {
  double mean = 0;
  double variance = 1;
  Vector values;
};

Centred Centre(absl::Span<const double> values) {
  Centred centred;
  centred.values =
      Eigen::Map<const Vector>(values.data(), static_cast<Eigen::Index>(values.size()));
  centred.mean = centred.values.mean();
  centred.values.array() -= centred.mean;
  const double variance = centred.values.squaredNorm() / static_cast<double>(values.size());
  if (variance > 0) centred.variance = variance;
  return centred;
}

}  // namespace

DimensionWeights WeightsByCost(const CandidateSpace& space, const FactoredCost& cost) {
  std::vector<State> row(space.width());
  std::vector<State> largest(space.width());
  for (size_t d = 0; d < space.width(); ++d) largest[d] = space.allowed(d).back();
  space.Settle(largest.data(), nullptr);
  const double most = std::log(cost.Evaluate(largest.data()));
  DimensionWeights weights;
  double squares = 0;
  for (size_t d = 0; d < space.width(); ++d) {
    row = largest;
    row[d] = space.allowed(d).front();
    space.Settle(row.data(), nullptr);
    weights.push_back(most - std::log(cost.Evaluate(row.data())));
    squares += weights.back() * weights.back();
  }
  const double mean = std::sqrt(squares / static_cast<double>(weights.size()));
  if (!(mean > 0) || !std::isfinite(mean)) return {};
  for (double& weight : weights) weight = std::sqrt(std::max(weight / mean, kLeastShare));
  return weights;
}

struct PairwiseModel::Posterior {
  PairwiseKernel kernel;
  double variance = 1;
  // What each state adds to g with each measured row; the rest of g, of which the centring is made.
  Matrix similarity;  // rows x states
  Vector shift;       // by row
  // For g of a row with itself: features by state, their mean over the measured rows.
  Matrix features;
  Vector mean;
  double scale = 1;
  Eigen::LLT<Matrix> factor;
};

PairwiseModel::PairwiseModel(PairwiseModel&& other) noexcept = default;
PairwiseModel::~PairwiseModel() = default;

PairwiseKernel PairwiseModel::Choose(const CandidateSpace& space, const Candidates& rows,
                                     absl::Span<const double> values, bool additive,
                                     const DimensionWeights& weights) {
  const Design design = MakeDesign(space, rows, StateFeatures(space, weights));
  const Matrix linear = design.centred.transpose() * design.centred / design.scale;
  const Centred centred = Centre(values);
  PairwiseKernel best;
  if (additive) best.pairwise = 0;
  double best_likelihood = -std::numeric_limits<double>::infinity();
  for (const double pairwise : {0.0, 0.03, 0.1, 0.3, 1.0}) {
    if (additive && pairwise > 0) break;
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(linear +
                                                       pairwise * linear.cwiseProduct(linear));
    const Eigen::ArrayXd spectrum = solver.eigenvalues().array().max(0);
    const Eigen::ArrayXd energy =
        (solver.eigenvectors().transpose() * centred.values).array().square() / centred.variance;
    for (const double amplitude : {0.03, 0.1, 0.3, 1.0, 3.0, 10.0}) {
      for (const double noise : {0.01, 0.03, 0.1, 0.3}) {
        const Eigen::ArrayXd variance = amplitude * spectrum + noise * noise;
        const double likelihood = -0.5 * ((energy / variance).sum() + variance.log().sum());
        if (likelihood <= best_likelihood) continue;
        best_likelihood = likelihood;
        best = {amplitude, pairwise, noise};
      }
    }
  }
  return best;
}

PairwiseModel::PairwiseModel(const CandidateSpace& space, const Candidates& rows,
                             absl::Span<const double> values, const PairwiseKernel& kernel,
                             const DimensionWeights& weights)
    : offset_(Offsets(space)), posterior_(std::make_unique<Posterior>()) {
  FORALL_CHECK(rows.size() == values.size() && rows.size() > 0);
  states_ = offset_.back();
  const Matrix features = StateFeatures(space, weights);
  const Design design = MakeDesign(space, rows, features);
  const Centred centred = Centre(values);
  Posterior& p = *posterior_;
  p.kernel = kernel;
  p.kernel.noise = std::max(kernel.noise, kLeastNoise);
  p.variance = centred.variance;
  p.features = features;
  p.mean = design.mean;
  p.scale = design.scale;
  p.similarity = design.centred.transpose() * features / design.scale;
  p.shift = -(design.centred.transpose() * design.mean) / design.scale;

  const double q = p.kernel.pairwise;
  const Matrix linear = design.centred.transpose() * design.centred / design.scale;
  Matrix covariance = p.kernel.amplitude * (linear + q * linear.cwiseProduct(linear));
  covariance.diagonal().array() += p.kernel.noise * p.kernel.noise;
  p.factor.compute(covariance);
  const Vector weight = p.kernel.amplitude * p.factor.solve(centred.values);

  // sum_j weight_j (g_j + q g_j^2) with g_j = shift_j + sum over dimensions of similarity(j,
  // state).
  constant_ = centred.mean + weight.dot(p.shift) + q * weight.dot(p.shift.cwiseAbs2());
  const Vector single =
      p.similarity.transpose() * (weight.array() * (1 + 2 * q * p.shift.array())).matrix();
  single_.assign(single.data(), single.data() + single.size());
  if (q == 0) return;
  const Matrix pair = q * p.similarity.transpose() * weight.asDiagonal() * p.similarity;
  pair_.resize(states_ * states_);
  for (size_t a = 0; a < states_; ++a) {
    single_[a] += pair(static_cast<Eigen::Index>(a), static_cast<Eigen::Index>(a));
    for (size_t b = 0; b < states_; ++b) {
      pair_[a * states_ + b] =
          static_cast<float>(2 * pair(static_cast<Eigen::Index>(a), static_cast<Eigen::Index>(b)));
    }
  }
}

double PairwiseModel::Mean(const State* row) const {
  const size_t width = offset_.size() - 1;
  double sum = constant_;
  for (size_t d = 0; d < width; ++d) sum += single_[offset_[d] + row[d]];
  if (pair_.empty()) return sum;
  for (size_t d = 1; d < width; ++d) {
    const float* const pairs = pair_.data() + (offset_[d] + row[d]) * states_;
    float products = 0;
    for (size_t e = 0; e < d; ++e) products += pairs[offset_[e] + row[e]];
    sum += products;
  }
  return sum;
}

double PairwiseModel::Deviation(const State* row) const {
  const Posterior& p = *posterior_;
  Vector g = p.shift;
  Vector own = -p.mean;
  for (size_t d = 0; d + 1 < offset_.size(); ++d) {
    const auto state = static_cast<Eigen::Index>(offset_[d] + row[d]);
    g += p.similarity.col(state);
    own += p.features.col(state);
  }
  const double q = p.kernel.pairwise;
  const double self = own.squaredNorm() / p.scale;
  const Vector covariance = p.kernel.amplitude * (g.array() + q * g.array().square()).matrix();
  const double explained = p.factor.matrixL().solve(covariance).squaredNorm();
  const double prior = p.kernel.amplitude * (self + q * self * self);
  return std::sqrt(p.variance * std::max(prior - explained, 0.0));
}

double PairwiseModel::Noise() const {
  return posterior_->kernel.noise * std::sqrt(posterior_->variance);
}

void PairwiseModel::Score(const Candidates& candidates, absl::Span<float> scores) const {
  for (size_t i = 0; i < candidates.size(); ++i) {
    scores[i] = static_cast<float>(Mean(candidates.row(i)));
  }
}

void PairwiseModel::AddTo(FactoredSum* sum) const {
  FORALL_CHECK(pair_.empty()) << "a model with pairwise terms is no additive one";
  sum->AddConstant(constant_);
  for (size_t d = 0; d + 1 < offset_.size(); ++d) {
    const absl::Span<double> values = sum->Add({static_cast<uint32_t>(d)});
    for (size_t s = 0; s < values.size(); ++s) values[s] = single_[offset_[d] + s];
  }
}

}  // namespace forall
