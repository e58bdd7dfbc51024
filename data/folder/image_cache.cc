// SPDX-License-Identifier: Apache-2.0
#include "data/folder/image_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr int64_t kPage = 4096;
constexpr int64_t kFreeBytes = int64_t{1} << 30;
// How much is written before the disk is looked at again.
constexpr int64_t kAccountBytes = int64_t{64} << 20;
// To be raised whenever decoding or resizing gives other bytes.
constexpr int kTransformVersion = 1;

int64_t RoundUp(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

bool WriteAll(int fd, const void* bytes, size_t size, int64_t offset) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t count = pwrite(fd, at, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += count;
    offset += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

// What the files of a folder take on disk.
int64_t DiskBytes(const std::string& directory) {
  int64_t bytes = 0;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    struct stat info;
    if (stat(entry->path().c_str(), &info) == 0) bytes += int64_t{info.st_blocks} * 512;
  }
  return bytes;
}

void RemoveOtherContents(const std::string& directory, const std::string& prefix,
                         const std::string& suffix) {
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (absl::StartsWith(name, prefix) && !absl::EndsWith(name, suffix) &&
        absl::EndsWith(name, ".images")) {
      std::error_code ignored;  // Another process may have done it.
      std::filesystem::remove(entry->path(), ignored);
    }
  }
}

// A file of `bytes` bytes that begins with `header`, at `path` unless there is one already.
absl::Status MakeFile(const std::string& path, const std::string& header, int64_t bytes) {
  std::string temporary = path + ".tmpXXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  const bool made = fd >= 0 && WriteAll(fd, header.data(), header.size(), 0) &&
                    ftruncate(fd, bytes) == 0 && fchmod(fd, 0644) == 0 &&
                    (link(temporary.c_str(), path.c_str()) == 0 || errno == EEXIST);
  const int error = errno;
  if (fd >= 0) {
    unlink(temporary.c_str());
    close(fd);
  }
  if (made) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot make ", path, ": ", std::strerror(error)));
}

}  // namespace

absl::StatusOr<ImageCacheOptions> ImageCacheOptions::FromEnvironment() {
  ImageCacheOptions options;
  const char* const place = std::getenv("FORALL_IMAGE_CACHE");
  const char* const gib = std::getenv("FORALL_IMAGE_CACHE_GIB");
  if (place != nullptr && absl::string_view(place) == "off") {
    options.enabled = false;
  } else if (place != nullptr) {
    options.directory = place;
  }
  if (gib == nullptr || *gib == '\0') return options;
  int64_t number = 0;
  if (!absl::SimpleAtoi(gib, &number) || number < 1 || number > 1 << 20) {
    return absl::InvalidArgumentError(
        absl::StrCat("FORALL_IMAGE_CACHE_GIB: \"", gib,
                     "\" is not a whole number of GiB from 1 to 1048576; FORALL_IMAGE_CACHE=off "
                     "turns the cache off"));
  }
  options.quota_bytes = number << 30;
  return options;
}

ImageCache::ImageCache(std::string directory, int64_t quota_bytes, int64_t images, int resolution)
    : directory_(std::move(directory)),
      quota_bytes_(quota_bytes),
      images_(images),
      resolution_(resolution),
      verified_(static_cast<size_t>(images)) {}

ImageCache::~ImageCache() {
  if (map_ != nullptr) munmap(const_cast<char*>(map_), static_cast<size_t>(FileBytes()));
  if (fd_ >= 0) close(fd_);
}

int64_t ImageCache::TableOffset(int64_t image) const {
  return kPage + image * static_cast<int64_t>(sizeof(uint32_t));
}

int64_t ImageCache::ImageOffset(int64_t image) const {
  return RoundUp(TableOffset(images_)) + image * ImageBytes();
}

absl::StatusOr<std::unique_ptr<ImageCache>> ImageCache::Open(const std::string& directory,
                                                             int64_t quota_bytes,
                                                             absl::string_view split,
                                                             const std::string& checksum,
                                                             int64_t images, int resolution) {
  FORALL_RETURN_IF_ERROR(CreateDirectories(directory));
  std::unique_ptr<ImageCache> cache(new ImageCache(directory, quota_bytes, images, resolution));
  std::string header =
      absl::StrCat("FORALL images ", kTransformVersion, "\n", split, "\n", checksum, "\n", images,
                   " x 3 x ", resolution, " x ", resolution, "\n");
  header.resize(kPage, '\0');
  const std::string suffix =
      absl::StrCat("-", checksum.substr(0, 16), "-", kTransformVersion, ".images");
  RemoveOtherContents(directory, absl::StrCat(split, "-"), suffix);
  const std::string path = absl::StrCat(directory, "/", split, "-", resolution, suffix);
  FORALL_RETURN_IF_ERROR(MakeFile(path, header, cache->FileBytes()));
  absl::Status status = cache->Map(path, header);
  if (absl::IsDataLoss(status)) {
    // Not ours, or damaged. Whoever has it mapped keeps the old file.
    unlink(path.c_str());
    FORALL_RETURN_IF_ERROR(MakeFile(path, header, cache->FileBytes()));
    status = cache->Map(path, header);
  }
  FORALL_RETURN_IF_ERROR(status);
  cache->unaccounted_ = kAccountBytes;
  return cache;
}

