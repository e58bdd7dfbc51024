// SPDX-License-Identifier: Apache-2.0
#include "cli/subnet_files.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "cli/model_card.h"
#include "nlohmann/json.hpp"
#include "space/identity.h"
#include "space/net_config.h"
#include "supernet/export.h"
#include "supernet/standalone.h"

namespace forall {
namespace {

absl::StatusOr<std::string> StandaloneFile(FoundSubnet* subnet, Client* client) {
  FORALL_ASSIGN_OR_RETURN(const SubnetWeights weights, CalibratedWeights(subnet, client));
  FORALL_ASSIGN_OR_RETURN(const std::string config, WriteNetConfig(subnet->network));
  const SearchSpace& space = subnet->family->search_space();
  std::map<std::string, std::string> metadata = {
      {kStandaloneNetConfig, config},
      {kMetadataArchKey, ArchKey(space, subnet->architecture)},
      {kMetadataArchitecture, space.ToJson(subnet->architecture)},
      {kMetadataResolution, absl::StrCat(subnet->network.input.height)},
      {kMetadataSearchSpace, space.id()}};
  const std::pair<const char*, const std::string&> origin[] = {
      {kMetadataSupernet, subnet->supernet_sha256},
      {kMetadataDataset, subnet->dataset},
      {kMetadataCalibrationId, subnet->calibration_id}};
  for (const auto& [key, value] : origin) {
    if (!value.empty()) metadata[key] = value;
  }
  return BuildStandaloneFile(subnet->network, weights, std::move(metadata));
}

}  // namespace

const std::vector<SubnetFormatInfo>& SubnetFormats() {
  static const auto* const formats = new std::vector<SubnetFormatInfo>{
      {SubnetFormat::kOnnx, "onnx", "model.onnx"},
      {SubnetFormat::kOnnxHalf, "onnx-fp16", "model.fp16.onnx"},
      {SubnetFormat::kNetConfig, "net.config", "net.config"},
      {SubnetFormat::kSafetensors, "safetensors", "model.safetensors"},
      {SubnetFormat::kCardMarkdown, "card.md", "MODEL_CARD.md"},
      {SubnetFormat::kCardJson, "card.json", "model_card.json"},
  };
  return *formats;
}

absl::StatusOr<SubnetFormat> SubnetFormatOf(absl::string_view name, absl::string_view path) {
  for (const SubnetFormatInfo& info : SubnetFormats()) {
    if (info.name == name) return info.format;
  }
  const std::pair<const char*, SubnetFormat> endings[] = {
      {".onnx", SubnetFormat::kOnnx},
      {".config", SubnetFormat::kNetConfig},
      {".safetensors", SubnetFormat::kSafetensors},
      {".md", SubnetFormat::kCardMarkdown},
      {".json", SubnetFormat::kCardJson}};
  for (const auto& [ending, format] : endings) {
    if (name.empty() && absl::EndsWith(path, ending)) return format;
  }
  const std::string known =
      absl::StrJoin(SubnetFormats(), ", ",
                    [](std::string* out, const SubnetFormatInfo& info) { out->append(info.name); });
  return absl::InvalidArgumentError(
      name.empty()
          ? absl::StrCat("the name ", path, " does not tell its format: say --format ", known)
          : absl::StrCat("unknown format \"", name, "\": the formats are ", known));
}

absl::StatusOr<std::string> SubnetFile(SubnetFormat format, FoundSubnet* subnet, Client* client) {
  switch (format) {
    case SubnetFormat::kOnnx:
      return subnet->onnx;
    case SubnetFormat::kOnnxHalf:
      return subnet->recipe == "fp16" ? subnet->onnx : ToHalfModel(subnet->onnx);
    case SubnetFormat::kNetConfig:
      return WriteNetConfig(subnet->network);
    case SubnetFormat::kSafetensors:
      return StandaloneFile(subnet, client);
    case SubnetFormat::kCardMarkdown:
      return ModelCardMarkdown(ModelCard(*subnet));
    case SubnetFormat::kCardJson:
      return ModelCard(*subnet).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
             "\n";
  }
  return absl::InternalError("an unknown format");
}

}  // namespace forall
