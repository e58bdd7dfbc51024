// SPDX-License-Identifier: Apache-2.0
// The layout of a folder of images: which files are images of which class.
#ifndef FORALL_DATA_FOLDER_FOLDER_SCAN_H_
#define FORALL_DATA_FOLDER_FOLDER_SCAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace forall {

struct FoundImage {
  std::string name;  // below its class's folder
  uint32_t label = 0;
};

// Images by class, and within a class by name, as torchvision's ImageFolder orders them.
struct FoundPart {
  std::string folder;  // "train", "val", or "" where the classes lie directly below the root
  std::vector<FoundImage> images;
};

struct FoundFolder {
  std::vector<std::string> classes;  // names of the classes' folders, sorted
  FoundPart train;
  FoundPart val;  // without images where there is none
  // Files that lie in a class's folder and are not called .jpg, .jpeg or .png (in any case).
  int64_t ignored = 0;
  std::string ignored_example;
};

// PATH/train/CLASS/... and, if there, PATH/val/CLASS/...; without a folder `train`, PATH/CLASS/....
// Below a class's folder images may lie at any depth up to eight; hidden files are not looked at.
// NotFound when there are no classes; InvalidArgument naming a class of train without images, a
// class of val that train lacks, or a folder with fewer than two classes.
absl::StatusOr<FoundFolder> ScanFolder(const std::string& path);

}  // namespace forall

#endif  // FORALL_DATA_FOLDER_FOLDER_SCAN_H_