absl::Status ImageCache::Map(const std::string& path, const std::string& header) {
  if (fd_ >= 0) close(fd_);
  fd_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat info;
  if (fd_ < 0 || fstat(fd_, &info) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  std::string found(header.size(), '\0');
  if (info.st_size != FileBytes() ||
      pread(fd_, found.data(), found.size(), 0) != static_cast<ssize_t>(found.size()) ||
      found != header) {
    return absl::DataLossError(absl::StrCat(path, " is of something else"));
  }
  void* const map = mmap(nullptr, static_cast<size_t>(FileBytes()), PROT_READ, MAP_SHARED, fd_, 0);
  if (map == MAP_FAILED) {
    return absl::UnavailableError(absl::StrCat("cannot map ", path, ": ", std::strerror(errno)));
  }
  map_ = static_cast<const char*>(map);
  return absl::OkStatus();
}

// Never 0, which is what a table holds at first. Two images of the same bytes have different ones.
uint32_t ImageCache::Checksum(int64_t image, absl::Span<const uint8_t> bytes) const {
  const uLong crc = crc32_z(crc32_z(0, reinterpret_cast<const Bytef*>(&image), sizeof(image)),
                            bytes.data(), bytes.size());
  return crc == 0 ? 1 : static_cast<uint32_t>(crc);
}

uint32_t ImageCache::Recorded(int64_t image) const {
  // Written by this and other processes through the file, never through the map.
  return __atomic_load_n(reinterpret_cast<const uint32_t*>(map_ + TableOffset(image)),
                         __ATOMIC_ACQUIRE);
}

bool ImageCache::Has(int64_t image) const { return Recorded(image) != 0; }

bool ImageCache::Read(int64_t image, absl::Span<uint8_t> bytes) const {
  const uint32_t recorded = Recorded(image);
  if (recorded == 0) return false;
  std::memcpy(bytes.data(), map_ + ImageOffset(image), bytes.size());
  // Whoever writes it again writes the same bytes: once is enough.
  std::atomic<bool>& verified = verified_[static_cast<size_t>(image)];
  if (verified.load(std::memory_order_relaxed)) return true;
  if (Checksum(image, bytes) != recorded) return false;
  verified.store(true, std::memory_order_relaxed);
  return true;
}

bool ImageCache::HasRoom(int64_t bytes) {
  if (full_.load(std::memory_order_relaxed)) return false;
  if (unaccounted_.fetch_add(bytes) + bytes < kAccountBytes) return true;
  unaccounted_ = 0;
  struct statvfs disk;
  const bool known = statvfs(directory_.c_str(), &disk) == 0;
  const int64_t free =
      known ? static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize) : 0;
  // The next look comes that much later.
  if (DiskBytes(directory_) + bytes <= quota_bytes_ && free > kFreeBytes) return true;
  if (!full_.exchange(true)) {
    FORALL_LOG(WARNING) << "the cache of decoded images is full: further images are decoded "
                           "whenever they are wanted (FORALL_IMAGE_CACHE names another folder, "
                           "FORALL_IMAGE_CACHE_GIB another quota) folder="
                        << directory_ << " quota_gib=" << (quota_bytes_ >> 30)
                        << " disk_free_mib=" << (free >> 20);
  }
  return false;
}

void ImageCache::Write(int64_t image, absl::Span<const uint8_t> bytes) {
  if (!HasRoom(static_cast<int64_t>(bytes.size()))) return;
  const uint32_t checksum = Checksum(image, bytes);
  if (WriteAll(fd_, bytes.data(), bytes.size(), ImageOffset(image)) &&
      WriteAll(fd_, &checksum, sizeof(checksum), TableOffset(image))) {
    return;
  }
  const int error = errno;
  if (!full_.exchange(true)) {
    FORALL_LOG(WARNING) << "the cache of decoded images cannot be written: " << std::strerror(error)
                        << " folder=" << directory_;
  }
}

}  // namespace forall
