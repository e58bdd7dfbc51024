// SPDX-License-Identifier: Apache-2.0
// net.config of bottleneck networks, for space/net_config.h: input_stem, blocks, classifier
// (mit-han-lab/once-for-all, ofa/imagenet_classification/networks/resnets.py and
// ofa/utils/layers.py).
#ifndef FORALL_SPACE_RESNET_NET_CONFIG_H_
#define FORALL_SPACE_RESNET_NET_CONFIG_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"
#include "space/family.h"
#include "space/network.h"
#include "space/search_space.h"

namespace forall {

// Whether the network is made of bottleneck blocks behind an input stem.
bool IsBottleneckNetwork(const Network& network);

nlohmann::ordered_json WriteResNetConfig(const Network& network);

// As ParseNetConfig, of an object that has "input_stem".
absl::StatusOr<Architecture> ParseResNetConfig(const nlohmann::ordered_json& config,
                                               const Family& family, int32_t resolution);

}  // namespace forall

#endif  // FORALL_SPACE_RESNET_NET_CONFIG_H_
