// SPDX-License-Identifier: Apache-2.0
// Channels inside a network that may be put in another order without changing what it computes.
#ifndef FORALL_SUPERNET_TRAIN_CHANNEL_GROUPS_H_
#define FORALL_SUPERNET_TRAIN_CHANNEL_GROUPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "space/network.h"

namespace forall {

// Channels made by one convolution, carried through BatchNorm, activations, depthwise convolutions
// and squeeze-excite gates, and consumed by others: the expanded channels of an inverted residual
// block, the squeezed ones of its gate, the middle ones of a bottleneck.
struct ChannelGroup {
  struct Axis {
    std::string tensor;  // of the supernet
    int axis = 0;
  };
  int64_t channels = 0;
  std::vector<Axis> axes;       // everything that must be permuted alike
  std::vector<Axis> consumers;  // convolutions that follow; a channel's weight in them is its worth
};

// Every group that no shortcut, pooled feature or output fixes the order of, by the layer that
// makes it. Networks of one structure and different widths give lists that correspond.
std::vector<ChannelGroup> FreeChannelGroups(const Network& network);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_CHANNEL_GROUPS_H_
