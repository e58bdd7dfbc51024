// SPDX-License-Identifier: Apache-2.0
#include "space/network_blocks.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

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

}  // namespace forall
