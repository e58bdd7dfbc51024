// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/reference_network.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "supernet/onnx/exporter.h"
#include "supernet/subnet_weights.h"

namespace forall {
namespace {

constexpr int kReferenceResolution = 28;
constexpr uint64_t kSeed = 28;

// Which of a layer's weights has which rule follows from space/network.h.
enum class Rule { kFanIn, kScale, kVariance, kSmall };

Rule RuleOf(const Layer& layer, size_t weight) {
  if (layer.kind == LayerKind::kBatchNorm) {
    if (weight == 0) return Rule::kScale;
    return weight == 3 ? Rule::kVariance : Rule::kSmall;
  }
  return weight == 0 ? Rule::kFanIn : Rule::kSmall;
}

std::vector<float> Fill(const WeightSlice& slice, Rule rule) {
  Random random = Random::ForStream(kSeed, Fnv1a64(slice.tensor));
  const int64_t elements = slice.elements();
  double fan_in = 1;
  if (!slice.shape.empty() && slice.shape[0] > 0) {
    fan_in = static_cast<double>(elements) / static_cast<double>(slice.shape[0]);
  }
  std::vector<float> values(static_cast<size_t>(elements));
  for (float& value : values) {
    const double u = random.Double();
    double drawn = 0.2 * (2 * u - 1);
    if (rule == Rule::kFanIn) drawn = (2 * u - 1) * std::sqrt(6 / fan_in);
    if (rule == Rule::kScale) drawn = 0.8 + 0.4 * u;
    if (rule == Rule::kVariance) drawn = 0.5 + u;
    value = static_cast<float>(drawn);
  }
  return values;
}

SubnetWeights FormulaWeights(const Network& network) {
  SubnetWeights weights;
  for (const Layer& layer : network.layers) {
    std::vector<std::vector<float>>& tensors = weights.layers.emplace_back();
    for (size_t i = 0; i < layer.weights.size(); ++i) {
      tensors.push_back(Fill(layer.weights[i], RuleOf(layer, i)));
    }
  }
  return weights;
}

}  // namespace

absl::StatusOr<std::string> BuildFormulaSubnet(const Family& family,
                                               const Architecture& architecture) {
  FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(architecture));
  return BuildFormulaModel(network);
}

absl::StatusOr<std::string> BuildFormulaModel(const Network& network) {
  return BuildOnnxModel(network, FormulaWeights(network), OnnxExportOptions{});
}

absl::StatusOr<ReferenceNetwork> BuildReferenceNetwork() {
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FindFamily("fashion_mnist"));
  const SearchSpace& space = family->search_space();
  Architecture smallest = space.Smallest();
  const std::optional<int> resolution = space.FindDimension("r");
  FORALL_CHECK(resolution.has_value()) << "fashion_mnist has no dimension r";
  const std::vector<int32_t>& options =
      space.dimensions()[static_cast<size_t>(*resolution)].options;
  const auto option = std::find(options.begin(), options.end(), kReferenceResolution);
  FORALL_CHECK(option != options.end()) << "fashion_mnist lacks the reference resolution";
  smallest.choices[static_cast<size_t>(*resolution)] =
      static_cast<int32_t>(option - options.begin());
  ReferenceNetwork reference;
  FORALL_ASSIGN_OR_RETURN(reference.onnx, BuildFormulaSubnet(*family, smallest));
  reference.sha256 = Sha256Hex(reference.onnx);
  Architecture middle = smallest;
  for (size_t i = 0; i < middle.choices.size(); ++i) {
    if (static_cast<int>(i) == *resolution) continue;
    middle.choices[i] = static_cast<int32_t>(space.dimensions()[i].options.size() / 2);
  }
  FORALL_ASSIGN_OR_RETURN(reference.calibration_onnx, BuildFormulaSubnet(*family, middle));
  return reference;
}

}  // namespace forall
