// SPDX-License-Identifier: Apache-2.0
#include "supernet/predictor/accuracy_predictor.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "supernet/safetensors.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormatVersion = 1;
constexpr size_t kMostLayers = 64;

int64_t CountFeatures(const std::vector<FeatureGroup>& features) {
  int64_t count = 0;
  for (const FeatureGroup& group : features) count += static_cast<int64_t>(group.values.size());
  return count;
}

absl::Status CheckFits(const PredictorFile& file) {
  if (file.layers.empty() || file.layers.size() > kMostLayers) {
    return absl::InvalidArgumentError(absl::StrCat("needs 1 to ", kMostLayers, " layers"));
  }
  int64_t width = CountFeatures(file.features);
  for (size_t i = 0; i < file.layers.size(); ++i) {
    const PredictorLayer& layer = file.layers[i];
    if (layer.in != width) {
      return absl::InvalidArgumentError(
          absl::StrCat("layers.", i, ": takes ", layer.in, " inputs, but ",
                       i == 0 ? "the features" : "the layer before", " make ", width));
    }
    if (layer.out < 1 || static_cast<int64_t>(layer.weight.size()) != layer.in * layer.out ||
        static_cast<int64_t>(layer.bias.size()) != layer.out) {
      return absl::InvalidArgumentError(absl::StrCat("layers.", i, ": weight and bias do not fit"));
    }
    width = layer.out;
  }
  if (width != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the last layer has ", width, " outputs; a predictor has one"));
  }
  return absl::OkStatus();
}

absl::StatusOr<FeatureGroup> ReadGroup(const Json& json, size_t index) {
  const std::string field = absl::StrCat(kPredictorKey, ".features[", index, "]");
  FeatureGroup group;
  if (!json.is_object() || !json.contains("dimension") || !json["dimension"].is_string() ||
      !json.contains("values") || !json["values"].is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": wants dimension and values"));
  }
  group.dimension = json["dimension"].get<std::string>();
  for (const Json& value : json["values"]) {
    if (!value.is_number_integer() || value < INT32_MIN || value > INT32_MAX) {
      return absl::InvalidArgumentError(absl::StrCat(field, ".values: wants whole numbers"));
    }
    group.values.push_back(value.get<int32_t>());
  }
  return group;
}

absl::Status ReadDescription(const std::string& text, PredictorFile* file) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("search_space") || !json["search_space"].is_string() ||
      !json.contains("revision") || !json["revision"].is_number_integer() ||
      !json.contains("scale") || !json["scale"].is_number() || !json.contains("features") ||
      !json["features"].is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(
        kPredictorKey, ": wants search_space, revision, scale and a list of features"));
  }
  if (!json.contains("format_version") || json["format_version"] != kFormatVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat(kPredictorKey, ".format_version: this build reads version ", kFormatVersion));
  }
  file->search_space = json["search_space"].get<std::string>();
  file->revision = json["revision"].get<int32_t>();
  file->scale = json["scale"].get<double>();
  for (size_t i = 0; i < json["features"].size(); ++i) {
    FORALL_ASSIGN_OR_RETURN(FeatureGroup group, ReadGroup(json["features"][i], i));
    file->features.push_back(std::move(group));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> ReadFloats(const SafetensorsFile& file, const std::string& name,
                                              size_t rank, std::vector<int64_t>* shape) {
  const SafetensorsView* tensor = file.Find(name);
  if (tensor == nullptr || tensor->shape.size() != rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", name, "' is missing or not of rank ", rank));
  }
  *shape = tensor->shape;
  std::vector<float> values(static_cast<size_t>(tensor->elements()));
  FORALL_RETURN_IF_ERROR(WithContext(CopyAsFloats(*tensor, absl::MakeSpan(values)), name));
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", name, "' has a value that is not finite"));
    }
  }
  return values;
}

