// SPDX-License-Identifier: Apache-2.0
#include "space/resnet_net_config.h"

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostBlocks = 1024;

absl::Status Wrong(absl::string_view field, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", message));
}

Json ConvLayerConfig(const Layer& conv) {
  return {{"name", "ConvLayer"},
          {"kernel_size", conv.kernel},
          {"stride", conv.stride},
          {"dilation", 1},
          {"groups", 1},
          {"bias", false},
          {"has_shuffle", false},
          {"use_se", false},
          {"in_channels", conv.in.channels},
          {"out_channels", conv.out.channels},
          {"use_bn", true},
          {"act_func", "relu"},
          {"dropout_rate", 0},
          {"ops_order", "weight_bn_act"}};
}

Json IdentityConfig(int64_t channels) {
  return {{"name", "IdentityLayer"},     {"in_channels", channels},
          {"out_channels", channels},    {"use_bn", false},
          {"act_func", nullptr},         {"dropout_rate", 0},
          {"ops_order", "weight_bn_act"}};
}

// The convolutions of one block, in the order of the description.
Json BlockConfig(const Layer& reduce, const Layer& spatial, const Layer& expand) {
  const double ratio =
      static_cast<double>(spatial.out.channels) / static_cast<double>(expand.out.channels);
  return {{"name", "ResNetBottleneckBlock"},
          {"in_channels", reduce.in.channels},
          {"out_channels", expand.out.channels},
          {"kernel_size", spatial.kernel},
          {"stride", spatial.stride},
          // Informative beside mid_channels, which rounding to eights decides.
          {"expand_ratio", std::round(ratio * 100) / 100},
          {"mid_channels", spatial.out.channels},
          {"act_func", "relu"},
          {"groups", 1},
          {"downsample_mode", "avgpool_conv"}};
}

absl::StatusOr<int64_t> Whole(const Json& json, const char* key, const std::string& field) {
  const auto value = json.is_object() ? json.find(key) : json.end();
  if (!json.is_object() || value == json.end() || !value->is_number_integer() ||
      value->get<double>() < 0 || value->get<double>() > 1e6) {
    return Wrong(absl::StrCat(field, ".", key), "must be a whole number");
  }
  return value->get<int64_t>();
}

// The list `key`, of 1 to `most` entries.
absl::StatusOr<const Json*> List(const Json& config, const char* key, size_t most) {
  const auto list = config.find(key);
  if (list == config.end() || !list->is_array() || list->empty() || list->size() > most) {
    return Wrong(key, absl::StrCat("must be a list of 1 to ", most, " entries"));
  }
  return &*list;
}

struct ConfigBlock {
  int64_t out = 0;
  int64_t middle = 0;
};

// A stage begins where the width or the stride changes.
absl::StatusOr<std::vector<std::vector<ConfigBlock>>> ReadStages(const Json& blocks) {
  std::vector<std::vector<ConfigBlock>> stages;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::string field = absl::StrCat("blocks[", i, "]");
    ConfigBlock block;
    FORALL_ASSIGN_OR_RETURN(const int64_t in, Whole(blocks[i], "in_channels", field));
    FORALL_ASSIGN_OR_RETURN(block.out, Whole(blocks[i], "out_channels", field));
    FORALL_ASSIGN_OR_RETURN(const int64_t stride, Whole(blocks[i], "stride", field));
    FORALL_ASSIGN_OR_RETURN(block.middle, Whole(blocks[i], "mid_channels", field));
    if (stages.empty() || in != block.out || stride != 1) stages.emplace_back();
    stages.back().push_back(block);
  }
  return stages;
}

// Ascending; nullptr when the space has no such dimension.
const std::vector<int32_t>* OptionsOf(const SearchSpace& space, absl::string_view dimension) {
  const std::optional<int> found = space.FindDimension(dimension);
  if (!found.has_value()) return nullptr;
  return &space.dimensions()[static_cast<size_t>(*found)].options;
}

int BlocksOf(const SearchSpace& space, size_t stage) {
  int blocks = 0;
  while (space.FindDimension(absl::StrCat("e", stage, ".", blocks + 1)).has_value()) ++blocks;
  return blocks;
}

absl::StatusOr<Json> AsChoices(const SearchSpace& space, const Json& stem,
                               const std::vector<std::vector<ConfigBlock>>& stages,
                               int32_t resolution) {
  const std::vector<int32_t>* stem_depths = OptionsOf(space, "d0");
  if (stem_depths == nullptr) {
    return Wrong("input_stem", absl::StrCat("networks of ", space.id(), " have none"));
  }
  Json choices;
  choices["r"] = resolution;
  choices["d0"] = stem.size() == 3 ? stem_depths->back() : stem_depths->front();
  FORALL_ASSIGN_OR_RETURN(choices["w0.1"], Whole(stem.front(), "out_channels", "input_stem[0]"));
  FORALL_ASSIGN_OR_RETURN(
      choices["w0.2"],
      Whole(stem.back(), "out_channels", absl::StrCat("input_stem[", stem.size() - 1, "]")));
  for (size_t s = 0; s < stages.size(); ++s) {
    const std::string stage = absl::StrCat(s + 1);
    const std::vector<int32_t>* depths = OptionsOf(space, absl::StrCat("d", stage));
    if (depths == nullptr) {
      return Wrong("blocks",
                   absl::StrCat(stages.size(), " stages are more than ", space.id(), " has"));
    }
    // Depth d keeps all blocks but (most - d).
    choices[absl::StrCat("d", stage)] =
        depths->back() - BlocksOf(space, s + 1) + static_cast<int64_t>(stages[s].size());
    choices[absl::StrCat("w", stage)] = stages[s].front().out;
    for (size_t b = 0; b < stages[s].size(); ++b) {
      const ConfigBlock& block = stages[s][b];
      choices[absl::StrCat("e", stage, ".", b + 1)] = block.middle;  // a width, resolved below
    }
  }
  return choices;
}

