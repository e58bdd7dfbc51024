// SPDX-License-Identifier: Apache-2.0
#include "space/network_blocks.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// The N of "blocks.N.", or -1.
int BlockNumber(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "blocks.")) return -1;
  int number = -1;
  if (!absl::SimpleAtoi(name.substr(0, name.find('.')), &number)) return -1;
  return number;
}

void AddToBlock(const Layer& layer, InvertedBlock* block) {
  block->out = layer.out;
  switch (layer.kind) {
    case LayerKind::kConvolution:
      if (layer.groups > 1) {
        block->middle = layer.out.channels;
        block->kernel = layer.kernel;
        block->stride = layer.stride;
      } else if (block->middle == 0) {
        block->expands = true;
      }
      return;
    case LayerKind::kGlobalAveragePool:
      block->squeeze_excite = true;
      return;
    case LayerKind::kAdd:
      block->shortcut = true;
      return;
    case LayerKind::kActivation:
      // The gate's own activations come later.
      if (!block->squeeze_excite) block->activation = layer.activation;
      return;
    default:
      return;
  }
}

void AddToHead(const Layer& layer, NetworkParts* parts) {
  switch (layer.kind) {
    case LayerKind::kConvolution:
      // MobileNetV3 mixes features after the pooling, Proxyless before it.
      if (parts->feature_mix != nullptr) parts->final_expand = parts->feature_mix;
      parts->feature_mix = &layer;
      return;
    case LayerKind::kActivation:
      parts->head_activation = layer.activation;
      return;
    case LayerKind::kGlobalAveragePool:
      parts->pool = &layer;
      return;
    case LayerKind::kLinear:
      parts->classifier = &layer;
      return;
    default:
      return;
  }
}

}  // namespace

absl::StatusOr<NetworkParts> SplitIntoBlocks(const Network& network) {
  NetworkParts parts;
  int current = -1;
  for (const Layer& layer : network.layers) {
    const int number = BlockNumber(layer.name);
    if (number < 0 && parts.blocks.empty()) {
      if (layer.kind == LayerKind::kConvolution && parts.stem == nullptr) parts.stem = &layer;
      if (layer.kind == LayerKind::kActivation) parts.stem_activation = layer.activation;
    } else if (number < 0) {
      AddToHead(layer, &parts);
    } else {
      if (number != current) {
        parts.blocks.emplace_back();
        parts.blocks.back().in = layer.in;
        current = number;
      }
      AddToBlock(layer, &parts.blocks.back());
    }
  }
  bool inverted = parts.stem != nullptr && !parts.blocks.empty() && parts.pool != nullptr &&
                  parts.feature_mix != nullptr && parts.classifier != nullptr;
  for (const InvertedBlock& block : parts.blocks) inverted = inverted && block.middle > 0;
  if (!inverted) {
    return absl::FailedPreconditionError(
        "the network is not made of inverted residual blocks, which lookup tables and net.config "
        "describe");
  }
  return parts;
}

absl::StatusOr<std::vector<LayerRange>> PartsOf(const Network& network) {
  FORALL_RETURN_IF_ERROR(SplitIntoBlocks(network).status());
  std::vector<LayerRange> parts;
  int current = -1;
  bool after_blocks = false;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const int number = BlockNumber(layer.name);
    after_blocks = after_blocks || (number < 0 && current >= 0);
    // Of stem and blocks their first layer begins a part, in the head all that is no activation or
    // normalisation.
    if (i == 0 || number != current ||
        (after_blocks && layer.kind != LayerKind::kBatchNorm &&
         layer.kind != LayerKind::kActivation)) {
      parts.push_back({i, i});
    }
    current = number;
    parts.back().end = i + 1;
  }
  return parts;
}

absl::StatusOr<Network> CutNetwork(const Network& network, LayerRange range) {
  if (range.begin >= range.end || range.end > network.layers.size()) {
    return absl::InvalidArgumentError(absl::StrCat("layers ", range.begin, " to ", range.end,
                                                   " of a network of ", network.layers.size()));
  }
  const int before = static_cast<int>(range.begin) - 1;  // kNetworkInput where nothing is before
  Network cut;
  cut.input = network.layers[range.begin].in;
  for (size_t i = range.begin; i < range.end; ++i) {
    Layer layer = network.layers[i];
    for (int& input : layer.inputs) {
      if (input < before) {
        return absl::InvalidArgumentError(absl::StrCat(layer.name, ": reads layer ", input,
                                                       ", but the part is fed by layer ", before));
      }
      input = input == before ? kNetworkInput : input - static_cast<int>(range.begin);
    }
    cut.layers.push_back(std::move(layer));
  }
  cut.classes = static_cast<int>(cut.layers.back().out.channels);
  return cut;
}

}  // namespace forall
