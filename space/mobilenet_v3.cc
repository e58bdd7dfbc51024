// SPDX-License-Identifier: Apache-2.0
#include "space/mobilenet_v3.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/family_rules.h"
#include "space/network_builder.h"
#include "space/spec_reader.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

class MobileNetV3 : public InvertedResidualFamily {
 public:
  MobileNetV3(MobileNetV3Config config, SearchSpace space)
      : InvertedResidualFamily(config, std::move(space)), config_(std::move(config)) {
    ListHead();
  }

  std::string Spec() const override;

 protected:
  void DescribeHead(NetworkBuilder* builder, int input) const override;

 private:
  void ListHead();

  MobileNetV3Config config_;
};

void MobileNetV3::ListHead() {
  const int64_t expand = config_.head_expand_width;
  const int64_t feature = config_.head_feature_width;
  tensors_.push_back(
      {"final_expand_layer.conv.weight", {expand, last_stage_width(), 1, 1}, TensorRole::kWeight});
  ListBatchNorm("final_expand_layer.bn", expand, &tensors_);
  tensors_.push_back(
      {"feature_mix_layer.conv.weight", {feature, expand, 1, 1}, TensorRole::kWeight});
  tensors_.push_back({"classifier.linear.weight", {config_.classes, feature}, TensorRole::kWeight});
  tensors_.push_back({"classifier.linear.bias", {config_.classes}, TensorRole::kBias});
}

void MobileNetV3::DescribeHead(NetworkBuilder* builder, int input) const {
  const int64_t expand = config_.head_expand_width;
  const int64_t feature = config_.head_feature_width;
  int x = builder->Convolution(
      "final_expand_layer.conv", input,
      {"final_expand_layer.conv.weight", {expand, last_stage_width(), 1, 1}, {}}, 1);
  x = builder->BatchNorm("final_expand_layer.bn", x, "final_expand_layer.bn");
  x = builder->Activate("final_expand_layer.act", x, config_.head_activation);
  x = builder->GlobalAveragePool("global_avg_pool", x);
  x = builder->Convolution("feature_mix_layer.conv", x,
                           {"feature_mix_layer.conv.weight", {feature, expand, 1, 1}, {}}, 1);
  x = builder->Activate("feature_mix_layer.act", x, config_.head_activation);
  builder->Linear("classifier.linear", x,
                  {"classifier.linear.weight", {config_.classes, feature}, {}},
                  {"classifier.linear.bias", {config_.classes}, {}});
}

std::string MobileNetV3::Spec() const {
  Json json = WriteInvertedResidual("ofa_mobilenet_v3", config_);
  json["stages"] = Json::array();
  for (const InvertedResidualStage& stage : config_.stages) {
    json["stages"].push_back({{"width", stage.width},
                              {"stride", stage.stride},
                              {"activation", ActivationName(stage.activation)},
                              {"squeeze_excite", stage.squeeze_excite}});
  }
  json["kernels"] = config_.kernels;
  json["expansions"] = config_.expansions;
  json["depths"] = config_.depths;
  json["head"] = {{"expand_width", config_.head_expand_width},
                  {"feature_width", config_.head_feature_width},
                  {"activation", ActivationName(config_.head_activation)}};
  json["batch_norm_epsilon"] = config_.batch_norm_epsilon;
  return json.dump(2) + "\n";
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Family>> CreateMobileNetV3(MobileNetV3Config config) {
  for (InvertedResidualStage& stage : config.stages) stage.depths = config.depths;
  FORALL_ASSIGN_OR_RETURN(SearchSpace space, InvertedResidualSpace(config));
  return std::shared_ptr<const Family>(
      std::make_shared<MobileNetV3>(std::move(config), std::move(space)));
}

absl::StatusOr<MobileNetV3Config> ParseMobileNetV3Spec(absl::string_view text) {
  FORALL_ASSIGN_OR_RETURN(const Json json, ParseSpecJson(text));
  MobileNetV3Config config;
  std::string family;
  SpecReader reader(json, "");
  reader.AllowOnly({"family", "name", "revision", "input_channels", "classes", "resolutions",
                    "stem", "first_block", "stages", "kernels", "expansions", "depths", "head",
                    "batch_norm_epsilon"});
  reader.Text("family", &family);
  ReadInvertedResidual(&reader, &config);
  reader.Integers("depths", 1, 16, &config.depths);

  const Json& stages = reader.List("stages", 16);
  for (size_t i = 0; i < stages.size(); ++i) {
    InvertedResidualStage stage;
    SpecReader fields(stages[i], absl::StrCat("stages[", i, "]"));
    fields.AllowOnly({"width", "stride", "activation", "squeeze_excite"});
    fields.Integer("width", 1, kMaxSpecWidth, &stage.width);
    fields.Integer("stride", 1, 2, &stage.stride);
    fields.ActivationOf("activation", &stage.activation);
    fields.Flag("squeeze_excite", &stage.squeeze_excite);
    reader.Join(fields);
    config.stages.push_back(std::move(stage));
  }

  SpecReader head(reader.Child("head"), "head");
  head.AllowOnly({"expand_width", "feature_width", "activation"});
  head.Integer("expand_width", 1, kMaxSpecWidth, &config.head_expand_width);
  head.Integer("feature_width", 1, kMaxSpecWidth, &config.head_feature_width);
  head.ActivationOf("activation", &config.head_activation);
  reader.Join(head);
  FORALL_RETURN_IF_ERROR(reader.status());
  return config;
}

}  // namespace forall
