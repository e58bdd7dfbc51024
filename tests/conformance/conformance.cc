// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/conformance.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/cost_model.h"
#include "space/family.h"
#include "supernet/onnx/calibration.h"
#include "supernet/onnx/exporter.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"
#include "tests/conformance/formula.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kImages = 2;
constexpr int64_t kCalibrationBatches[] = {4, 4, 2};

// How an oracle summarises the logits of its images.
struct LogitsSummary {
  std::vector<std::vector<double>> first8;
  std::vector<double> sum;
  std::vector<double> l2;
  std::vector<int64_t> argmax;
};

struct StatisticsSummary {
  size_t index = 0;  // of the BatchNorm, in order of layers
  size_t of = 0;
  double mean_sum = 0;
  double var_sum = 0;
};

struct OracleCase {
  std::string architecture;
  int64_t resolution = 0;
  int64_t macs = 0;
  int64_t params = 0;
  LogitsSummary running;
  LogitsSummary calibrated;
  std::vector<StatisticsSummary> statistics;
};

struct Oracle {
  std::string supernet;
  std::vector<std::pair<std::string, std::vector<int64_t>>> keys;
  std::vector<std::pair<std::string, std::string>> checksums;
  std::vector<OracleCase> cases;
};

LogitsSummary ReadLogits(const Json& json) {
  LogitsSummary summary;
  summary.first8 = json.at("first8").get<std::vector<std::vector<double>>>();
  summary.sum = json.at("sum").get<std::vector<double>>();
  summary.l2 = json.at("l2").get<std::vector<double>>();
  summary.argmax = json.at("argmax").get<std::vector<int64_t>>();
  return summary;
}

OracleCase ReadCase(const Json& json) {
  OracleCase result;
  result.architecture = json.at("arch").dump();
  result.resolution = json.at("arch").at("r").get<int64_t>();
  result.macs = json.at("macs").get<int64_t>();
  result.params = json.at("params").get<int64_t>();
  result.running = ReadLogits(json.at("logits_running_stats"));
  result.calibrated = ReadLogits(json.at("logits_after_calibration"));
  for (const Json& norm : json.at("calibrated_bn")) {
    result.statistics.push_back({norm.at("index").get<size_t>(), norm.at("of").get<size_t>(),
                                 norm.at("mean_sum").get<double>(),
                                 norm.at("var_sum").get<double>()});
  }
  return result;
}

// The one place where the JSON library's exceptions are caught.
absl::StatusOr<Oracle> ReadOracle(absl::string_view text) {
  try {
    const Json json = Json::parse(text.begin(), text.end());
    Oracle oracle;
    oracle.supernet = json.at("supernet").get<std::string>();
    for (const auto& [key, shape] : json.at("keys").items()) {
      oracle.keys.emplace_back(key, shape.get<std::vector<int64_t>>());
    }
    for (const auto& [key, sha256] : json.at("weights_sha256_of_first").items()) {
      oracle.checksums.emplace_back(key, sha256.get<std::string>());
    }
    for (const Json& item : json.at("cases")) oracle.cases.push_back(ReadCase(item));
    return oracle;
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("not an oracle file: ", error.what()));
  }
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::vector<std::string> CompareKeys(const Oracle& oracle, const Family& family) {
  std::vector<std::string> failures;
  absl::flat_hash_map<std::string, std::vector<int64_t>> expected(oracle.keys.begin(),
                                                                  oracle.keys.end());
  for (const TensorSpec& tensor : family.tensors()) {
    const auto it = expected.find(tensor.name);
    if (it == expected.end()) {
      failures.push_back(absl::StrCat(tensor.name, ": the oracle has no such key"));
      continue;
    }
    if (it->second != tensor.shape) {
      failures.push_back(absl::StrCat(tensor.name, ": shape ", ShapeText(tensor.shape), ", oracle ",
                                      ShapeText(it->second)));
    }
    expected.erase(it);
  }
  for (const auto& [key, shape] : expected) {
    failures.push_back(absl::StrCat(key, ": missing from the family"));
  }
  return failures;
}

std::vector<std::string> CompareChecksums(const Oracle& oracle,
                                          const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> failures;
  for (const auto& checksum : oracle.checksums) {
    // Not a structured binding: clang 14 cannot capture one.
    const std::string& key = checksum.first;
    const auto it = std::find_if(tensors.begin(), tensors.end(),
                                 [&](const NamedTensor& tensor) { return tensor.name == key; });
    const char* bytes = it == tensors.end() ? "" : reinterpret_cast<const char*>(it->values.data());
    const size_t size = it == tensors.end() ? 0 : it->values.size() * sizeof(float);
    if (Sha256Hex(absl::string_view(bytes, size)) != checksum.second) {
      failures.push_back(absl::StrCat(key, ": the formula's bytes have another SHA-256"));
    }
  }
  return failures;
}

