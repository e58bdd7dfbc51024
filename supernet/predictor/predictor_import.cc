// SPDX-License-Identifier: Apache-2.0
#include "supernet/predictor/predictor_import.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "supernet/importer/torch_checkpoint.h"

namespace forall {
namespace {

constexpr char kKernelFirst[] = "kernel-expand-resolution";
constexpr char kResolutionFirst[] = "resolution-kernel-expand";
constexpr int32_t kLeastTutorialResolution = 112;
constexpr int32_t kMostTutorialResolution = 224;

// Dimensions whose name begins with `letter` and goes on with a digit, in the space's order: blocks
// follow each other there.
void AddGroups(const SearchSpace& space, char letter, std::vector<FeatureGroup>* groups) {
  for (const Dimension& dimension : space.dimensions()) {
    if (dimension.name.size() > 1 && dimension.name[0] == letter && dimension.name[1] >= '0' &&
        dimension.name[1] <= '9') {
      groups->push_back({dimension.name, dimension.options});
    }
  }
}

// A ResNet's widths as its spec lists them: published features index that list, where a width may
// stand twice.
void AddListedWidths(const Family& family, std::vector<FeatureGroup>* groups) {
  const auto spec = nlohmann::json::parse(family.Spec(), nullptr, /*allow_exceptions=*/false);
  if (!spec.is_object() || !spec.contains("stem") || !spec["stem"].contains("inner_widths")) return;
  groups->push_back({"w0.1", spec["stem"]["inner_widths"].get<std::vector<int32_t>>()});
  groups->push_back({"w0.2", spec["stem"]["widths"].get<std::vector<int32_t>>()});
  for (size_t s = 0; s < spec["stages"].size(); ++s) {
    groups->push_back(
        {absl::StrCat("w", s + 1), spec["stages"][s]["widths"].get<std::vector<int32_t>>()});
  }
}

std::vector<float> Floats(const TorchTensor& tensor, absl::Status* status) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  status->Update(WithContext(CopyAsFloats(tensor, absl::MakeSpan(values)), tensor.name));
  return values;
}

// A hostile file may name one storage often: the published ones have 371,200 weights.
constexpr int64_t kMostWidth = 1 << 16;
constexpr int64_t kMostWeights = 1 << 26;

absl::StatusOr<std::vector<PredictorLayer>> ReadLayers(const std::vector<TorchTensor>& tensors) {
  std::vector<PredictorLayer> layers;
  const TorchTensor* base = nullptr;
  absl::Status status;
  int64_t weights = 0;
  for (const TorchTensor& tensor : tensors) {
    weights += std::min(tensor.elements(), kMostWeights + 1);
    if (weights > kMostWeights) {
      return absl::InvalidArgumentError(
          absl::StrCat("has more than ", kMostWeights, " weights: no accuracy predictor"));
    }
    absl::string_view name = tensor.name;
    if (name == "base_acc") {
      base = &tensor;
    } else if (absl::ConsumeSuffix(&name, "weight") && tensor.shape.size() == 2 &&
               tensor.shape[0] >= 1 && tensor.shape[0] <= kMostWidth && tensor.shape[1] >= 1 &&
               tensor.shape[1] <= kMostWidth) {
      layers.push_back({tensor.shape[1], tensor.shape[0], Floats(tensor, &status),
                        std::vector<float>(static_cast<size_t>(tensor.shape[0]), 0.0f)});
    } else if (absl::EndsWith(tensor.name, "bias") && !layers.empty() &&
               tensor.shape == std::vector<int64_t>{layers.back().out}) {
      layers.back().bias = Floats(tensor, &status);
    } else {
      return absl::InvalidArgumentError(absl::StrCat("'", tensor.name.substr(0, 200),
                                                     "' is no part of a chain of linear layers"));
    }
  }
  if (layers.empty()) return absl::InvalidArgumentError("holds no linear layer");
  if (base != nullptr) {
    if (base->elements() != 1) return absl::InvalidArgumentError("base_acc is not one number");
    layers.back().bias.front() += Floats(*base, &status).front();
  }
  FORALL_RETURN_IF_ERROR(status);
  return layers;
}

}  // namespace

absl::StatusOr<FeatureOrder> ParseFeatureOrder(absl::string_view text) {
  if (text == kKernelFirst) return FeatureOrder::kKernelExpandResolution;
  if (text == kResolutionFirst) return FeatureOrder::kResolutionKernelExpand;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown order \"", text, "\"; use ", kKernelFirst, " or ", kResolutionFirst));
}

absl::StatusOr<std::vector<FeatureGroup>> PublishedFeatures(
    const Family& family, FeatureOrder order, const std::vector<int32_t>& resolutions) {
  const SearchSpace& space = family.search_space();
  const std::optional<int> resolution = space.FindDimension("r");
  if (!resolution.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(space.id(), " does not search the resolution"));
  }
  std::vector<FeatureGroup> groups;
  if (order == FeatureOrder::kKernelExpandResolution) {
    if (!space.FindDimension("k1.1").has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          space.id(), " searches no kernels: its predictors have the order ", kResolutionFirst));
    }
    FeatureGroup known{"r", resolutions};
    for (int32_t r = kLeastTutorialResolution; resolutions.empty() && r <= kMostTutorialResolution;
         r += 16) {
      known.values.push_back(r);
    }
    AddGroups(space, 'k', &groups);
    AddGroups(space, 'e', &groups);
    groups.push_back(std::move(known));
    return groups;
  }
  groups.push_back(
      {"r", resolutions.empty() ? space.dimensions()[*resolution].options : resolutions});
  if (const std::optional<int> stem = space.FindDimension("d0"); stem.has_value()) {
    groups.push_back({"d0", space.dimensions()[*stem].options});
  }
  AddListedWidths(family, &groups);
  AddGroups(space, 'k', &groups);
  AddGroups(space, 'e', &groups);
  return groups;
}

absl::StatusOr<PredictorFile> ImportPredictor(const std::string& path, const Family& family,
                                              FeatureOrder order,
                                              const std::vector<int32_t>& resolutions) {
  PredictorFile file;
  file.search_space = family.search_space().id();
  file.revision = family.search_space().revision();
  FORALL_ASSIGN_OR_RETURN(file.features, PublishedFeatures(family, order, resolutions));
  FORALL_ASSIGN_OR_RETURN(const auto checkpoint, TorchCheckpoint::Open(path));
  absl::StatusOr<std::vector<PredictorLayer>> layers = ReadLayers(checkpoint->tensors());
  if (!layers.ok()) return WithContext(layers.status(), path);
  file.layers = *std::move(layers);
  int64_t features = 0;
  for (const FeatureGroup& group : file.features) {
    features += static_cast<int64_t>(group.values.size());
  }
  if (file.layers.front().in != features) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": takes ", file.layers.front().in, " features, but this order over ",
        file.search_space, " makes ", features,
        "; name the order, and the resolutions that it was trained for, as its authors used them"));
  }
  return file;
}

}  // namespace forall
