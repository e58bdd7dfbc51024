// SPDX-License-Identifier: Apache-2.0
#include "space/net_config.h"

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/network_blocks.h"
#include "space/resnet_net_config.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

// What one block of the file says.
struct ConfigBlock {
  int64_t in = 0;
  int64_t out = 0;
  int64_t kernel = 0;
  int64_t stride = 0;
  int64_t middle = 0;  // 0 when the file leaves it to the ratio
  int64_t ratio = 0;
  std::string activation;
  bool squeeze_excite = false;
  bool shortcut = false;
};

// All BatchNorms of a family share one.
double EpsilonOf(const Network& network) {
  for (const Layer& layer : network.layers) {
    if (layer.kind == LayerKind::kBatchNorm) return layer.epsilon;
  }
  return 0;
}

absl::Status Wrong(const std::string& field, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", message));
}

absl::StatusOr<int64_t> Whole(const Json& json, const char* key, const std::string& field) {
  const auto value = json.find(key);
  // Some files write a ratio as 6.0.
  if (value == json.end() || !value->is_number() || !(value->get<double>() >= 0) ||
      !(value->get<double>() <= 1e6) ||
      value->get<double>() != static_cast<double>(static_cast<int64_t>(value->get<double>()))) {
    return Wrong(absl::StrCat(field, ".", key), "must be a whole number");
  }
  return static_cast<int64_t>(value->get<double>());
}

std::string TextOf(const Json& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_string() ? value->get<std::string>() : std::string();
}

absl::StatusOr<ConfigBlock> ReadBlock(const Json& json, const std::string& field) {
  if (!json.is_object()) return Wrong(field, "must be an object");
  const char* spelling = json.contains("mobile_inverted_conv") ? "mobile_inverted_conv" : "conv";
  const auto conv = json.find(spelling);
  if (conv == json.end() || !conv->is_object()) {
    return Wrong(field, "has neither mobile_inverted_conv nor conv");
  }
  const std::string inner = absl::StrCat(field, ".", spelling);
  ConfigBlock block;
  FORALL_ASSIGN_OR_RETURN(block.in, Whole(*conv, "in_channels", inner));
  FORALL_ASSIGN_OR_RETURN(block.out, Whole(*conv, "out_channels", inner));
  FORALL_ASSIGN_OR_RETURN(block.kernel, Whole(*conv, "kernel_size", inner));
  FORALL_ASSIGN_OR_RETURN(block.stride, Whole(*conv, "stride", inner));
  FORALL_ASSIGN_OR_RETURN(block.ratio, Whole(*conv, "expand_ratio", inner));
  if (conv->contains("mid_channels") && !(*conv)["mid_channels"].is_null()) {
    FORALL_ASSIGN_OR_RETURN(block.middle, Whole(*conv, "mid_channels", inner));
  }
  block.activation = TextOf(*conv, "act_func");
  const auto se = conv->find("use_se");
  block.squeeze_excite = se != conv->end() && se->is_boolean() && se->get<bool>();
  block.shortcut = json.contains("shortcut") && !json["shortcut"].is_null();
  return block;
}

absl::Status CheckBlock(const ConfigBlock& config, const InvertedBlock& block,
                        const std::string& field) {
  const auto check = [&](const char* name, int64_t value, int64_t wanted) -> absl::Status {
    if (value == wanted) return absl::OkStatus();
    return Wrong(absl::StrCat(field, ".", name),
                 absl::StrCat(value, ", where the search space has ", wanted));
  };
  FORALL_RETURN_IF_ERROR(check("in_channels", config.in, block.in.channels));
  FORALL_RETURN_IF_ERROR(check("out_channels", config.out, block.out.channels));
  FORALL_RETURN_IF_ERROR(check("kernel_size", config.kernel, block.kernel));
  FORALL_RETURN_IF_ERROR(check("stride", config.stride, block.stride));
  if (config.middle != 0) {
    FORALL_RETURN_IF_ERROR(check("mid_channels", config.middle, block.middle));
  }
  FORALL_RETURN_IF_ERROR(check("use_se", config.squeeze_excite, block.squeeze_excite));
  FORALL_RETURN_IF_ERROR(check("shortcut", config.shortcut, block.shortcut));
  if (config.activation != ActivationName(block.activation)) {
    return Wrong(absl::StrCat(field, ".act_func"),
                 absl::StrCat("\"", config.activation, "\", where the search space has \"",
                              ActivationName(block.activation), "\""));
  }
  return absl::OkStatus();
}

