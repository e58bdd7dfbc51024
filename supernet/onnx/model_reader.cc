// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/model_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "onnx/onnx_pb.h"
#include "supernet/onnx/model_bytes.h"

namespace forall {
namespace {

using Tensors = absl::flat_hash_map<std::string, std::vector<float>>;

absl::Status NoExport(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the file is no export of this subnet of this supernet: ", what));
}

absl::StatusOr<Tensors> ReadTensors(const onnx::GraphProto& graph) {
  Tensors tensors;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    const std::string& raw = tensor.raw_data();
    if (tensor.data_type() != onnx::TensorProto::FLOAT || raw.size() % sizeof(float) != 0) {
      return NoExport(absl::StrCat(tensor.name(), " is not float32"));
    }
    std::vector<float> values(raw.size() / sizeof(float));
    if (!raw.empty()) std::memcpy(values.data(), raw.data(), raw.size());
    tensors.emplace(tensor.name(), std::move(values));
  }
  return tensors;
}

absl::StatusOr<absl::Span<const float>> Find(const Tensors& tensors, const std::string& name,
                                             size_t size) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return NoExport(absl::StrCat(name, " is missing"));
  if (found->second.size() != size) {
    return NoExport(absl::StrCat(name, " has ", found->second.size(), " values instead of ", size));
  }
  return absl::MakeConstSpan(found->second);
}

// By what folding multiplied the filter: folded = factor * kernel. False when the kernel is zero.
absl::StatusOr<bool> FactorOf(absl::Span<const float> folded, absl::Span<const float> kernel,
                              double* factor) {
  const auto largest = std::max_element(kernel.begin(), kernel.end(),
                                        [](float a, float b) { return std::abs(a) < std::abs(b); });
  const double divisor = static_cast<double>(*largest);
  const double product = static_cast<double>(folded[static_cast<size_t>(largest - kernel.begin())]);
  *factor = divisor == 0 ? 0 : product / divisor;
  // Products were rounded to float32 once; what was lost to denormals may be as large as the least.
  const double tolerance = 1e-6 * std::abs(product) + 1e-37;
  for (size_t i = 0; i < kernel.size(); ++i) {
    const double expected = *factor * static_cast<double>(kernel[i]);
    if (!(std::abs(static_cast<double>(folded[i]) - expected) <= tolerance)) {
      return NoExport("a filter is no multiple of the supernet's");
    }
  }
  return divisor != 0;
}

// `norm` holds scale, bias, mean and variance of the BatchNorm that was folded into `kernel`.
absl::Status Unfold(absl::Span<const float> folded, absl::Span<const float> folded_bias,
                    absl::Span<const float> kernel, absl::Span<const float> bias, double epsilon,
                    std::vector<std::vector<float>>* norm) {
  const size_t channels = folded_bias.size();
  const size_t filter = kernel.size() / channels;
  for (size_t c = 0; c < channels; ++c) {
    const double scale = static_cast<double>((*norm)[0][c]);
    const double shift = static_cast<double>((*norm)[1][c]);
    double factor = 0;
    FORALL_ASSIGN_OR_RETURN(
        const bool known,
        FactorOf(folded.subspan(c * filter, filter), kernel.subspan(c * filter, filter), &factor));
    if (scale == 0) continue;  // the channel is its shift, whatever the statistics
    if (known && factor != 0) {
      const double root = scale / factor;
      (*norm)[3][c] = static_cast<float>(std::max(0.0, root * root - epsilon));
    }
    factor = scale / std::sqrt(static_cast<double>((*norm)[3][c]) + epsilon);
    const double constant = bias.empty() ? 0 : static_cast<double>(bias[c]);
    const double mean = constant - (static_cast<double>(folded_bias[c]) - shift) / factor;
    (*norm)[2][c] = static_cast<float>(mean);
  }
  return absl::OkStatus();
}

absl::Status RecoverNorm(const Tensors& tensors, const Network& network, size_t index,
                         SubnetWeights* weights) {
  const Layer& norm = network.layers[index];
  std::vector<std::vector<float>>& values = weights->layers[index];
  const size_t channels = values[0].size();
  if (tensors.contains(absl::StrCat(norm.name, ".running_mean"))) {
    for (const auto& [part, name] : {std::pair{2, ".running_mean"}, {3, ".running_var"}}) {
      FORALL_ASSIGN_OR_RETURN(const auto given,
                              Find(tensors, absl::StrCat(norm.name, name), channels));
      values[static_cast<size_t>(part)].assign(given.begin(), given.end());
    }
    return absl::OkStatus();
  }
  if (norm.inputs[0] == kNetworkInput) return NoExport(absl::StrCat(norm.name, " is missing"));
  const size_t producer = static_cast<size_t>(norm.inputs[0]);
  const Layer& conv = network.layers[producer];
  if (conv.kind != LayerKind::kConvolution) {
    return NoExport(absl::StrCat(norm.name, " is missing"));
  }
  const std::vector<float>& kernel = weights->layers[producer][0];
  FORALL_ASSIGN_OR_RETURN(const auto folded,
                          Find(tensors, absl::StrCat(conv.name, ".weight"), kernel.size()));
  FORALL_ASSIGN_OR_RETURN(const auto folded_bias,
                          Find(tensors, absl::StrCat(conv.name, ".bias"), channels));
  absl::Span<const float> bias;
  if (conv.has_bias) bias = weights->layers[producer][1];
  return WithContext(Unfold(folded, folded_bias, kernel, bias, norm.epsilon, &values), conv.name);
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ReadOnnxMetadata(absl::string_view bytes) {
  FORALL_ASSIGN_OR_RETURN(const onnx::ModelProto model, ParseOnnxModel(bytes));
  std::map<std::string, std::string> metadata;
  for (const onnx::StringStringEntryProto& property : model.metadata_props()) {
    metadata[property.key()] = property.value();
  }
  return metadata;
}

absl::Status RecoverCalibration(absl::string_view bytes, const Network& network,
                                SubnetWeights* weights) {
  FORALL_ASSIGN_OR_RETURN(const onnx::ModelProto model, ParseOnnxModel(bytes));
  FORALL_ASSIGN_OR_RETURN(const Tensors tensors, ReadTensors(model.graph()));
  for (size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].kind != LayerKind::kBatchNorm) continue;
    FORALL_RETURN_IF_ERROR(RecoverNorm(tensors, network, i, weights));
  }
  return absl::OkStatus();
}

}  // namespace forall
