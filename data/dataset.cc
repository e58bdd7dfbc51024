// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/random.h"
#include "data/fashion_mnist.h"
#include "data/prepared_dataset.h"

namespace forall {

const char* SplitName(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kValidation:
      return "validation";
    case Split::kTest:
      return "test";
  }
  return "unknown";
}

absl::StatusOr<Split> ParseSplit(absl::string_view name) {
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    if (name == SplitName(split)) return split;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("split: \"", name, "\" must be one of train, validation, test"));
}

absl::Status CheckLoad(const Dataset& dataset, absl::Span<const int64_t> indices, int resolution,
                       absl::Span<const float> output) {
  if (resolution < 1 || resolution > kMaxLoadResolution) {
    return absl::InvalidArgumentError(
        absl::StrCat("resolution: ", resolution, " must be in 1..", kMaxLoadResolution));
  }
  const size_t per_image = static_cast<size_t>(dataset.channels()) *
                           static_cast<size_t>(resolution) * static_cast<size_t>(resolution);
  if (output.size() != indices.size() * per_image) {
    return absl::InvalidArgumentError(
        absl::StrCat("output: holds ", output.size(), " values; ", indices.size(), " images at ",
                     resolution, "x", resolution, " need ", indices.size() * per_image));
  }
  for (const int64_t index : indices) {
    if (index < 0 || index >= dataset.size()) {
      return absl::OutOfRangeError(
          absl::StrCat("image ", index, " is not in 0..", dataset.size() - 1, " of the ",
                       SplitName(dataset.split()), " split of ", dataset.name()));
    }
  }
  return absl::OkStatus();
}

std::vector<int64_t> ScreeningSubset(const Dataset& dataset, int64_t count) {
  std::vector<std::vector<int64_t>> by_class(dataset.classes());
  for (int64_t i = 0; i < dataset.size(); ++i) by_class[dataset.label(i)].push_back(i);
  for (size_t c = 0; c < by_class.size(); ++c) {
    Random::ForStream(Fnv1a64("forall screening order"), c).Shuffle(&by_class[c]);
  }
  count = std::clamp<int64_t>(count, 0, dataset.size());
  std::vector<int64_t> subset;
  subset.reserve(count);
  for (size_t row = 0; static_cast<int64_t>(subset.size()) < count; ++row) {
    for (const std::vector<int64_t>& images : by_class) {
      if (row < images.size() && static_cast<int64_t>(subset.size()) < count) {
        subset.push_back(images[row]);
      }
    }
  }
  return subset;
}

absl::StatusOr<std::shared_ptr<const Dataset>> OpenDataset(absl::string_view name, Split split,
                                                           const std::string& directory) {
  if (name == "fashion_mnist") return OpenFashionMnist(split, directory);
  auto prepared = OpenPrepared(name, split, directory);
  if (!absl::IsNotFound(prepared.status()) && !absl::IsInvalidArgument(prepared.status())) {
    return prepared;
  }
  std::vector<std::string> known = PreparedNames(directory);
  known.insert(known.begin(), "fashion_mnist");
  return absl::NotFoundError(absl::StrCat("no dataset is called \"", name, "\" in ", directory,
                                          "; known are ", absl::StrJoin(known, ", "),
                                          "; forall dataset add makes one"));
}

}  // namespace forall