absl::Status CheckLayer(const Json& config, const char* name, const char* width_key,
                        const Layer* layer) {
  const auto entry = config.find(name);
  const bool there = entry != config.end() && entry->is_object();
  if (there != (layer != nullptr)) {
    return Wrong(name, there ? "the search space has no such layer" : "is missing");
  }
  if (!there) return absl::OkStatus();
  FORALL_ASSIGN_OR_RETURN(const int64_t width, Whole(*entry, width_key, name));
  if (width == layer->out.channels) return absl::OkStatus();
  return Wrong(absl::StrCat(name, ".", width_key),
               absl::StrCat(width, ", where the search space has ", layer->out.channels));
}

// A stage begins where the width or the stride changes; stage 0 is the fixed first block.
std::vector<std::vector<ConfigBlock>> Stages(const std::vector<ConfigBlock>& blocks) {
  std::vector<std::vector<ConfigBlock>> stages;
  for (size_t i = 1; i < blocks.size(); ++i) {
    if (i == 1 || blocks[i].in != blocks[i].out || blocks[i].stride != 1) stages.emplace_back();
    stages.back().push_back(blocks[i]);
  }
  return stages;
}

// {"search_space": ..., "choices": {...}} over the dimensions r, d<s>, k<s>.<b>, e<s>.<b>.
std::string AsChoices(const SearchSpace& space, const std::vector<std::vector<ConfigBlock>>& stages,
                      int32_t resolution) {
  Json choices;
  choices["r"] = resolution;
  for (size_t s = 0; s < stages.size(); ++s) {
    choices[absl::StrCat("d", s + 1)] = stages[s].size();
    for (size_t b = 0; b < stages[s].size(); ++b) {
      choices[absl::StrCat("k", s + 1, ".", b + 1)] = stages[s][b].kernel;
      choices[absl::StrCat("e", s + 1, ".", b + 1)] = stages[s][b].ratio;
    }
  }
  Json json;
  json["search_space"] = space.id();
  json["revision"] = space.revision();
  json["choices"] = std::move(choices);
  return json.dump();
}

// BatchNorm's epsilon, where the file has one, must be the family's: it is part of the function.
absl::Status CheckEpsilon(const Json& config, const Family& family) {
  const auto bn = config.find("bn");
  if (bn == config.end() || !bn->is_object() || !bn->contains("eps")) return absl::OkStatus();
  const Json& given = (*bn)["eps"];
  FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(family.search_space().Smallest()));
  const double epsilon = EpsilonOf(network);
  if (given.is_number() && std::abs(given.get<double>() - epsilon) <= 1e-6 * epsilon) {
    return absl::OkStatus();
  }
  const std::string text = given.dump(-1, ' ', false, Json::error_handler_t::replace);
  return Wrong("bn.eps",
               absl::StrCat(text.substr(0, 40), ", where the search space has ", epsilon));
}

Json ConvLayerConfig(const Layer& conv, bool batch_norm, Activation activation) {
  return {{"name", "ConvLayer"},
          {"kernel_size", conv.kernel},
          {"stride", conv.stride},
          {"dilation", 1},
          {"groups", conv.groups},
          {"bias", false},
          {"has_shuffle", false},
          {"in_channels", conv.in.channels},
          {"out_channels", conv.out.channels},
          {"use_bn", batch_norm},
          {"act_func", ActivationName(activation)},
          {"dropout_rate", 0},
          {"ops_order", "weight_bn_act"}};
}

Json IdentityConfig(const InvertedBlock& block) {
  return {{"name", "IdentityLayer"},
          {"in_channels", {block.out.channels}},
          {"out_channels", {block.out.channels}},
          {"use_bn", false},
          {"act_func", nullptr},
          {"dropout_rate", 0},
          {"ops_order", "weight_bn_act"}};
}

