// SPDX-License-Identifier: Apache-2.0
#include "latency/table/table_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/forecast_quality.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr double kScaleDeviation = 0.3;
constexpr double kOffsetDeviation = 0.5;     // of an average row
constexpr double kInterceptDeviation = 0.1;  // of the mean network
constexpr double kLeastShare = 0.1;          // of a row, that a correction leaves
constexpr double kRowDeviations[] = {0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16};
constexpr double kNoises[] = {0.0025, 0.005, 0.01, 0.02, 0.04, 0.08};

using Matrix = std::vector<std::vector<double>>;

bool IsBlock(absl::string_view key) { return absl::StartsWith(key, "expanded_conv-"); }

// What the fit knows of a network.
struct Observation {
  double measured = 0;
  double sum = 0;                 // of its rows
  double blocks = 0;              // how many rows are blocks
  std::map<size_t, double> rows;  // key number -> measured row, times how often it is there
};

struct Problem {
  std::vector<Observation> observations;
  std::map<std::string, size_t> keys;
  double mean_network = 0;
  double mean_row = 0;
};

absl::StatusOr<Problem> ProblemOf(const LatencyTable& table,
                                  absl::Span<const TimedNetwork> networks) {
  Problem problem;
  double rows = 0;
  double sums = 0;
  for (const TimedNetwork& network : networks) {
    Observation observation;
    observation.measured = network.measured_ms;
    FORALL_ASSIGN_OR_RETURN(observation.sum, table.AdditiveSum(network.keys, network.resolution));
    const LatencyRows& of_resolution = table.resolutions.at(network.resolution);
    for (const std::string& key : network.keys) {
      const size_t number = problem.keys.emplace(key, problem.keys.size()).first->second;
      observation.rows[number] += of_resolution.at(key).mean_ms;
      observation.blocks += IsBlock(key) ? 1 : 0;
    }
    rows += static_cast<double>(network.keys.size());
    sums += observation.sum;
    problem.mean_network += network.measured_ms / static_cast<double>(networks.size());
    problem.observations.push_back(std::move(observation));
  }
  problem.mean_row = sums / rows;
  return problem;
}

// In place, the lower half; false when the matrix is not positive definite.
bool Cholesky(Matrix* matrix) {
  Matrix& m = *matrix;
  for (size_t i = 0; i < m.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = m[i][j];
      for (size_t k = 0; k < j; ++k) sum -= m[i][k] * m[j][k];
      if (i == j) {
        if (!(sum > 0)) return false;
        m[i][i] = std::sqrt(sum);
      } else {
        m[i][j] = sum / m[j][j];
      }
    }
  }
  return true;
}

std::vector<double> SolveCholesky(const Matrix& l, std::vector<double> x) {
  const size_t n = l.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) x[i] -= l[i][k] * x[k];
    x[i] /= l[i][i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) x[i] -= l[k][i] * x[k];
    x[i] /= l[i][i];
  }
  return x;
}

struct Fit {
  double row_deviation = 0;
  double noise = 0;
  std::vector<double> weights;  // of the observations: how far each pulls
};

// Gaussian process regression in the space of observations: few of them, many rows.
std::optional<Fit> Solve(const Problem& problem) {
  const std::vector<Observation>& all = problem.observations;
  const size_t n = all.size();
  const double scale = kScaleDeviation * kScaleDeviation;
  const double offset = std::pow(kOffsetDeviation * problem.mean_row, 2);
  const double intercept = std::pow(kInterceptDeviation * problem.mean_network, 2);
  Matrix shared(n, std::vector<double>(n));
  Matrix rows(n, std::vector<double>(n));
  std::vector<double> residuals(n);
  for (size_t i = 0; i < n; ++i) {
    residuals[i] = 1 - all[i].sum / all[i].measured;
    for (size_t j = 0; j <= i; ++j) {
      const double size = all[i].measured * all[j].measured;
      shared[i][j] =
          (intercept + scale * all[i].sum * all[j].sum + offset * all[i].blocks * all[j].blocks) /
          size;
      double common = 0;
      for (const auto& [key, row] : all[i].rows) {
        const auto other = all[j].rows.find(key);
        if (other != all[j].rows.end()) common += row * other->second;
      }
      rows[i][j] = common / size;
    }
  }
  std::optional<Fit> best;
  double best_evidence = -std::numeric_limits<double>::infinity();
  for (const double row_deviation : kRowDeviations) {
    for (const double noise : kNoises) {
      Matrix l(n, std::vector<double>(n));
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j <= i; ++j) {
          l[i][j] = shared[i][j] + row_deviation * row_deviation * rows[i][j];
        }
        l[i][i] += noise * noise;
      }
      if (!Cholesky(&l)) continue;
      std::vector<double> weights = SolveCholesky(l, residuals);
      double evidence = 0;
      for (size_t i = 0; i < n; ++i) {
        evidence -= 0.5 * residuals[i] * weights[i] + std::log(l[i][i]);
      }
      if (evidence <= best_evidence) continue;
      best_evidence = evidence;
      best = Fit{row_deviation, noise, std::move(weights)};
    }
  }
  return best;
}

// What stem and head take together, which every network has once.
double FixedPart(const std::map<std::string, double>& rows) {
  double fixed = 0;
  for (const auto& [key, row] : rows) fixed += IsBlock(key) ? 0 : row;
  return fixed;
}

