// SPDX-License-Identifier: Apache-2.0
// Images of one split at one resolution after resizing and cropping, as bytes in one file that
// every process of a machine maps: decoded once, read many times.
//
//   4096 bytes   header: what the images are of
//   N x u32      per image: 0, or the checksum of its bytes; padded to 4096 bytes
//   N images     3 x R x R bytes each
//
// The file is sparse: an image takes space when it was first wanted. An image counts as there when
// its bytes have the checksum, so that one half-written when a machine failed is decoded again, and
// processes that write the same image write the same bytes: nobody locks anything.
#ifndef FORALL_DATA_FOLDER_IMAGE_CACHE_H_
#define FORALL_DATA_FOLDER_IMAGE_CACHE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace forall {

struct ImageCacheOptions {
  // Off: every image is decoded whenever it is wanted.
  bool enabled = true;
  // Of all datasets' caches, each in a folder of its name; empty: `cache` in the dataset's folder.
  std::string directory;
  // Bytes on disk of one dataset's cache, all splits and resolutions together, to 64 MiB a process.
  // When they are used up, or the disk has less than 1 GiB left, further images are decoded
  // whenever they are wanted.
  int64_t quota_bytes = int64_t{64} << 30;

  // From $FORALL_IMAGE_CACHE (a folder, or "off") and $FORALL_IMAGE_CACHE_GIB. InvalidArgument when
  // the latter is no whole number of GiB.
  static absl::StatusOr<ImageCacheOptions> FromEnvironment();
};

// Thread-safe, and safe among processes.
class ImageCache {
 public:
  // Opens or makes the file of `split` (its name) at `resolution` in `directory`. Files of the
  // split that are of other contents than `checksum` are removed.
  static absl::StatusOr<std::unique_ptr<ImageCache>> Open(const std::string& directory,
                                                          int64_t quota_bytes,
                                                          absl::string_view split,
                                                          const std::string& checksum,
                                                          int64_t images, int resolution);
  ~ImageCache();
  ImageCache(const ImageCache&) = delete;
  ImageCache& operator=(const ImageCache&) = delete;

  // Whether the image seems to be there; cheap.
  bool Has(int64_t image) const;
  // Copies the image; false, leaving anything in `bytes`, when it is not there.
  bool Read(int64_t image, absl::Span<uint8_t> bytes) const;
  // Keeps the image, if there is room. Logs the first failure; there is nothing a caller could do.
  void Write(int64_t image, absl::Span<const uint8_t> bytes);

 private:
  ImageCache(std::string directory, int64_t quota_bytes, int64_t images, int resolution);
  absl::Status Map(const std::string& path, const std::string& header);
  bool HasRoom(int64_t bytes);
  uint32_t Checksum(int64_t image, absl::Span<const uint8_t> bytes) const;
  uint32_t Recorded(int64_t image) const;
  int64_t ImageBytes() const { return int64_t{3} * resolution_ * resolution_; }
  int64_t TableOffset(int64_t image) const;
  int64_t ImageOffset(int64_t image) const;
  int64_t FileBytes() const { return ImageOffset(images_); }

  const std::string directory_;
  const int64_t quota_bytes_;
  const int64_t images_;
  const int resolution_;
  int fd_ = -1;
  const char* map_ = nullptr;
  mutable std::vector<std::atomic<bool>> verified_;  // by this process
  std::atomic<int64_t> unaccounted_{0};              // written since the disk was looked at
  std::atomic<bool> full_{false};
};

}  // namespace forall

#endif  // FORALL_DATA_FOLDER_IMAGE_CACHE_H_