// Through the package's own bytes, so that writing and reading are part of what is compared.
absl::StatusOr<std::shared_ptr<const Supernet>> FormulaSupernet(const Family& family,
                                                                std::vector<NamedTensor>* tensors) {
  for (const TensorSpec& spec : family.tensors()) {
    if (spec.role == TensorRole::kBatchCounter) continue;
    tensors->push_back({spec.name, spec.shape, FormulaWeights(spec.name, spec.shape)});
  }
  FORALL_ASSIGN_OR_RETURN(std::string bytes, BuildWeightsFile(family, *tensors, PackageOptions()));
  return Supernet::FromBytes(std::move(bytes), "formula weights");
}

double RelativeError(double value, double expected, double scale) {
  const double error = std::abs(value - expected) / std::max(scale, 1e-30);
  return std::isfinite(error) ? error : INFINITY;
}

// Runs one oracle case and keeps its worst errors.
class CaseRunner {
 public:
  CaseRunner(const OracleCase& oracle, const Network& network, const SessionOptions& options,
             ConformanceCase* result)
      : oracle_(oracle), network_(network), options_(options), result_(result) {}

  absl::Status Run(SubnetWeights weights) {
    const Costs costs = CountCosts(network_);
    result_->macs = costs.macs;
    result_->params = costs.params;
    CompareMacs(costs.macs);
    CompareCount("parameters", costs.params, oracle_.params);
    FORALL_RETURN_IF_ERROR(CompareLogits("running statistics", weights, oracle_.running,
                                         &result_->norm_error_running));
    FORALL_ASSIGN_OR_RETURN(
        const std::vector<BatchNormStatistics> statistics,
        Calibrate(
            network_, weights, [this](Tensor* batch) { return NextBatch(batch); }, options_));
    CompareStatistics(statistics);
    FORALL_RETURN_IF_ERROR(ApplyStatistics(network_, statistics, &weights));
    return CompareLogits("after calibration", weights, oracle_.calibrated,
                         &result_->norm_error_calibrated);
  }

 private:
  void Fail(std::string failure) { result_->failures.push_back(std::move(failure)); }

  void CompareCount(const char* what, int64_t value, int64_t expected) {
    if (value != expected) Fail(absl::StrCat(what, " ", value, ", oracle ", expected));
  }

  // The authors' counter adds layers up in float32, which holds whole numbers up to 2^24 only:
  // above that an oracle may name the rounded sum.
  void CompareMacs(int64_t macs) {
    if (macs == oracle_.macs) return;
    float running = 0;
    for (const Layer& layer : network_.layers) running += static_cast<float>(LayerMacs(layer));
    const float oracle = static_cast<float>(oracle_.macs);
    const bool rounded = static_cast<int64_t>(oracle) == oracle_.macs &&
                         (oracle == running || oracle == static_cast<float>(macs));
    if (rounded) {
      result_->macs_rounded_by_oracle = true;
      return;
    }
    CompareCount("MACs", macs, oracle_.macs);
  }

  absl::StatusOr<bool> NextBatch(Tensor* batch) {
    if (next_batch_ == std::size(kCalibrationBatches)) return false;
    const Tensor& all = CalibrationImages();
    const int64_t size = kCalibrationBatches[next_batch_++];
    batch->shape = all.shape;
    batch->shape[0] = size;
    const auto begin = all.values.begin() + next_image_ * network_.input.elements();
    batch->values.assign(begin, begin + size * network_.input.elements());
    next_image_ += size;
    return true;
  }

  const Tensor& CalibrationImages() {
    if (calibration_.values.empty()) {
      int64_t count = 0;
      for (const int64_t size : kCalibrationBatches) count += size;
      calibration_ = FormulaImages(absl::StrCat("calibration:", oracle_.resolution), count,
                                   network_.input.channels, oracle_.resolution);
    }
    return calibration_;
  }

