// SPDX-License-Identifier: Apache-2.0
// Reading image sets as they are published: IDX and the binary CIFAR files.
#ifndef FORALL_DATA_PUBLISHED_IMAGES_H_
#define FORALL_DATA_PUBLISHED_IMAGES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/image_store.h"

namespace forall {

// Images of one published part, in the files' order: a label byte each, pixels NCHW.
struct PublishedPart {
  std::string labels;
  std::string pixels;
};

struct PublishedImages {
  ImageFormat format;
  std::vector<std::string> class_names;
  PublishedPart train;
  PublishedPart test;
};

// One pair of IDX files. InvalidArgument or DataLoss naming what is wrong with the bytes: another
// magic number, counts that differ, a length that is not the header's.
absl::StatusOr<PublishedPart> ParseIdx(absl::string_view images, absl::string_view labels,
                                       ImageFormat* format);

// CIFAR records: `label_bytes` label bytes, of which the last counts, then 3 x 32 x 32.
absl::StatusOr<PublishedPart> ParseCifar(absl::string_view bytes, int label_bytes, int classes);

// Whole folders. NotFound naming the first file that is missing.
absl::StatusOr<PublishedImages> ReadIdxFolder(const std::string& directory);
absl::StatusOr<PublishedImages> ReadCifar10Folder(const std::string& directory);
absl::StatusOr<PublishedImages> ReadCifar100Folder(const std::string& directory);

}  // namespace forall

#endif  // FORALL_DATA_PUBLISHED_IMAGES_H_
