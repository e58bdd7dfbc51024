// SPDX-License-Identifier: Apache-2.0
// The OFA-ResNet50-D family (Cai et al., "Once-for-All", whose repository holds the supernet; He et
// al., "Bag of Tricks", CVPR 2019, for ResNet-D): bottleneck blocks with elastic depth, width,
// bottleneck ratio and input resolution.
//
// Rules, as in the authors' published checkpoint:
//   stem: 3x3 stride 2 -> 3x3 inside a shortcut -> 3x3, each convolution with BatchNorm and ReLU;
//   then max-pool 3x3 stride 2. The middle convolution is skipped unless the stem's depth is its
//   maximum.
//   middle channels of a block = make_divisible(round_half_even(out * expansion)); the stride is on
//   the 3x3 convolution; ReLU after the sum
//   the first block of a stage has a projection as its shortcut: average pool (kernel and stride of
//   the block's stride, partial windows kept) -> 1x1 convolution -> BatchNorm
//   a stage of n blocks keeps its first n - (largest depth - depth); channels are the first N
// Dimensions: "r"; of the stem "d0" (least or largest depth), "w0.1" (its inner width), "w0.2" (its
// width); per stage s = 1.. "d<s>", "w<s>" (in channels), and per block "e<s>.<b>" (percent),
// active when the depth keeps the block.
#ifndef FORALL_SPACE_RESNET_H_
#define FORALL_SPACE_RESNET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/family.h"

namespace forall {

struct ResNetStage {
  std::vector<int32_t> widths;  // as `inner_widths`
  int32_t blocks = 1;           // at the largest depth
  int32_t stride = 1;           // of the first block
};

struct ResNetConfig {
  std::string name;
  int32_t revision = 1;
  int32_t input_channels = 3;
  int32_t classes = 1000;
  std::vector<int32_t> resolutions;
  // Ascending, one width per width multiplier of the field's notation; neighbours may be equal, as
  // rounding makes them.
  std::vector<int32_t> stem_inner_widths;
  std::vector<int32_t> stem_widths;
  std::vector<ResNetStage> stages;
  std::vector<int32_t> depths = {0, 1, 2};
  std::vector<int32_t> expansion_percents = {20, 25, 35};
  double batch_norm_epsilon = 1e-5;
};

// InvalidArgument naming the field for options that make no network.
absl::StatusOr<std::shared_ptr<const Family>> CreateResNet(ResNetConfig config);

// The JSON spec, see docs/search-spaces.md.
absl::StatusOr<ResNetConfig> ParseResNetSpec(absl::string_view json);

}  // namespace forall

#endif  // FORALL_SPACE_RESNET_H_
