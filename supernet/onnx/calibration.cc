// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/calibration.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "supernet/onnx/exporter.h"

namespace forall {
namespace {

// Size-weighted sums of one BatchNorm's batch statistics.
struct Accumulator {
  int layer = 0;
  std::vector<double> mean;
  std::vector<double> variance;
};

void AddWeighted(const std::vector<float>& values, double weight, std::vector<double>* sums) {
  for (size_t i = 0; i < values.size(); ++i) (*sums)[i] += static_cast<double>(values[i]) * weight;
}

absl::StatusOr<std::vector<float>> Average(const std::vector<double>& sums, double weight) {
  std::vector<float> average;
  average.reserve(sums.size());
  for (const double sum : sums) {
    const float value = static_cast<float>(sum / weight);
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError("calibration gave statistics that are not finite");
    }
    average.push_back(value);
  }
  return average;
}

absl::Status CheckBatch(const Tensor& batch, const FeatureShape& input) {
  const std::vector<int64_t>& shape = batch.shape;
  if (shape.size() != 4 || shape[0] < 1 || shape[1] != input.channels || shape[2] != input.height ||
      shape[3] != input.width ||
      static_cast<int64_t>(batch.values.size()) != shape[0] * input.elements()) {
    return absl::InvalidArgumentError(absl::StrCat("a calibration batch must be [n, ",
                                                   input.channels, ", ", input.height, ", ",
                                                   input.width, "]"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<BatchNormStatistics>> Calibrate(const Network& network,
                                                           const SubnetWeights& weights,
                                                           const BatchSource& next_batch,
                                                           const SessionOptions& options) {
  std::vector<Accumulator> accumulators;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.kind != LayerKind::kBatchNorm) continue;
    const std::vector<double> zeros(static_cast<size_t>(layer.in.channels), 0.0);
    accumulators.push_back({static_cast<int>(i), zeros, zeros});
  }
  if (accumulators.empty()) return std::vector<BatchNormStatistics>();

  OnnxExportOptions graph;
  graph.batch_norm = BatchNormForm::kBatchStatistics;
  FORALL_ASSIGN_OR_RETURN(const std::string model, BuildOnnxModel(network, weights, graph));
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxSession> session,
                          OnnxSession::Create(model, options));
  Tensor batch;
  double images = 0;
  while (true) {
    FORALL_ASSIGN_OR_RETURN(const bool more, next_batch(&batch));
    if (!more) break;
    FORALL_RETURN_IF_ERROR(CheckBatch(batch, network.input));
    const TensorView view{batch.shape, batch.values};
    FORALL_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, session->Run({&view, 1}));
    // outputs[0] are the logits, then mean and variance of each BatchNorm in order.
    if (outputs.size() != 1 + 2 * accumulators.size()) {
      return absl::InternalError("calibration graph has an unexpected number of outputs");
    }
    const double size = static_cast<double>(batch.shape[0]);
    for (size_t i = 0; i < accumulators.size(); ++i) {
      const std::vector<float>& mean = outputs[1 + 2 * i].values;
      const std::vector<float>& variance = outputs[2 + 2 * i].values;
      if (mean.size() != accumulators[i].mean.size() || variance.size() != mean.size()) {
        return absl::InternalError("calibration graph has an output of unexpected size");
      }
      AddWeighted(mean, size, &accumulators[i].mean);
      AddWeighted(variance, size, &accumulators[i].variance);
    }
    images += size;
  }
  if (images == 0) return absl::FailedPreconditionError("no images to calibrate on");

  std::vector<BatchNormStatistics> statistics;
  for (const Accumulator& accumulator : accumulators) {
    BatchNormStatistics layer;
    layer.layer = accumulator.layer;
    FORALL_ASSIGN_OR_RETURN(layer.mean, Average(accumulator.mean, images));
    FORALL_ASSIGN_OR_RETURN(layer.variance, Average(accumulator.variance, images));
    statistics.push_back(std::move(layer));
  }
  return statistics;
}

}  // namespace forall
