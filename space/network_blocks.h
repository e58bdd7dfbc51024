// SPDX-License-Identifier: Apache-2.0
// A network of inverted residual blocks, read back from its description as the parts that the
// field's own files speak of: lookup tables and net.config list stem, blocks and head.
#ifndef FORALL_SPACE_NETWORK_BLOCKS_H_
#define FORALL_SPACE_NETWORK_BLOCKS_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "space/network.h"

namespace forall {

struct InvertedBlock {
  FeatureShape in;
  FeatureShape out;
  int64_t middle = 0;  // channels of the depthwise convolution
  int kernel = 1;      // of the depthwise convolution
  int stride = 1;
  bool expands = false;  // has a 1x1 convolution before the depthwise one
  bool squeeze_excite = false;
  bool shortcut = false;
  Activation activation = Activation::kRelu;
};

// Layers of the head, each nullptr when the family has none. They point into the network.
struct NetworkParts {
  const Layer* stem = nullptr;
  Activation stem_activation = Activation::kRelu;
  std::vector<InvertedBlock> blocks;
  const Layer* final_expand = nullptr;  // convolution before the pooling, MobileNetV3
  const Layer* feature_mix = nullptr;
  const Layer* pool = nullptr;
  const Layer* classifier = nullptr;
  Activation head_activation = Activation::kRelu;
};

// FailedPrecondition for networks of other blocks (ResNet). `network` must outlive the result.
absl::StatusOr<NetworkParts> SplitIntoBlocks(const Network& network);

// Layers [begin, end) of a network.
struct LayerRange {
  size_t begin = 0;
  size_t end = 0;
};

// What lookup tables have rows for, in the order of TableKeys (latency/table/latency_table.h) and
// without a gap: the stem, each block, then each of the head's convolutions, its pooling and its
// classifier, all with the normalisation and activation that follow. FailedPrecondition as
// SplitIntoBlocks.
absl::StatusOr<std::vector<LayerRange>> PartsOf(const Network& network);

// Some consecutive layers as a network of their own, fed with what the layer before gave.
// InvalidArgument for an empty range, one that is out of the network or one that reads more than
// one value from outside.
absl::StatusOr<Network> CutNetwork(const Network& network, LayerRange range);

}  // namespace forall

#endif  // FORALL_SPACE_NETWORK_BLOCKS_H_
