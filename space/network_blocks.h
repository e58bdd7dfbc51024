// SPDX-License-Identifier: Apache-2.0
// A network of inverted residual blocks, read back from its description as the parts that the
// field's own files speak of: lookup tables and net.config list stem, blocks and head.
#ifndef FORALL_SPACE_NETWORK_BLOCKS_H_
#define FORALL_SPACE_NETWORK_BLOCKS_H_

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

}  // namespace forall

#endif  // FORALL_SPACE_NETWORK_BLOCKS_H_
