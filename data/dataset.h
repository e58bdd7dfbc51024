// SPDX-License-Identifier: Apache-2.0
// Labelled images and their splits. Knows no network.
#ifndef FORALL_DATA_DATASET_H_
#define FORALL_DATA_DATASET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace forall {

// kTrain: what weights are learned from and calibrated on. kValidation: what a
// search sees. kTest: seen once, by the model card and the final report.
enum class Split { kTrain, kValidation, kTest };
const char* SplitName(Split split);  // "train", "validation", "test"
// InvalidArgument lists the three names.
absl::StatusOr<Split> ParseSplit(absl::string_view name);

// A stored byte b of channel c means (b / 255 - mean[c]) / stddev[c].
struct PixelNormalization {
  std::vector<float> mean;
  std::vector<float> stddev;
};

// Images that are held as bytes: all of a split, channels x side x side each, NCHW.
struct StoredPixels {
  int side = 0;
  absl::Span<const uint8_t> bytes;
};

// One split, in a fixed order that is part of the dataset's definition.
// Immutable; thread-safe.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual const std::string& name() const = 0;  // e.g. "fashion_mnist"
  virtual Split split() const = 0;
  virtual int64_t size() const = 0;  // images
  virtual int channels() const = 0;
  virtual int classes() const = 0;
  virtual const std::vector<std::string>& class_names() const = 0;
  // 64 hex digits over this split's images, labels and order: two machines with
  // equal checksums hold equal data.
  virtual const std::string& checksum() const = 0;

  // `index` must be in [0, size()).
  virtual int32_t label(int64_t index) const = 0;
  // Images `indices` by the evaluation transform of this dataset at resolution
  // x resolution, float, normalised, into `output` of indices.size() * channels
  // * resolution^2 values (NCHW). OutOfRange for a bad index, InvalidArgument
  // for a resolution outside 1..1024 or an output of another size. Where images are files,
  // FailedPrecondition naming one that is gone, changed or damaged.
  virtual absl::Status Load(absl::Span<const int64_t> indices, int resolution,
                            absl::Span<float> output) const = 0;
  // The same by what BatchNorm statistics are taken on: where the dataset has one, the training
  // transform, drawn from `seed` and each image's index alone. Here: the evaluation transform.
  virtual absl::Status LoadForCalibration(absl::Span<const int64_t> indices, int resolution,
                                          uint64_t seed, absl::Span<float> output) const {
    return Load(indices, resolution, output);
  }
  // Says that Load will be asked for these images soon. Returns at once; does not fail.
  virtual void Prefetch(absl::Span<const int64_t> indices, int resolution) const {}

  // What is stored, for a trainer that augments on its own device; lives as long as the dataset.
  // Nothing for a dataset whose images are files of any size.
  virtual std::optional<StoredPixels> stored_pixels() const { return std::nullopt; }
  virtual const PixelNormalization& normalization() const = 0;
};

inline constexpr int kMaxLoadResolution = 1024;

// What every Load demands of its arguments, for those that implement it: the errors that Load
// names.
absl::Status CheckLoad(const Dataset& dataset, absl::Span<const int64_t> indices, int resolution,
                       absl::Span<const float> output);

// The first `count` (at most size()) images of a fixed, seeded, class-balanced
// order of `dataset`: subsets for screening nest, so that an image of a small
// subset is also in every larger one.
std::vector<int64_t> ScreeningSubset(const Dataset& dataset, int64_t count);

// Opens a dataset by name: "fashion_mnist", or one that `forall dataset add` made
// (data/prepared_dataset.h, data/folder/image_folder.h). `directory` holds its folder; of
// Fashion-MNIST it may also be the folder itself, which tools/setup.sh makes as
// build/deps/fashion-mnist. NotFound says how to get it and lists the known names.
absl::StatusOr<std::shared_ptr<const Dataset>> OpenDataset(absl::string_view name, Split split,
                                                           const std::string& directory);

}  // namespace forall

#endif  // FORALL_DATA_DATASET_H_
