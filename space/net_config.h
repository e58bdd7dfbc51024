// SPDX-License-Identifier: Apache-2.0
// net.config, the JSON by which the once-for-all authors publish specialised networks
// (mit-han-lab/once-for-all, ofa/imagenet_classification/networks): first_conv, blocks, head; of a
// ResNet input_stem, blocks, classifier.
#ifndef FORALL_SPACE_NET_CONFIG_H_
#define FORALL_SPACE_NET_CONFIG_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/family.h"
#include "space/network.h"
#include "space/search_space.h"

namespace forall {

// The architecture of `family` that the net.config describes, at `resolution`: the file itself does
// not say it. A block's convolution may be called mobile_inverted_conv or conv. InvalidArgument
// naming the first field that the family cannot be: another width, stride, activation, kernel,
// expansion, head, or number of blocks.
absl::StatusOr<Architecture> ParseNetConfig(absl::string_view json, const Family& family,
                                            int32_t resolution);

// The net.config of a network of inverted residual blocks, in the published spelling, or of
// bottleneck blocks, as the authors' code writes it. FailedPrecondition for others.
absl::StatusOr<std::string> WriteNetConfig(const Network& network);

}  // namespace forall

#endif  // FORALL_SPACE_NET_CONFIG_H_
