// SPDX-License-Identifier: Apache-2.0
// One file that holds a small dataset ready to be memory-mapped: every split's
// labels and pixels, each split with its own checksum. Written once from
// whatever a dataset comes as.
//
//   8 bytes   "FORALLDS"
//   u32       version (1), then classes, channels, height, width
//   3 x       train, validation, test: u64 images, 64 hex digits SHA-256 of the
//   split's bytes then, per split: one label byte per image, then the images
//   (NCHW bytes)
//
// Integers are little-endian.
#ifndef FORALL_DATA_IMAGE_STORE_H_
#define FORALL_DATA_IMAGE_STORE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "data/dataset.h"

namespace forall {

struct ImageFormat {
  int classes = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  int64_t image_bytes() const { return int64_t{channels} * height * width; }
  friend bool operator==(const ImageFormat& a, const ImageFormat& b) {
    return a.classes == b.classes && a.channels == b.channels && a.height == b.height &&
           a.width == b.width;
  }
};

// Labels (one byte each) followed by as many images, per split in the order of
// enum Split.
struct ImageStoreContent {
  std::array<std::string, 3> labels;
  std::array<std::string, 3> pixels;
};

// The file's bytes. The content must fit the format.
std::string SerializeImageStore(const ImageFormat& format, const ImageStoreContent& content);

// One split of a store. Immutable; thread-safe.
class ImageStoreSplit {
 public:
  // Memory-maps the file. NotFound when there is none; DataLoss when it is cut
  // short, has another format than `expected`, the split's bytes do not have
  // the stored checksum, or a label is no class. Messages name the file.
  static absl::StatusOr<std::unique_ptr<ImageStoreSplit>> Open(const std::string& path, Split split,
                                                               const ImageFormat& expected);
  // The same over bytes in memory; `source` names them in messages.
  static absl::StatusOr<std::unique_ptr<ImageStoreSplit>> Parse(std::string bytes, Split split,
                                                                const ImageFormat& expected,
                                                                const std::string& source);

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  absl::Span<const uint8_t> labels() const { return labels_; }
  absl::Span<const uint8_t> pixels() const { return pixels_; }
  const std::string& checksum() const { return checksum_; }

 private:
  ImageStoreSplit() = default;
  absl::Status Read(absl::string_view bytes, Split split, const ImageFormat& expected,
                    const std::string& source);

  std::unique_ptr<MappedFile> mapped_;
  std::string owned_;
  absl::Span<const uint8_t> labels_;
  absl::Span<const uint8_t> pixels_;
  std::string checksum_;
};

}  // namespace forall

#endif  // FORALL_DATA_IMAGE_STORE_H_
