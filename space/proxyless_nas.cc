// SPDX-License-Identifier: Apache-2.0
#include "space/proxyless_nas.h"

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

class ProxylessNas : public InvertedResidualFamily {
 public:
  ProxylessNas(ProxylessNasConfig config, SearchSpace space)
      : InvertedResidualFamily(config, std::move(space)), config_(std::move(config)) {
    const int64_t feature = config_.head_feature_width;
    tensors_.push_back({"feature_mix_layer.conv.weight",
                        {feature, last_stage_width(), 1, 1},
                        TensorRole::kWeight});
    ListBatchNorm("feature_mix_layer.bn", feature, &tensors_);
    tensors_.push_back(
        {"classifier.linear.weight", {config_.classes, feature}, TensorRole::kWeight});
    tensors_.push_back({"classifier.linear.bias", {config_.classes}, TensorRole::kBias});
  }

  std::string Spec() const override;

 protected:
  void DescribeHead(NetworkBuilder* builder, int input) const override;

 private:
  ProxylessNasConfig config_;
};

void ProxylessNas::DescribeHead(NetworkBuilder* builder, int input) const {
  const int64_t feature = config_.head_feature_width;
  int x = builder->Convolution(
      "feature_mix_layer.conv", input,
      {"feature_mix_layer.conv.weight", {feature, last_stage_width(), 1, 1}, {}}, 1);
  x = builder->BatchNorm("feature_mix_layer.bn", x, "feature_mix_layer.bn");
  x = builder->Activate("feature_mix_layer.act", x, config_.head_activation);
  x = builder->GlobalAveragePool("global_avg_pool", x);
  builder->Linear("classifier.linear", x,
                  {"classifier.linear.weight", {config_.classes, feature}, {}},
                  {"classifier.linear.bias", {config_.classes}, {}});
}

std::string ProxylessNas::Spec() const {
  Json json = WriteInvertedResidual("ofa_proxyless", config_);
  json["stages"] = Json::array();
  for (const InvertedResidualStage& stage : config_.stages) {
    json["stages"].push_back({{"width", stage.width},
                              {"stride", stage.stride},
                              {"activation", ActivationName(stage.activation)},
                              {"depths", stage.depths}});
  }
  json["kernels"] = config_.kernels;
  json["expansions"] = config_.expansions;
  json["head"] = {{"feature_width", config_.head_feature_width},
                  {"activation", ActivationName(config_.head_activation)}};
  json["batch_norm_epsilon"] = config_.batch_norm_epsilon;
  return json.dump(2) + "\n";
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Family>> CreateProxylessNas(ProxylessNasConfig config) {
  FORALL_ASSIGN_OR_RETURN(SearchSpace space, InvertedResidualSpace(config));
  return std::shared_ptr<const Family>(
      std::make_shared<ProxylessNas>(std::move(config), std::move(space)));
}

absl::StatusOr<ProxylessNasConfig> ParseProxylessNasSpec(absl::string_view text) {
  FORALL_ASSIGN_OR_RETURN(const Json json, ParseSpecJson(text));
  ProxylessNasConfig config;
  std::string family;
  SpecReader reader(json, "");
  reader.AllowOnly({"family", "name", "revision", "input_channels", "classes", "resolutions",
                    "stem", "first_block", "stages", "kernels", "expansions", "head",
                    "batch_norm_epsilon"});
  reader.Text("family", &family);
  ReadInvertedResidual(&reader, &config);

  const Json& stages = reader.List("stages", 16);
  for (size_t i = 0; i < stages.size(); ++i) {
    InvertedResidualStage stage;
    SpecReader fields(stages[i], absl::StrCat("stages[", i, "]"));
    fields.AllowOnly({"width", "stride", "activation", "depths"});
    fields.Integer("width", 1, kMaxSpecWidth, &stage.width);
    fields.Integer("stride", 1, 2, &stage.stride);
    fields.ActivationOf("activation", &stage.activation);
    fields.Integers("depths", 1, 16, &stage.depths);
    reader.Join(fields);
    config.stages.push_back(std::move(stage));
  }

  SpecReader head(reader.Child("head"), "head");
  head.AllowOnly({"feature_width", "activation"});
  head.Integer("feature_width", 1, kMaxSpecWidth, &config.head_feature_width);
  head.ActivationOf("activation", &config.head_activation);
  reader.Join(head);
  FORALL_RETURN_IF_ERROR(reader.status());
  return config;
}

}  // namespace forall
