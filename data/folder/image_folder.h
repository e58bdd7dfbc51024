// SPDX-License-Identifier: Apache-2.0
// Datasets of image files in folders of classes, ImageNet's layout: JPEG and PNG of any size, which
// stay where they are. What is kept beside them:
//
//   DIR/NAME/dataset.json   classes, where the images lie, sizes of the splits, what was left out
//   DIR/NAME/images.idx     the images of every split (data/folder/folder_index.h)
//   DIR/NAME/cache/         decoded images, ready to be mapped (data/folder/image_cache.h)
//
// Splits: PATH/val is the test split; validation is held out of PATH/train by the rule of
// data/held_out.h. Without PATH/val, a test split of the same share is held out of train as well.
// Classes are numbered by the names of their folders, sorted; images are ordered by class and name.
//
// Transforms: data/image/image_transform.h's, then per channel (x / 255 - mean) / stddev with
// ImageNet's mean and deviation. LoadForCalibration applies the training transform.
#ifndef FORALL_DATA_FOLDER_IMAGE_FOLDER_H_
#define FORALL_DATA_FOLDER_IMAGE_FOLDER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset.h"
#include "data/folder/image_cache.h"
#include "data/prepared_dataset.h"

namespace forall {

struct FolderOptions {
  std::string name;  // as PrepareOptions
  double validation_share = 0.1;
  // Whether images that cannot be decoded are left out instead of refusing the folder.
  bool skip_corrupt = false;
  // A file of lines "FOLDER READABLE NAME", one per class in any order (ImageNet's
  // LOC_synset_mapping.txt); empty: classes are called as their folders.
  std::string class_names;
  int threads = 0;  // 0: all usable cores
  // Called now and then, by one thread at a time: images read so far, of how many, and how many of
  // them cannot be decoded.
  std::function<void(int64_t done, int64_t total, int64_t bad)> progress;
};

struct FolderFindings {
  std::vector<std::string> corrupt;  // "train/CLASS/FILE: what is wrong", in order
  int64_t ignored = 0;               // as FoundFolder
  std::string ignored_example;
};

// Reads, hashes and decodes every image of `path` once, on all cores, and writes `directory`/NAME,
// replacing what was there only when all went well. DataLoss when images cannot be decoded and are
// not to be skipped (`findings` lists them); the errors of ScanFolder; InvalidArgument for a bad
// name or share or a file of class names that does not fit, or where a split would be empty.
absl::StatusOr<PreparedSizes> PrepareImageFolder(const FolderOptions& options,
                                                 const std::string& path,
                                                 const std::string& directory,
                                                 FolderFindings* findings);

// `folder` is DIR/NAME and `description` its dataset.json. Looks at no image. Load reads each file
// that the cache does not have, checks its size and checksum, and decodes on all cores; it fails
// with FailedPrecondition, naming the file, when one is missing or is not what was added.
absl::StatusOr<std::shared_ptr<const Dataset>> OpenImageFolder(absl::string_view name, Split split,
                                                               const std::string& folder,
                                                               absl::string_view description,
                                                               const ImageCacheOptions& cache);

// The corrupt images that were left out when `folder` was added; empty for other datasets.
std::vector<std::string> SkippedImages(const std::string& folder);

}  // namespace forall

#endif  // FORALL_DATA_FOLDER_IMAGE_FOLDER_H_