// Puts the constant into the rows of stem and head, as much of it as they can take.
void SpreadIntercept(double intercept, TableCorrection* correction) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [resolution, rows] : correction->rows_ms) {
    least = std::min(least, FixedPart(rows));
  }
  const double spread = least > 0 ? std::max(intercept, -(1 - kLeastShare) * least) : 0;
  for (auto& [resolution, rows] : correction->rows_ms) {
    const double factor = spread == 0 ? 1 : 1 + spread / FixedPart(rows);
    for (auto& [key, row] : rows) {
      if (!IsBlock(key)) row *= factor;
    }
  }
  correction->intercept_ms = intercept - spread;
}

absl::Status CheckNetworks(absl::Span<const TimedNetwork> networks) {
  for (const TimedNetwork& network : networks) {
    if (std::isfinite(network.measured_ms) && network.measured_ms > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a network that takes ", network.measured_ms, " ms"));
  }
  return absl::OkStatus();
}

TableQuality QualityOf(const std::vector<Forecast>& forecasts, double bound) {
  const ForecastQuality judged = JudgeForecasts(forecasts);
  TableQuality quality;
  quality.mean_relative_error = judged.mean_relative_error.value_or(0);
  quality.within_5_percent = judged.within_5_percent;
  quality.within_10_percent = judged.within_10_percent;
  quality.within_15_percent = judged.within_15_percent;
  quality.kendall_tau = judged.kendall_tau.value_or(0);
  quality.spearman_rho = judged.spearman_rho.value_or(0);
  const double count = static_cast<double>(forecasts.size());
  int64_t within = 0;
  for (const Forecast& forecast : forecasts) {
    const double error = forecast.expected / forecast.measured - 1;
    quality.bias += error / count;
    within += std::abs(error) <= bound ? 1 : 0;
    quality.largest_relative_error = std::max(quality.largest_relative_error, std::abs(error));
  }
  quality.within_bound = static_cast<double>(within) / count;
  return quality;
}

}  // namespace

absl::StatusOr<TableCorrection> FitCorrection(const LatencyTable& table,
                                              absl::Span<const TimedNetwork> networks) {
  const int64_t count = static_cast<int64_t>(networks.size());
  if (count < kLeastNetworksToFit || count > kMostNetworksToFit) {
    return absl::InvalidArgumentError(absl::StrCat("a correction is fitted to ",
                                                   kLeastNetworksToFit, " to ", kMostNetworksToFit,
                                                   " networks, not to ", count));
  }
  FORALL_RETURN_IF_ERROR(CheckNetworks(networks));
  FORALL_ASSIGN_OR_RETURN(const Problem problem, ProblemOf(table, networks));
  const std::optional<Fit> fit = Solve(problem);
  if (!fit.has_value()) return absl::InternalError("the correction cannot be computed");

  // Back from the observations to the model's numbers.
  double intercept = 0;
  double scale = 0;
  double offset = 0;
  std::vector<double> deviations(problem.keys.size());
  for (size_t i = 0; i < fit->weights.size(); ++i) {
    const Observation& observation = problem.observations[i];
    const double pull = fit->weights[i] / observation.measured;
    intercept += pull;
    scale += pull * observation.sum;
    offset += pull * observation.blocks;
    for (const auto& [key, row] : observation.rows) deviations[key] += pull * row;
  }
  intercept *= std::pow(kInterceptDeviation * problem.mean_network, 2);
  scale = 1 + scale * kScaleDeviation * kScaleDeviation;
  offset *= std::pow(kOffsetDeviation * problem.mean_row, 2);
  for (double& deviation : deviations) deviation *= fit->row_deviation * fit->row_deviation;

  TableCorrection correction;
  correction.networks = count;
  correction.scale = scale;
  correction.block_offset_ms = offset;
  correction.row_deviation = fit->row_deviation;
  correction.noise = fit->noise;
  for (const auto& [resolution, measured] : table.resolutions) {
    for (const auto& [key, row] : measured) {
      const auto number = problem.keys.find(key);
      const double deviation = number == problem.keys.end() ? 0 : deviations[number->second];
      const double value = (scale + deviation) * row.mean_ms + (IsBlock(key) ? offset : 0);
      correction.rows_ms[resolution][key] = std::max(value, kLeastShare * row.mean_ms);
    }
  }
  SpreadIntercept(intercept, &correction);
  return correction;
}

absl::StatusOr<TableValidation> JudgeTable(const LatencyTable& table,
                                           absl::Span<const TimedNetwork> networks, double bound,
                                           uint64_t seed) {
  if (networks.empty()) return absl::InvalidArgumentError("no network to validate with");
  FORALL_RETURN_IF_ERROR(CheckNetworks(networks));
  std::vector<Forecast> additive;
  std::vector<Forecast> corrected;
  for (const TimedNetwork& network : networks) {
    FORALL_ASSIGN_OR_RETURN(const double sum, table.AdditiveSum(network.keys, network.resolution));
    additive.push_back({sum, 0, network.measured_ms});
    if (!table.correction.has_value()) continue;
    FORALL_ASSIGN_OR_RETURN(const double better,
                            table.CorrectedSum(network.keys, network.resolution));
    corrected.push_back({better, 0, network.measured_ms});
  }
  TableValidation validation;
  validation.networks = static_cast<int64_t>(networks.size());
  validation.seed = seed;
  validation.bound = bound;
  validation.additive = QualityOf(additive, bound);
  if (table.correction.has_value()) validation.corrected = QualityOf(corrected, bound);
  validation.good = validation.corrected.value_or(validation.additive).within_bound >= kGoodShare;
  return validation;
}

}  // namespace forall
