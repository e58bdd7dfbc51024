// SPDX-License-Identifier: Apache-2.0
// The families that come ready-made, and the way from a spec to its family.
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/family.h"
#include "space/mobilenet_v3.h"

namespace forall {
namespace {

constexpr Activation kRelu = Activation::kRelu;
constexpr Activation kHSwish = Activation::kHSwish;

// The published w1.0 checkpoint: 128 to 224 pixels in steps of 4, as its accuracy logs use them.
MobileNetV3Config OfaMobileNetV3W10() {
  MobileNetV3Config config;
  config.name = "ofa_mbv3_w1.0";
  for (int32_t r = 128; r <= 224; r += 4) config.resolutions.push_back(r);
  config.stages = {{24, 2, kRelu, false},
                   {40, 2, kRelu, true},
                   {80, 2, kHSwish, false},
                   {112, 1, kHSwish, true},
                   {160, 2, kHSwish, true}};
  return config;
}

MobileNetV3Config OfaMobileNetV3W12() {
  MobileNetV3Config config = OfaMobileNetV3W10();
  config.name = "ofa_mbv3_w1.2";
  config.stem_width = 24;
  config.first_block_width = 24;
  const int32_t widths[] = {32, 48, 96, 136, 192};
  for (size_t i = 0; i < config.stages.size(); ++i) config.stages[i].width = widths[i];
  config.head_expand_width = 1152;
  config.head_feature_width = 1536;
  return config;
}

// The small network for 28 x 28 grey images that the repository ships trained.
MobileNetV3Config FashionMnist() {
  MobileNetV3Config config;
  config.name = "fashion_mnist";
  config.input_channels = 1;
  config.classes = 10;
  config.resolutions = {20, 24, 28};
  config.stem_stride = 1;
  config.stages = {{24, 2, kRelu, false},
                   {32, 1, kRelu, true},
                   {48, 2, kHSwish, false},
                   {64, 1, kHSwish, true},
                   {96, 1, kHSwish, true}};
  config.head_expand_width = 384;
  config.head_feature_width = 512;
  return config;
}

using ConfigMaker = MobileNetV3Config (*)();
struct ReadyMade {
  const char* name;
  ConfigMaker make;
};
constexpr ReadyMade kReadyMade[] = {
    {"fashion_mnist", FashionMnist},
    {"ofa_mbv3_w1.0", OfaMobileNetV3W10},
    {"ofa_mbv3_w1.2", OfaMobileNetV3W12},
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Family>> FamilyFromSpec(absl::string_view json) {
  FORALL_RETURN_IF_ERROR(WithContext(CheckJsonDepth(json), "spec"));
  const auto parsed =
      nlohmann::json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded() || !parsed.is_object()) {
    return absl::InvalidArgumentError("spec: must be a JSON object");
  }
  if (!parsed.contains("family") || parsed["family"] != "ofa_mobilenet_v3") {
    return absl::InvalidArgumentError(absl::StrCat(
        "family: ", parsed.contains("family") ? parsed["family"].dump() : "is missing; it",
        " must be \"ofa_mobilenet_v3\""));
  }
  FORALL_ASSIGN_OR_RETURN(const MobileNetV3Config config, ParseMobileNetV3Spec(json));
  return CreateMobileNetV3(config);
}

absl::StatusOr<std::shared_ptr<const Family>> FindFamily(absl::string_view name) {
  for (const ReadyMade& family : kReadyMade) {
    if (name == family.name) return CreateMobileNetV3(family.make());
  }
  return absl::NotFoundError(absl::StrCat("no search space is called \"", name, "\"; known are ",
                                          absl::StrJoin(FamilyNames(), ", ")));
}

std::vector<std::string> FamilyNames() {
  std::vector<std::string> names;
  for (const ReadyMade& family : kReadyMade) names.push_back(family.name);
  return names;
}

}  // namespace forall
