// SPDX-License-Identifier: Apache-2.0
// What forall keeps about the images of a folder (images stay where they are): for every split, in
// its order, each file's name below its class's folder, its class, size and checksum. One file, to
// be memory-mapped: ImageNet's 1.28 million take 42 MB.
//
//   8 bytes   "FORALLIX"
//   u32       version (1), classes
//   3 x       train, validation, test: u64 images, u64 bytes of names, 64 hex digits (the split's
//             checksum), u32 CRC-32 of the split's section
//   then per split: u32 labels, u32 sizes, u32 CRC-32 of each file, u32 end of each name, the
//   names,
//             and up to three zero bytes so that the next section is aligned
//
// Integers are in the machine's own byte order: every machine makes its own index.
#ifndef FORALL_DATA_FOLDER_FOLDER_INDEX_H_
#define FORALL_DATA_FOLDER_FOLDER_INDEX_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "data/dataset.h"

namespace forall {

struct IndexedImage {
  std::string name;  // below its class's folder
  uint32_t label = 0;
  uint32_t size = 0;  // bytes
  uint32_t crc = 0;   // zlib's CRC-32 of the file
};

struct IndexedSplit {
  std::vector<IndexedImage> images;
  // SHA-256 over each image's SHA-256 (32 bytes) and label (u32), in order: contents, classes and
  // order, but no names and no paths.
  std::string checksum;
};

// The file's bytes, splits in the order of enum Split. ResourceExhausted for more than 4 GiB of
// names in one split.
absl::StatusOr<std::string> SerializeFolderIndex(int classes,
                                                 const std::array<IndexedSplit, 3>& splits);

// One split of an index. Immutable; thread-safe.
class FolderIndex {
 public:
  // Maps the file. NotFound when there is none; DataLoss naming it when it is damaged or of other
  // classes than `classes`.
  static absl::StatusOr<std::unique_ptr<FolderIndex>> Open(const std::string& path, Split split,
                                                           int classes);

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  const std::string& checksum() const { return checksum_; }
  uint32_t label(int64_t image) const { return labels_[static_cast<size_t>(image)]; }
  uint32_t file_size(int64_t image) const { return sizes_[static_cast<size_t>(image)]; }
  uint32_t file_crc(int64_t image) const { return crcs_[static_cast<size_t>(image)]; }
  absl::string_view name(int64_t image) const;

 private:
  FolderIndex() = default;
  absl::Status Read(Split split, int classes);

  std::unique_ptr<MappedFile> mapped_;
  absl::Span<const uint32_t> labels_;
  absl::Span<const uint32_t> sizes_;
  absl::Span<const uint32_t> crcs_;
  absl::Span<const uint32_t> name_ends_;
  absl::string_view names_;
  std::string checksum_;
};

}  // namespace forall

#endif  // FORALL_DATA_FOLDER_FOLDER_INDEX_H_