// Bottleneck widths into the percents that make them: the option nearest to the quotient. Whether
// it makes that very width shows when the network is compared.
void ResolveExpansions(const SearchSpace& space, Json* choices) {
  for (const Dimension& dimension : space.dimensions()) {
    if (dimension.name[0] != 'e' || !choices->contains(dimension.name)) continue;
    const std::string stage = dimension.name.substr(1, dimension.name.find('.') - 1);
    const double quotient = 100 * (*choices)[dimension.name].get<double>() /
                            std::max(1.0, (*choices)[absl::StrCat("w", stage)].get<double>());
    int32_t nearest = dimension.options.front();
    for (const int32_t percent : dimension.options) {
      if (std::abs(percent - quotient) < std::abs(nearest - quotient)) nearest = percent;
    }
    (*choices)[dimension.name] = nearest;
  }
}

// Every number and text of `wanted` must be there in `given`.
absl::Status CheckAgrees(const Json& given, const Json& wanted, const std::string& field) {
  for (const auto& [key, value] : wanted.items()) {
    if (key == "name" || key == "expand_ratio" || key == "use_se") continue;
    if (value.is_object()) {
      if (!given.is_object() || !given.contains(key)) {
        return Wrong(absl::StrCat(field, ".", key), "is missing");
      }
      FORALL_RETURN_IF_ERROR(CheckAgrees(given[key], value, absl::StrCat(field, ".", key)));
    } else if (!given.is_object() || !given.contains(key) || given[key] != value) {
      const std::string found =
          given.is_object() && given.contains(key)
              ? given[key].dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80)
              : "nothing";
      return Wrong(absl::StrCat(field, ".", key),
                   absl::StrCat(found, ", where the search space has ", value.dump()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckListAgrees(const Json& given, const Json& wanted, const char* field) {
  if (given.size() != wanted.size()) {
    return Wrong(
        field, absl::StrCat(given.size(), " entries, where the search space has ", wanted.size()));
  }
  for (size_t i = 0; i < given.size(); ++i) {
    FORALL_RETURN_IF_ERROR(CheckAgrees(given[i], wanted[i], absl::StrCat(field, "[", i, "]")));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsBottleneckNetwork(const Network& network) {
  return !network.layers.empty() && absl::StartsWith(network.layers.front().name, "input_stem.");
}

Json WriteResNetConfig(const Network& network) {
  Json config;
  config["name"] = "ResNets";
  config["bn"] = {{"momentum", 0.1}, {"eps", 0.0}};
  config["input_stem"] = Json::array();
  config["blocks"] = Json::array();
  std::vector<const Layer*> block;
  for (const Layer& layer : network.layers) {
    if (layer.kind == LayerKind::kBatchNorm) config["bn"]["eps"] = layer.epsilon;
    if (layer.kind == LayerKind::kLinear) {
      config["classifier"] = {{"name", "LinearLayer"},
                              {"in_features", layer.in.channels},
                              {"out_features", layer.out.channels},
                              {"bias", true},
                              {"use_bn", false},
                              {"act_func", nullptr},
                              {"dropout_rate", 0},
                              {"ops_order", "weight_bn_act"}};
    }
    if (layer.kind != LayerKind::kConvolution) continue;
    if (absl::StartsWith(layer.name, "input_stem.1.conv.")) {
      config["input_stem"].push_back({{"name", "ResidualBlock"},
                                      {"conv", ConvLayerConfig(layer)},
                                      {"shortcut", IdentityConfig(layer.out.channels)}});
    } else if (absl::StartsWith(layer.name, "input_stem.")) {
      config["input_stem"].push_back(ConvLayerConfig(layer));
    } else if (!absl::EndsWith(layer.name, ".downsample.conv")) {
      block.push_back(&layer);
      if (block.size() < 3) continue;
      config["blocks"].push_back(BlockConfig(*block[0], *block[1], *block[2]));
      block.clear();
    }
  }
  return config;
}

absl::StatusOr<Architecture> ParseResNetConfig(const Json& config, const Family& family,
                                               int32_t resolution) {
  FORALL_ASSIGN_OR_RETURN(const Json* stem, List(config, "input_stem", 3));
  FORALL_ASSIGN_OR_RETURN(const Json* blocks, List(config, "blocks", kMostBlocks));
  FORALL_ASSIGN_OR_RETURN(const auto stages, ReadStages(*blocks));
  const SearchSpace& space = family.search_space();
  FORALL_ASSIGN_OR_RETURN(Json choices, AsChoices(space, *stem, stages, resolution));
  ResolveExpansions(space, &choices);
  Json json;
  json["search_space"] = space.id();
  json["revision"] = space.revision();
  json["choices"] = std::move(choices);
  absl::StatusOr<Architecture> architecture = space.FromJson(json.dump());
  if (!architecture.ok()) {
    return WithContext(architecture.status(),
                       absl::StrCat("the net.config is no network of ", space.id()));
  }
  // What the dimensions cannot say must agree as well.
  FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(*architecture));
  const Json wanted = WriteResNetConfig(network);
  FORALL_RETURN_IF_ERROR(CheckListAgrees(*stem, wanted["input_stem"], "input_stem"));
  FORALL_RETURN_IF_ERROR(CheckListAgrees(*blocks, wanted["blocks"], "blocks"));
  FORALL_RETURN_IF_ERROR(CheckAgrees(config.contains("classifier") ? config["classifier"] : Json(),
                                     wanted["classifier"], "classifier"));
  return architecture;
}

}  // namespace forall
