// SPDX-License-Identifier: Apache-2.0
// The OFA-MobileNetV3 family (Cai et al., "Once-for-All", ICLR 2020; Howard et al., "Searching for
// MobileNetV3", 2019): inverted residual blocks in stages, elastic kernel, expansion, depth and
// input resolution.
//
// Rules, as in the authors' published checkpoints:
//   make_divisible(v) = max(8, int(v + 4) / 8 * 8), plus 8 when below 0.9 v
//   middle channels = make_divisible(round_half_even(in * expansion))
//   squeeze-excite after the depthwise activation, width make_divisible(middle / 4)
//   channels are the first N, a stage keeps its first d blocks, kernels chain 7 -> 5 -> 3
//   shortcut where stride is 1 and widths are equal
// Dimensions: "r"; per stage s = 1.. "d<s>", and per block b = 1.. "k<s>.<b>", "e<s>.<b>", active
// when d<s> >= b.
#ifndef FORALL_SPACE_MOBILENET_V3_H_
#define FORALL_SPACE_MOBILENET_V3_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/family.h"
#include "space/network.h"

namespace forall {

struct MobileNetV3Stage {
  int32_t width = 0;
  int32_t stride = 1;
  Activation activation = Activation::kRelu;
  bool squeeze_excite = false;
};

struct MobileNetV3Config {
  std::string name;
  int32_t revision = 1;
  int32_t input_channels = 3;
  int32_t classes = 1000;
  std::vector<int32_t> resolutions;
  int32_t stem_width = 16;
  int32_t stem_stride = 2;
  Activation stem_activation = Activation::kHSwish;
  int32_t first_block_width = 16;
  Activation first_block_activation = Activation::kRelu;
  std::vector<MobileNetV3Stage> stages;
  std::vector<int32_t> kernels = {3, 5, 7};  // consecutive odd sizes
  std::vector<int32_t> expansions = {3, 4, 6};
  std::vector<int32_t> depths = {2, 3, 4};
  int32_t head_expand_width = 960;
  int32_t head_feature_width = 1280;
  Activation head_activation = Activation::kHSwish;
  double batch_norm_epsilon = 1e-5;
};

// max(8, int(v + 4) / 8 * 8), plus 8 when that is below 0.9 v.
int64_t MakeDivisible(double v);

// InvalidArgument naming the field for widths, strides or options that make no network.
absl::StatusOr<std::shared_ptr<const Family>> CreateMobileNetV3(const MobileNetV3Config& config);

// The JSON spec, see docs/search-spaces.md.
absl::StatusOr<MobileNetV3Config> ParseMobileNetV3Spec(absl::string_view json);

}  // namespace forall

#endif  // FORALL_SPACE_MOBILENET_V3_H_