absl::Status ReadLayers(const SafetensorsFile& safetensors, PredictorFile* file) {
  const size_t layers = safetensors.tensors().size() / 2;
  if (safetensors.tensors().size() % 2 != 0 || layers > kMostLayers) {
    return absl::InvalidArgumentError("wants a weight and a bias per layer, and nothing else");
  }
  for (size_t i = 0; i < layers; ++i) {
    PredictorLayer layer;
    std::vector<int64_t> shape;
    FORALL_ASSIGN_OR_RETURN(
        layer.weight, ReadFloats(safetensors, absl::StrCat("layers.", i, ".weight"), 2, &shape));
    layer.out = shape[0];
    layer.in = shape[1];
    FORALL_ASSIGN_OR_RETURN(
        layer.bias, ReadFloats(safetensors, absl::StrCat("layers.", i, ".bias"), 1, &shape));
    file->layers.push_back(std::move(layer));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> SerializePredictor(const PredictorFile& file) {
  FORALL_RETURN_IF_ERROR(CheckFits(file));
  Json json = {{"format_version", kFormatVersion},
               {"search_space", file.search_space},
               {"revision", file.revision},
               {"scale", file.scale}};
  json["features"] = Json::array();
  for (const FeatureGroup& group : file.features) {
    json["features"].push_back({{"dimension", group.dimension}, {"values", group.values}});
  }
  std::vector<SafetensorsEntry> entries;
  for (size_t i = 0; i < file.layers.size(); ++i) {
    const PredictorLayer& layer = file.layers[i];
    entries.push_back({absl::StrCat("layers.", i, ".weight"),
                       SafetensorsType::kF32,
                       {layer.out, layer.in},
                       layer.weight});
    entries.push_back(
        {absl::StrCat("layers.", i, ".bias"), SafetensorsType::kF32, {layer.out}, layer.bias});
  }
  return SerializeSafetensors(entries, {{kPredictorKey, json.dump()}});
}

absl::StatusOr<std::shared_ptr<const AccuracyPredictor>> AccuracyPredictor::Parse(
    std::string bytes, const std::string& source, std::shared_ptr<const Family> family) {
  FORALL_ASSIGN_OR_RETURN(const auto safetensors, SafetensorsFile::Parse(std::move(bytes), source));
  const auto description = safetensors->metadata().find(kPredictorKey);
  if (description == safetensors->metadata().end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        source, ": no accuracy predictor; make one of a checkpoint with forall predictor import"));
  }
  std::shared_ptr<AccuracyPredictor> predictor(new AccuracyPredictor);
  predictor->family_ = std::move(family);
  FORALL_RETURN_IF_ERROR(
      WithContext(ReadDescription(description->second, &predictor->file_), source));
  FORALL_RETURN_IF_ERROR(WithContext(ReadLayers(*safetensors, &predictor->file_), source));
  FORALL_RETURN_IF_ERROR(WithContext(CheckFits(predictor->file_), source));
  FORALL_RETURN_IF_ERROR(WithContext(predictor->Bind(), source));
  return std::shared_ptr<const AccuracyPredictor>(std::move(predictor));
}

absl::Status AccuracyPredictor::Bind() {
  const SearchSpace& space = family_->search_space();
  if (file_.search_space != space.id() || file_.revision != space.revision()) {
    return absl::InvalidArgumentError(absl::StrCat("it predicts for ", file_.search_space,
                                                   " revision ", file_.revision, ", not for ",
                                                   space.id(), " revision ", space.revision()));
  }
  int64_t next = 0;
  for (const FeatureGroup& group : file_.features) {
    BoundGroup bound;
    const std::optional<int> dimension = space.FindDimension(group.dimension);
    if (!dimension.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(space.id(), " has no dimension ", group.dimension));
    }
    bound.dimension = *dimension;
    for (const int32_t option : space.dimensions()[static_cast<size_t>(*dimension)].options) {
      const auto value = std::find(group.values.begin(), group.values.end(), option);
      bound.input_of_option.push_back(
          value == group.values.end() ? -1 : next + (value - group.values.begin()));
    }
    if (*std::max_element(bound.input_of_option.begin(), bound.input_of_option.end()) < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("its features know no option of ", group.dimension, " of ", space.id()));
    }
    next += static_cast<int64_t>(group.values.size());
    groups_.push_back(std::move(bound));
  }
  return absl::OkStatus();
}

bool AccuracyPredictor::Knows(const Architecture& architecture) const {
  return std::all_of(groups_.begin(), groups_.end(), [&](const BoundGroup& group) {
    const size_t choice =
        static_cast<size_t>(architecture.choices[static_cast<size_t>(group.dimension)]);
    return !family_->search_space().IsActive(architecture, group.dimension) ||
           group.input_of_option[choice] >= 0;
  });
}

std::optional<double> AccuracyPredictor::Predict(const Architecture& architecture) const {
  if (!Knows(architecture)) return std::nullopt;
  const SearchSpace& space = family_->search_space();
  const PredictorLayer& first = file_.layers.front();
  std::vector<double> values(first.bias.begin(), first.bias.end());
  for (const BoundGroup& group : groups_) {
    if (!space.IsActive(architecture, group.dimension)) continue;
    const size_t choice =
        static_cast<size_t>(architecture.choices[static_cast<size_t>(group.dimension)]);
    const int64_t input = group.input_of_option[choice];
    for (size_t o = 0; o < values.size(); ++o) {
      values[o] += static_cast<double>(
          first.weight[o * static_cast<size_t>(first.in) + static_cast<size_t>(input)]);
    }
  }
  for (size_t i = 1; i < file_.layers.size(); ++i) {
    const PredictorLayer& layer = file_.layers[i];
    for (double& value : values) value = std::max(value, 0.0);
    std::vector<double> next(layer.bias.begin(), layer.bias.end());
    for (size_t o = 0; o < next.size(); ++o) {
      const float* row = layer.weight.data() + o * values.size();
      double sum = 0;
      for (size_t k = 0; k < values.size(); ++k) sum += static_cast<double>(row[k]) * values[k];
      next[o] += sum;
    }
    values = std::move(next);
  }
  const double percent = values.front() * file_.scale;
  if (!std::isfinite(percent)) return std::nullopt;  // weights so large that the sums overflow
  return percent;
}

}  // namespace forall
