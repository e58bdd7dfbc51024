// SPDX-License-Identifier: Apache-2.0
// The families that come ready-made, and the way from a spec to its family.
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/cost_model.h"
#include "space/family.h"
#include "space/mobilenet_v3.h"
#include "space/proxyless_nas.h"
#include "space/resnet.h"
#include "space/spec_reader.h"

namespace forall {
namespace {

using FamilyOr = absl::StatusOr<std::shared_ptr<const Family>>;

constexpr Activation kRelu = Activation::kRelu;
constexpr Activation kRelu6 = Activation::kRelu6;
constexpr Activation kHSwish = Activation::kHSwish;

// The published checkpoints: 128 to 224 pixels in steps of 4, as their accuracy logs use them.
std::vector<int32_t> ImageNetResolutions() {
  std::vector<int32_t> resolutions;
  for (int32_t r = 128; r <= 224; r += 4) resolutions.push_back(r);
  return resolutions;
}

MobileNetV3Config OfaMobileNetV3W10() {
  MobileNetV3Config config;
  config.name = "ofa_mbv3_w1.0";
  config.resolutions = ImageNetResolutions();
  config.stages = {{24, 2, kRelu, false, {}},
                   {40, 2, kRelu, true, {}},
                   {80, 2, kHSwish, false, {}},
                   {112, 1, kHSwish, true, {}},
                   {160, 2, kHSwish, true, {}}};
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
  config.stages = {{24, 2, kRelu, false, {}},
                   {32, 1, kRelu, true, {}},
                   {48, 2, kHSwish, false, {}},
                   {64, 1, kHSwish, true, {}},
                   {96, 1, kHSwish, true, {}}};
  config.head_expand_width = 384;
  config.head_feature_width = 512;
  return config;
}

ProxylessNasConfig OfaProxylessW13() {
  ProxylessNasConfig config;
  config.name = "ofa_proxyless_w1.3";
  config.resolutions = ImageNetResolutions();
  config.stem_width = 40;
  config.stem_activation = kRelu6;
  config.first_block_width = 24;
  config.first_block_activation = kRelu6;
  const std::vector<int32_t> depths = {2, 3, 4};
  config.stages = {{32, 2, kRelu6, false, depths},  {56, 2, kRelu6, false, depths},
                   {104, 2, kRelu6, false, depths}, {128, 1, kRelu6, false, depths},
                   {248, 2, kRelu6, false, depths}, {416, 1, kRelu6, false, {1}}};
  config.batch_norm_epsilon = 1e-3;
  return config;
}

// Widths are make_divisible(round(w * base)) for w in 0.65, 0.8, 1.0.
ResNetConfig OfaResNet50() {
  ResNetConfig config;
  config.name = "ofa_resnet50";
  config.resolutions = ImageNetResolutions();
  config.stem_inner_widths = {24, 24, 32};
  config.stem_widths = {40, 48, 64};
  config.stages = {{{168, 208, 256}, 4, 1},
                   {{336, 408, 512}, 4, 2},
                   {{664, 816, 1024}, 6, 2},
                   {{1328, 1640, 2048}, 4, 2}};
  return config;
}

struct ReadyMade {
  const char* name;
  FamilyOr (*make)();
};
constexpr ReadyMade kReadyMade[] = {
    {"fashion_mnist", [] { return CreateMobileNetV3(FashionMnist()); }},
    {"ofa_mbv3_w1.0", [] { return CreateMobileNetV3(OfaMobileNetV3W10()); }},
    {"ofa_mbv3_w1.2", [] { return CreateMobileNetV3(OfaMobileNetV3W12()); }},
    {"ofa_proxyless_w1.3", [] { return CreateProxylessNas(OfaProxylessW13()); }},
    {"ofa_resnet50", [] { return CreateResNet(OfaResNet50()); }},
};

// One entry per family: the "family" of its specs, and the way from spec to family.
struct FamilyKind {
  const char* name;
  FamilyOr (*from_spec)(absl::string_view spec);
};
constexpr FamilyKind kFamilyKinds[] = {
    {"ofa_mobilenet_v3",
     [](absl::string_view spec) -> FamilyOr {
       FORALL_ASSIGN_OR_RETURN(MobileNetV3Config config, ParseMobileNetV3Spec(spec));
       return CreateMobileNetV3(std::move(config));
     }},
    {"ofa_proxyless",
     [](absl::string_view spec) -> FamilyOr {
       FORALL_ASSIGN_OR_RETURN(ProxylessNasConfig config, ParseProxylessNasSpec(spec));
       return CreateProxylessNas(std::move(config));
     }},
    {"ofa_resnet",
     [](absl::string_view spec) -> FamilyOr {
       FORALL_ASSIGN_OR_RETURN(ResNetConfig config, ParseResNetSpec(spec));
       return CreateResNet(std::move(config));
     }},
};

// Above this, sums of costs would leave 64 bits; the largest published networks have 1e10.
constexpr double kMostMacs = 1e15;

// Each field of a spec is bounded; their product must be too.
absl::Status CheckSize(const Family& family) {
  FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(family.search_space().Largest()));
  double macs = 0;
  for (const Layer& layer : network.layers) macs += static_cast<double>(LayerMacs(layer));
  if (macs <= kMostMacs) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("spec: the largest network has ", macs,
                                                 " MACs; at most ", kMostMacs, " are supported"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Family>> FamilyFromSpec(absl::string_view json) {
  FORALL_ASSIGN_OR_RETURN(const nlohmann::ordered_json spec, ParseSpecJson(json));
  if (!spec.is_object()) return absl::InvalidArgumentError("spec: must be a JSON object");
  const auto family = spec.find("family");
  std::vector<std::string> known;
  for (const FamilyKind& kind : kFamilyKinds) {
    if (family != spec.end() && *family == kind.name) {
      FORALL_ASSIGN_OR_RETURN(std::shared_ptr<const Family> made, kind.from_spec(json));
      FORALL_RETURN_IF_ERROR(CheckSize(*made));
      return made;
    }
    known.push_back(absl::StrCat("\"", kind.name, "\""));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "family: ", family == spec.end() ? "is missing; it" : family->dump().substr(0, 100),
      " must be one of ", absl::StrJoin(known, ", ")));
}

absl::StatusOr<std::shared_ptr<const Family>> FindFamily(absl::string_view name) {
  for (const ReadyMade& family : kReadyMade) {
    if (name == family.name) return family.make();
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
