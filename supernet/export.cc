// SPDX-License-Identifier: Apache-2.0
#include "supernet/export.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "space/identity.h"
#include "supernet/onnx/calibration.h"
#include "supernet/onnx/exporter.h"
#include "supernet/onnx/half_model.h"
#include "supernet/subnet_weights.h"

namespace forall {
namespace {

absl::Status CheckDataset(const Supernet& supernet, const Dataset& train) {
  const Family& family = supernet.family();
  if (!supernet.dataset().empty() && supernet.dataset() != train.name()) {
    return absl::InvalidArgumentError(absl::StrCat("dataset: the supernet was trained on \"",
                                                   supernet.dataset(), "\", not on \"",
                                                   train.name(), "\""));
  }
  if (train.split() != Split::kTrain) {
    return absl::InvalidArgumentError(
        absl::StrCat("dataset: calibration takes the train split, not ", SplitName(train.split())));
  }
  if (train.channels() != family.input_channels() || train.classes() != family.classes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dataset: \"", train.name(), "\" has ", train.channels(), " channels and ", train.classes(),
        " classes, the supernet ", family.input_channels(), " and ", family.classes()));
  }
  return absl::OkStatus();
}

// Batches of `indices` in their order; the last one may be smaller.
class DatasetBatches {
 public:
  DatasetBatches(const Dataset& dataset, std::vector<int64_t> indices,
                 const CalibrationOptions& options, const FeatureShape& input)
      : dataset_(dataset), indices_(std::move(indices)), options_(options), input_(input) {}

  absl::StatusOr<bool> Next(Tensor* tensor) {
    if (next_ == indices_.size()) return false;
    const size_t count = std::min(static_cast<size_t>(options_.batch), indices_.size() - next_);
    tensor->shape = {static_cast<int64_t>(count), input_.channels, input_.height, input_.width};
    tensor->values.resize(count * static_cast<size_t>(input_.elements()));
    FORALL_RETURN_IF_ERROR(dataset_.LoadForCalibration(
        absl::MakeConstSpan(indices_).subspan(next_, count), static_cast<int>(input_.height),
        options_.seed, absl::MakeSpan(tensor->values)));
    next_ += count;
    return true;
  }

 private:
  const Dataset& dataset_;
  const std::vector<int64_t> indices_;
  const CalibrationOptions options_;
  const FeatureShape input_;
  size_t next_ = 0;
};

}  // namespace

std::vector<int64_t> CalibrationImages(int64_t dataset_size, int64_t count, uint64_t seed) {
  std::vector<int64_t> indices(static_cast<size_t>(std::max<int64_t>(dataset_size, 0)));
  std::iota(indices.begin(), indices.end(), 0);
  Random random(seed);
  random.Shuffle(&indices);
  indices.resize(std::min(indices.size(), static_cast<size_t>(std::max<int64_t>(count, 0))));
  return indices;
}

absl::StatusOr<ExportedSubnet> ExportSubnet(const Supernet& supernet,
                                            const Architecture& architecture, const Dataset& train,
                                            const CalibrationOptions& calibration,
                                            const DeploymentRecipe& recipe,
                                            const SessionOptions& session) {
  if (recipe.precision == Precision::kInt8) {
    return absl::UnimplementedError(
        absl::StrCat("recipe: ", RecipeText(recipe), " cannot be exported yet; use fp32 or fp16"));
  }
  FORALL_RETURN_IF_ERROR(CheckDataset(supernet, train));
  if (calibration.images < 1 || calibration.batch < 1) {
    return absl::InvalidArgumentError("calibration: images and batch must be at least 1");
  }
  const SearchSpace& space = supernet.family().search_space();
  FORALL_ASSIGN_OR_RETURN(const Network network, supernet.family().Describe(architecture));
  FORALL_ASSIGN_OR_RETURN(SubnetWeights weights, ExtractWeights(supernet, network));

  std::vector<int64_t> images =
      CalibrationImages(train.size(), calibration.images, calibration.seed);
  ExportedSubnet exported;
  exported.arch_key = ArchKey(space, architecture);
  exported.calibration_id = CalibrationId(train.name(), SplitName(train.split()),
                                          calibration.images, calibration.batch, calibration.seed);
  DatasetBatches batches(train, std::move(images), calibration, network.input);
  FORALL_ASSIGN_OR_RETURN(
      const std::vector<BatchNormStatistics> statistics,
      Calibrate(
          network, weights, [&](Tensor* tensor) { return batches.Next(tensor); }, session));
  FORALL_RETURN_IF_ERROR(ApplyStatistics(network, statistics, &weights));

  OnnxExportOptions options;
  options.metadata = {{kMetadataArchKey, exported.arch_key},
                      {kMetadataArchitecture, space.ToJson(space.Canonical(architecture))},
                      {kMetadataCalibrationId, exported.calibration_id},
                      {kMetadataDataset, train.name()},
                      {kMetadataRecipe, RecipeText(recipe)},
                      {kMetadataResolution, absl::StrCat(network.input.height)},
                      {kMetadataSearchSpace, space.id()},
                      {kMetadataSupernet, supernet.hash()}};
  FORALL_ASSIGN_OR_RETURN(exported.bytes, BuildOnnxModel(network, weights, options));
  if (recipe.precision == Precision::kFp16) {
    FORALL_ASSIGN_OR_RETURN(exported.bytes, ToHalfModel(exported.bytes));
  }
  FORALL_RETURN_IF_ERROR(CheckOnnxModel(exported.bytes));
  exported.sha256 = Sha256Hex(exported.bytes);
  return exported;
}

}  // namespace forall
