// SPDX-License-Identifier: Apache-2.0
// dataset.json of a folder of images.
#ifndef FORALL_DATA_FOLDER_FOLDER_DESCRIPTION_H_
#define FORALL_DATA_FOLDER_FOLDER_DESCRIPTION_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset.h"

namespace forall {

// What `source` of a dataset.json says.
inline constexpr char kFolderSource[] = "imagefolder";

struct FolderDescription {
  std::string name;
  std::string path;                      // where the images lie
  std::array<std::string, 3> parts;      // per split: "train", "val" or "", below the path
  std::vector<std::string> folders;      // of the classes, below the part
  std::vector<std::string> class_names;  // as many
  PixelNormalization normalization;
  std::array<int64_t, 3> images = {};  // per split
  std::vector<std::string> skipped;    // "train/CLASS/FILE: why"

  // A file's whole path.
  std::string ImagePath(Split split, uint32_t label, absl::string_view file) const;
  std::string ToJson() const;
  // DataLoss when a field is missing or does not fit the others or the name.
  static absl::StatusOr<FolderDescription> Parse(absl::string_view json, absl::string_view name);
};

}  // namespace forall

#endif  // FORALL_DATA_FOLDER_FOLDER_DESCRIPTION_H_
