// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/channel_groups.h"

#include <map>
#include <utility>

namespace forall {
namespace {

bool IsDepthwise(const Layer& layer) {
  return layer.kind == LayerKind::kConvolution && layer.groups > 1 &&
         layer.groups == layer.in.channels && layer.in.channels == layer.out.channels;
}

// Whose channels are the same as another layer's: each layer's output is assigned the layer that
// made its channels; kMultiply joins both inputs.
class ChannelSpaces {
 public:
  explicit ChannelSpaces(const Network& network) : network_(network) {
    const int layers = static_cast<int>(network.layers.size());
    for (int i = 0; i < layers; ++i) {
      parent_.push_back(i);
      fixed_.push_back(false);
      const Layer& layer = network.layers[static_cast<size_t>(i)];
      const bool fresh = (layer.kind == LayerKind::kConvolution && !IsDepthwise(layer)) ||
                         layer.kind == LayerKind::kLinear;
      if (fresh) continue;
      for (const int input : layer.inputs) {
        if (input < 0) {
          fixed_[static_cast<size_t>(Root(i))] = true;
        } else {
          Join(i, input);
        }
      }
      if (layer.kind == LayerKind::kAdd) fixed_[static_cast<size_t>(Root(i))] = true;
    }
    fixed_[static_cast<size_t>(Root(layers - 1))] = true;
  }

  int Root(int i) const {
    while (parent_[static_cast<size_t>(i)] != i) i = parent_[static_cast<size_t>(i)];
    return i;
  }
  bool IsFixed(int root) const { return fixed_[static_cast<size_t>(root)]; }

 private:
  void Join(int a, int b) {
    a = Root(a);
    b = Root(b);
    if (a == b) return;
    // The layer that comes first stands for both.
    if (b < a) std::swap(a, b);
    parent_[static_cast<size_t>(b)] = a;
    fixed_[static_cast<size_t>(a)] = IsFixed(a) || IsFixed(b);
  }

  const Network& network_;
  std::vector<int> parent_;
  std::vector<bool> fixed_;
};

}  // namespace

std::vector<ChannelGroup> FreeChannelGroups(const Network& network) {
  const ChannelSpaces spaces(network);
  std::map<int, ChannelGroup> groups;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    ChannelGroup& group = groups[spaces.Root(static_cast<int>(i))];
    group.channels = layer.out.channels;
    for (size_t w = 0; w < layer.weights.size(); ++w) {
      group.axes.push_back({layer.weights[w].tensor, 0});
    }
    const bool consumes = (layer.kind == LayerKind::kConvolution && !IsDepthwise(layer)) ||
                          layer.kind == LayerKind::kLinear;
    if (!consumes || layer.inputs[0] < 0) continue;
    ChannelGroup& input = groups[spaces.Root(layer.inputs[0])];
    const ChannelGroup::Axis axis = {layer.weights[0].tensor, 1};
    input.axes.push_back(axis);
    // A gate's first matrix sees the channels' means only, and says nothing of their worth.
    const Layer& before = network.layers[static_cast<size_t>(layer.inputs[0])];
    if (layer.kind == LayerKind::kConvolution && before.kind != LayerKind::kGlobalAveragePool) {
      input.consumers.push_back(axis);
    }
  }
  std::vector<ChannelGroup> free;
  for (auto& [root, group] : groups) {
    if (!spaces.IsFixed(root) && !group.consumers.empty()) free.push_back(std::move(group));
  }
  return free;
}

}  // namespace forall