Json BlockConfig(const InvertedBlock& block) {
  Json conv = {{"name", "MBInvertedConvLayer"},
               {"in_channels", block.in.channels},
               {"out_channels", block.out.channels},
               {"kernel_size", block.kernel},
               {"stride", block.stride}};
  // The ratio is informative beside mid_channels, which rounding to eights decides.
  conv["expand_ratio"] = (block.middle + block.in.channels / 2) / block.in.channels;
  conv["mid_channels"] = block.expands ? Json(block.middle) : Json();
  conv["act_func"] = ActivationName(block.activation);
  conv["use_se"] = block.squeeze_excite;
  return {{"name", "MobileInvertedResidualBlock"},
          {"mobile_inverted_conv", std::move(conv)},
          {"shortcut", block.shortcut ? IdentityConfig(block) : Json()}};
}

}  // namespace

absl::StatusOr<Architecture> ParseNetConfig(absl::string_view text, const Family& family,
                                            int32_t resolution) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json config = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded() || !config.is_object()) {
    return absl::InvalidArgumentError("a net.config is a JSON object");
  }
  FORALL_RETURN_IF_ERROR(CheckEpsilon(config, family));
  if (config.contains("input_stem")) return ParseResNetConfig(config, family, resolution);
  const auto list = config.find("blocks");
  if (list == config.end() || !list->is_array() || list->empty() || list->size() > 1024) {
    return Wrong("blocks", "must be a list of 1 to 1024 blocks");
  }
  std::vector<ConfigBlock> blocks;
  for (size_t i = 0; i < list->size(); ++i) {
    FORALL_ASSIGN_OR_RETURN(ConfigBlock block,
                            ReadBlock((*list)[i], absl::StrCat("blocks[", i, "]")));
    blocks.push_back(std::move(block));
  }
  const SearchSpace& space = family.search_space();
  absl::StatusOr<Architecture> architecture =
      space.FromJson(AsChoices(space, Stages(blocks), resolution));
  if (!architecture.ok()) {
    return WithContext(architecture.status(),
                       absl::StrCat("the net.config is no network of ", space.id()));
  }
  // What the dimensions cannot say must agree as well.
  FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(*architecture));
  FORALL_ASSIGN_OR_RETURN(const NetworkParts parts, SplitIntoBlocks(network));
  FORALL_RETURN_IF_ERROR(CheckLayer(config, "first_conv", "out_channels", parts.stem));
  if (parts.blocks.size() != blocks.size()) {
    return Wrong("blocks",
                 absl::StrCat(blocks.size(), ", where the search space has ", parts.blocks.size()));
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    FORALL_RETURN_IF_ERROR(CheckBlock(blocks[i], parts.blocks[i], absl::StrCat("blocks[", i, "]")));
  }
  FORALL_RETURN_IF_ERROR(
      CheckLayer(config, "final_expand_layer", "out_channels", parts.final_expand));
  FORALL_RETURN_IF_ERROR(
      CheckLayer(config, "feature_mix_layer", "out_channels", parts.feature_mix));
  FORALL_RETURN_IF_ERROR(CheckLayer(config, "classifier", "out_features", parts.classifier));
  return architecture;
}

absl::StatusOr<std::string> WriteNetConfig(const Network& network) {
  if (IsBottleneckNetwork(network)) return WriteResNetConfig(network).dump(2) + "\n";
  FORALL_ASSIGN_OR_RETURN(const NetworkParts parts, SplitIntoBlocks(network));
  const bool mobilenet = parts.final_expand != nullptr;
  Json json;
  json["name"] = mobilenet ? "MobileNetV3" : "ProxylessNASNets";
  json["bn"] = {{"momentum", 0.1}, {"eps", EpsilonOf(network)}};
  json["first_conv"] = ConvLayerConfig(*parts.stem, true, parts.stem_activation);
  json["blocks"] = Json::array();
  for (const InvertedBlock& block : parts.blocks) json["blocks"].push_back(BlockConfig(block));
  if (mobilenet) {
    json["final_expand_layer"] = ConvLayerConfig(*parts.final_expand, true, parts.head_activation);
  }
  json["feature_mix_layer"] =
      ConvLayerConfig(*parts.feature_mix, !mobilenet, parts.head_activation);
  json["classifier"] = {{"name", "LinearLayer"},
                        {"in_features", parts.classifier->in.channels},
                        {"out_features", parts.classifier->out.channels},
                        {"bias", true},
                        {"use_bn", false},
                        {"act_func", nullptr},
                        {"dropout_rate", 0},
                        {"ops_order", "weight_bn_act"}};
  return json.dump(2) + "\n";
}

}  // namespace forall
