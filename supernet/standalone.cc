// SPDX-License-Identifier: Apache-2.0
#include "supernet/standalone.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// Names of static modules, where a list's entries are numbered without gaps.
class StaticNames {
 public:
  // "blocks.5.conv.depth_conv.se.reduce" -> "blocks.3.conv.depth_conv.se.fc.reduce".
  std::string Of(const std::string& layer) {
    std::string name = absl::StrReplaceAll(
        layer, {{".se.reduce", ".se.fc.reduce"}, {".se.expand", ".se.fc.expand"}});
    for (const char* list : {"blocks.", "input_stem."}) {
      absl::string_view rest = name;
      if (!absl::ConsumePrefix(&rest, list)) continue;
      const size_t digits = rest.find('.');
      const std::string number(rest.substr(0, digits));
      auto& numbers = numbers_[list];
      const int next = static_cast<int>(numbers.size());
      const int index = numbers.emplace(number, next).first->second;
      return absl::StrCat(list, index, rest.substr(number.size()));
    }
    return name;
  }

 private:
  absl::flat_hash_map<std::string, absl::flat_hash_map<std::string, int>> numbers_;
};

// One per entry of Layer::weights.
std::vector<const char*> Suffixes(LayerKind kind) {
  if (kind == LayerKind::kBatchNorm) return {".weight", ".bias", ".running_mean", ".running_var"};
  return {".weight", ".bias"};
}

// Calls visit(layer, index of the weight, key) for every weight of the network.
template <typename Visitor>
void VisitWeights(const Network& network, const Visitor& visit) {
  StaticNames names;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const std::string name = names.Of(layer.name);
    const std::vector<const char*> suffixes = Suffixes(layer.kind);
    for (size_t j = 0; j < layer.weights.size(); ++j) visit(i, j, absl::StrCat(name, suffixes[j]));
  }
}

}  // namespace

std::vector<NamedTensor> StandaloneTensors(const Network& network, const SubnetWeights& weights) {
  std::vector<NamedTensor> tensors;
  VisitWeights(network, [&](size_t layer, size_t weight, std::string key) {
    tensors.push_back({std::move(key), network.layers[layer].weights[weight].shape,
                       weights.layers[layer][weight]});
  });
  return tensors;
}

absl::StatusOr<std::string> BuildStandaloneFile(const Network& network,
                                                const SubnetWeights& weights,
                                                std::map<std::string, std::string> metadata) {
  metadata["format"] = "pt";
  const std::vector<NamedTensor> tensors = StandaloneTensors(network, weights);
  std::vector<SafetensorsEntry> entries;
  entries.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) {
    entries.push_back({tensor.name, SafetensorsType::kF32, tensor.shape, tensor.values});
  }
  return SerializeSafetensors(entries, metadata);
}

std::vector<NamedShape> StandaloneShapes(const Network& network) {
  std::vector<NamedShape> shapes;
  VisitWeights(network, [&](size_t layer, size_t weight, std::string key) {
    shapes.push_back({std::move(key), network.layers[layer].weights[weight].shape});
  });
  return shapes;
}

absl::StatusOr<SubnetWeights> WeightsOfStandalone(const Network& network,
                                                  std::vector<NamedTensor> tensors) {
  SubnetWeights weights;
  weights.layers.resize(network.layers.size());
  size_t next = 0;
  absl::Status status;
  VisitWeights(network, [&](size_t layer, size_t weight, const std::string& key) {
    const WeightSlice& slice = network.layers[layer].weights[weight];
    if (next >= tensors.size() || tensors[next].name != key || tensors[next].shape != slice.shape ||
        static_cast<int64_t>(tensors[next].values.size()) != slice.elements()) {
      status.Update(absl::InvalidArgumentError(absl::StrCat("tensor '", key, "' is not there")));
      return;
    }
    weights.layers[layer].push_back(std::move(tensors[next++].values));
  });
  FORALL_RETURN_IF_ERROR(status);
  return weights;
}

}  // namespace forall