  absl::Status CompareLogits(const char* what, const SubnetWeights& weights,
                             const LogitsSummary& expected, double* norm_error) {
    const Tensor images = FormulaImages(absl::StrCat("input:", oracle_.resolution), kImages,
                                        network_.input.channels, oracle_.resolution);
    if (expected.l2.size() != kImages || expected.sum.size() != kImages ||
        expected.first8.size() != kImages || expected.argmax.size() != kImages) {
      return absl::InvalidArgumentError("not an oracle file: logits of another number of images");
    }
    for (const BatchNormForm form : {BatchNormForm::kNodes, BatchNormForm::kFolded}) {
      OnnxExportOptions graph;
      graph.batch_norm = form;
      FORALL_ASSIGN_OR_RETURN(const std::string model, BuildOnnxModel(network_, weights, graph));
      FORALL_RETURN_IF_ERROR(CheckOnnxModel(model));
      FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxSession> session,
                              OnnxSession::Create(model, options_));
      const TensorView view{images.shape, images.values};
      FORALL_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, session->Run({&view, 1}));
      const std::string label =
          absl::StrCat(what, form == BatchNormForm::kFolded ? ", folded" : ", BatchNorm as nodes");
      for (size_t i = 0; i < kImages; ++i) {
        CompareImage(absl::StrCat(label, ", image ", i),
                     absl::MakeConstSpan(outputs[0].values)
                         .subspan(i * static_cast<size_t>(network_.classes),
                                  static_cast<size_t>(network_.classes)),
                     expected, i, norm_error);
      }
    }
    return absl::OkStatus();
  }

  void CompareImage(const std::string& label, absl::Span<const float> logits,
                    const LogitsSummary& expected, size_t image, double* norm_error) {
    double sum = 0;
    double squares = 0;
    for (const float logit : logits) {
      sum += static_cast<double>(logit);
      squares += static_cast<double>(logit) * static_cast<double>(logit);
    }
    const double norm = std::sqrt(squares);
    const double error = RelativeError(norm, expected.l2[image], expected.l2[image]);
    *norm_error = std::max(*norm_error, error);
    if (error > kConformanceTolerance) {
      Fail(absl::StrCat(label, ": L2 norm ", norm, ", oracle ", expected.l2[image]));
    }
    // A sum of n independent values scatters by sqrt(n) of their size, as the norm does.
    double worst = RelativeError(sum, expected.sum[image], expected.l2[image]);
    const double rms = expected.l2[image] / std::sqrt(static_cast<double>(logits.size()));
    for (size_t i = 0; i < expected.first8[image].size() && i < logits.size(); ++i) {
      worst = std::max(
          worst, RelativeError(static_cast<double>(logits[i]), expected.first8[image][i], rms));
    }
    result_->logit_error = std::max(result_->logit_error, worst);
    if (worst > kConformanceLogitTolerance) {
      Fail(absl::StrCat(label, ": a logit or their sum is off by ", worst, " of their size"));
    }
    const int64_t argmax = std::max_element(logits.begin(), logits.end()) - logits.begin();
    if (argmax != expected.argmax[image]) {
      Fail(absl::StrCat(label, ": argmax ", argmax, ", oracle ", expected.argmax[image]));
    }
  }

  void CompareStatistics(const std::vector<BatchNormStatistics>& statistics) {
    for (const StatisticsSummary& expected : oracle_.statistics) {
      if (expected.of != statistics.size() || expected.index >= statistics.size()) {
        Fail(absl::StrCat(statistics.size(), " BatchNorms, oracle ", expected.of));
        continue;
      }
      const BatchNormStatistics& norm = statistics[expected.index];
      double mean = 0;
      double mean_size = 0;
      double variance = 0;
      for (size_t c = 0; c < norm.mean.size(); ++c) {
        mean += static_cast<double>(norm.mean[c]);
        mean_size += std::abs(static_cast<double>(norm.mean[c]));
        variance += static_cast<double>(norm.variance[c]);
      }
      // Means cancel in their sum: their sizes are the yardstick.
      const double error = std::max(RelativeError(mean, expected.mean_sum, mean_size),
                                    RelativeError(variance, expected.var_sum, expected.var_sum));
      result_->statistics_error = std::max(result_->statistics_error, error);
      if (error > kConformanceTolerance) {
        Fail(absl::StrCat("calibrated BatchNorm ", expected.index, ": sums ", mean, " and ",
                          variance, ", oracle ", expected.mean_sum, " and ", expected.var_sum));
      }
    }
  }

  const OracleCase& oracle_;
  const Network& network_;
  const SessionOptions& options_;
  ConformanceCase* result_;
  Tensor calibration_;
  size_t next_batch_ = 0;
  int64_t next_image_ = 0;
};

}  // namespace

bool ConformanceReport::passed() const {
  return failures.empty() && !cases.empty() &&
         std::all_of(cases.begin(), cases.end(),
                     [](const ConformanceCase& item) { return item.failures.empty(); });
}

absl::StatusOr<ConformanceReport> RunConformance(absl::string_view text,
                                                 const SessionOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const Oracle oracle, ReadOracle(text));
  const absl::StatusOr<std::shared_ptr<const Family>> family = FindFamily(oracle.supernet);
  if (!family.ok()) return WithContext(family.status(), "family not known");
  ConformanceReport report;
  report.supernet = oracle.supernet;
  report.tensors = static_cast<int64_t>(oracle.keys.size());
  report.failures = CompareKeys(oracle, **family);
  std::vector<NamedTensor> tensors;
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Supernet> supernet,
                          FormulaSupernet(**family, &tensors));
  for (std::string& failure : CompareChecksums(oracle, tensors)) {
    report.failures.push_back(std::move(failure));
  }
  for (const OracleCase& item : oracle.cases) {
    ConformanceCase result;
    FORALL_ASSIGN_OR_RETURN(const Architecture architecture,
                            (*family)->ParseArchitecture(item.architecture));
    FORALL_ASSIGN_OR_RETURN(const Network network, (*family)->Describe(architecture));
    FORALL_ASSIGN_OR_RETURN(SubnetWeights weights, ExtractWeights(*supernet, network));
    result.architecture = item.architecture;
    FORALL_RETURN_IF_ERROR(CaseRunner(item, network, options, &result).Run(std::move(weights)));
    report.cases.push_back(std::move(result));
  }
  return report;
}

}  // namespace forall
