// SPDX-License-Identifier: Apache-2.0
// The OFA-MobileNetV3 family (Cai et al., "Once-for-All", ICLR 2020; Howard et al., "Searching for
// MobileNetV3", 2019): elastic kernel, expansion, depth and input resolution. Blocks, dimensions
// and rules are those of space/inverted_residual.h; the head is expand -> BatchNorm -> activation
// -> mean -> feature mix (neither BatchNorm nor bias) -> activation -> linear.
#ifndef FORALL_SPACE_MOBILENET_V3_H_
#define FORALL_SPACE_MOBILENET_V3_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/family.h"
#include "space/inverted_residual.h"
#include "space/network.h"

namespace forall {

// The `depths` of each stage are replaced by those of the whole network.
struct MobileNetV3Config : InvertedResidualConfig {
  std::vector<int32_t> depths = {2, 3, 4};
  int32_t head_expand_width = 960;
  int32_t head_feature_width = 1280;
  Activation head_activation = Activation::kHSwish;
};

// InvalidArgument naming the field for widths, strides or options that make no network.
absl::StatusOr<std::shared_ptr<const Family>> CreateMobileNetV3(MobileNetV3Config config);

// The JSON spec, see docs/search-spaces.md.
absl::StatusOr<MobileNetV3Config> ParseMobileNetV3Spec(absl::string_view json);

}  // namespace forall

#endif  // FORALL_SPACE_MOBILENET_V3_H_
