// SPDX-License-Identifier: Apache-2.0
#include "search/store/artifact_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "search/store/store_file.h"

namespace forall {
namespace {

// Uploads in progress, beside the final folders so that a rename stays within one file system.
constexpr char kIncoming[] = "incoming";
// Bounds what one Read allocates, whatever it was asked for.
constexpr size_t kMaxReadBytes = size_t{4} << 20;

absl::Status NotASha256(absl::string_view sha256) {
  // Whatever came from the network is cut before it reaches a log.
  return absl::InvalidArgumentError(absl::StrCat(
      "an artifact is named by 64 lower-case hex digits, got ", sha256.size(), " characters"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> ArtifactStore::Create(Options options) {
  const std::string incoming = absl::StrCat(options.folder, "/", kIncoming);
  FORALL_RETURN_IF_ERROR(CreateDirectories(options.folder));
  auto lock = FileLock::Acquire(absl::StrCat(options.folder, "/lock"));
  if (!lock.ok()) return WithContext(lock.status(), absl::StrCat("artifacts ", options.folder));
  std::error_code error;
  std::filesystem::remove_all(incoming, error);
  if (error) return FileError(error.value(), "cannot remove", incoming);
  FORALL_RETURN_IF_ERROR(CreateDirectories(incoming));
  FORALL_RETURN_IF_ERROR(SyncFolder(options.folder));
  return std::unique_ptr<ArtifactStore>(new ArtifactStore(std::move(options), std::move(*lock)));
}

absl::StatusOr<std::string> ArtifactStore::PathOf(absl::string_view sha256) const {
  if (!IsSha256Hex(sha256)) return NotASha256(sha256);
  return absl::StrCat(options_.folder, "/", ArtifactPath(sha256));
}

absl::StatusOr<int64_t> ArtifactStore::Size(absl::string_view sha256) const {
  FORALL_ASSIGN_OR_RETURN(const std::string path, PathOf(sha256));
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat("there is no artifact ", sha256));
    return FileError(errno, "cannot read", path);
  }
  return int64_t{info.st_size};
}

bool ArtifactStore::Exists(absl::string_view sha256) const { return Size(sha256).ok(); }

absl::StatusOr<std::unique_ptr<ArtifactWriter>> ArtifactStore::NewWriter(absl::string_view sha256,
                                                                         int64_t size_bytes) const {
  FORALL_ASSIGN_OR_RETURN(std::string path, PathOf(sha256));
  if (size_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("size_bytes must not be negative: ", size_bytes));
  }
  if (size_bytes > options_.max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "an artifact of ", size_bytes, " bytes is larger than the limit of ", options_.max_bytes));
  }
  std::string temporary = absl::StrCat(options_.folder, "/", kIncoming, "/XXXXXX");
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot create", temporary);
  return std::unique_ptr<ArtifactWriter>(new ArtifactWriter(
      fd, std::move(temporary), std::move(path), std::string(sha256), size_bytes));
}

absl::StatusOr<std::unique_ptr<ArtifactReader>> ArtifactStore::NewReader(absl::string_view sha256,
                                                                         int64_t offset) const {
  FORALL_ASSIGN_OR_RETURN(const std::string path, PathOf(sha256));
  FORALL_ASSIGN_OR_RETURN(const int64_t size, Size(sha256));
  if (offset < 0 || offset > size) {
    return absl::OutOfRangeError(
        absl::StrCat("offset ", offset, " is outside the artifact's ", size, " bytes"));
  }
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  return std::unique_ptr<ArtifactReader>(new ArtifactReader(fd, size, offset));
}

absl::StatusOr<std::string> ArtifactStore::Put(absl::string_view content) const {
  std::string sha256 = Sha256Hex(content);
  if (Exists(sha256)) return sha256;
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactWriter> writer,
                          NewWriter(sha256, static_cast<int64_t>(content.size())));
  FORALL_RETURN_IF_ERROR(writer->Append(content));
  FORALL_RETURN_IF_ERROR(writer->Commit());
  return sha256;
}

ArtifactWriter::~ArtifactWriter() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

absl::Status ArtifactWriter::Append(absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > size_bytes_ - written_) {
    return absl::DataLossError(absl::StrCat("artifact ", sha256_, " is longer than the ",
                                            size_bytes_, " bytes announced"));
  }
  hash_.Update(bytes);
  while (!bytes.empty()) {
    const ssize_t count = write(fd_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return FileError(errno, "cannot write", temporary_);
    }
    bytes.remove_prefix(static_cast<size_t>(count));
    written_ += count;
  }
  return absl::OkStatus();
}

absl::Status ArtifactWriter::Commit() {
  if (written_ != size_bytes_) {
    return absl::DataLossError(absl::StrCat("artifact ", sha256_, " has ", written_, " of the ",
                                            size_bytes_, " bytes announced"));
  }
  const std::string actual = hash_.HexDigest();
  if (actual != sha256_) {
    return absl::DataLossError(
        absl::StrCat("artifact ", sha256_, " was announced, but its bytes hash to ", actual));
  }
  if (fchmod(fd_, 0644) != 0 || fsync(fd_) != 0) {
    return FileError(errno, "cannot sync", temporary_);
  }
  const std::filesystem::path folder = std::filesystem::path(final_path_).parent_path();
  FORALL_RETURN_IF_ERROR(CreateDirectories(folder.string()));
  if (rename(temporary_.c_str(), final_path_.c_str()) != 0) {
    return FileError(errno, "cannot rename to", final_path_);
  }
  close(fd_);
  fd_ = -1;
  // The file's name, then the name of its folder, which may be new.
  FORALL_RETURN_IF_ERROR(SyncFolder(folder.string()));
  return SyncFolder(folder.parent_path().string());
}

ArtifactReader::~ArtifactReader() { close(fd_); }

absl::StatusOr<std::string> ArtifactReader::Read(size_t max_bytes) {
  std::string bytes(
      std::min({max_bytes, kMaxReadBytes, static_cast<size_t>(size_bytes_ - offset_)}), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t count = pread(fd_, bytes.data() + filled, bytes.size() - filled, offset_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError(errno, "cannot read", "an artifact");
    if (count == 0) return absl::DataLossError("an artifact was cut short while it was read");
    filled += static_cast<size_t>(count);
    offset_ += count;
  }
  return bytes;
}

}  // namespace forall
