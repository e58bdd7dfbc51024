// SPDX-License-Identifier: Apache-2.0
// Datasets of small images that a user adds by name: read once from what they are published as,
// split, and kept as a folder of two files that every program of forall maps:
//
//   DIR/NAME/dataset.json   what it is: classes, shape, normalisation, sizes of the splits, source
//   DIR/NAME/images.bin     labels and pixels of the three splits (data/image_store.h)
//
// Sources: IDX files as the MNIST family comes (train-images-idx3-ubyte, train-labels-idx1-ubyte,
// t10k-..., each also as .gz; LeCun, Cortes, Burges), and the binary versions of CIFAR-10
// (data_batch_1.bin ... test_batch.bin, batches.meta.txt) and CIFAR-100 (train.bin, test.bin,
// fine_label_names.txt; Krizhevsky, 2009).
//
// Splits: the published test images are the test split. Validation is held out of the published
// training images by the rule of data/held_out.h; the rest is for training.
//
// Evaluation transform: as for Fashion-MNIST, antialiased bilinear resize (data/resize.h), then per
// channel (x / 255 - mean) / stddev, both taken over the training split.
#ifndef FORALL_DATA_PREPARED_DATASET_H_
#define FORALL_DATA_PREPARED_DATASET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset.h"

namespace forall {

enum class DatasetSource { kIdx, kCifar10, kCifar100 };
// "idx", "cifar10", "cifar100"; InvalidArgument lists them.
absl::StatusOr<DatasetSource> ParseDatasetSource(absl::string_view name);

struct PrepareOptions {
  // As base/identifier.h: the folder's and the dataset's name.
  std::string name;
  DatasetSource source = DatasetSource::kIdx;
  // Of the published training images, held out for validation: from 0.01 to 0.5.
  double validation_share = 0.1;
};

struct PreparedSizes {
  int64_t train = 0;
  int64_t validation = 0;
  int64_t test = 0;
  int classes = 0;
};

// Reads `source_directory` and writes `directory`/NAME, replacing what was there. NotFound naming
// the file that is missing; DataLoss for a file that is cut short or no such file; InvalidArgument
// for a bad name or share, images that are not square, or more than 256 classes.
absl::StatusOr<PreparedSizes> PrepareDataset(const PrepareOptions& options,
                                             const std::string& source_directory,
                                             const std::string& directory);

// InvalidArgument unless the name is an identifier and not that of a dataset which comes with
// forall.
absl::Status CheckDatasetName(absl::string_view name);

// Makes a folder of these files (name, content) and puts it in the place of `directory`/`name`: a
// former dataset of that name is whole until the new one is. Both kinds of dataset end with it.
absl::Status ReplaceDataset(const std::string& directory, const std::string& name,
                            const std::vector<std::pair<std::string, std::string>>& files);
// InvalidArgument unless it is from 0.01 to 0.5.
absl::Status CheckValidationShare(double share);

// Opens a dataset of these or one of image files (data/folder/image_folder.h), whose cache the
// environment describes. NotFound when there is no such folder; DataLoss when its files do not
// belong together.
absl::StatusOr<std::shared_ptr<const Dataset>> OpenPrepared(absl::string_view name, Split split,
                                                            const std::string& directory);

// Names of the datasets in `directory` that were added to it, sorted.
std::vector<std::string> PreparedNames(const std::string& directory);

}  // namespace forall

#endif  // FORALL_DATA_PREPARED_DATASET_H_
