// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

absl::Status ErrnoStatus(int error, absl::string_view what, const std::string& path) {
  const std::string message = absl::StrCat(what, " ", path, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(message);
    case EISDIR:
      return absl::InvalidArgumentError(message);
    default:
      return absl::UnavailableError(message);
  }
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  int Close() {
    const int result = close(fd_);
    fd_ = -1;
    return result;
  }

 private:
  int fd_;
};

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return ErrnoStatus(errno, "cannot stat", path);
  if (S_ISDIR(info.st_mode)) return ErrnoStatus(EISDIR, "cannot read", path);
  const auto too_large = [&] {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, " is larger than the ", max_bytes, " bytes allowed here"));
  };
  std::string content;
  if (info.st_size > 0) {
    if (static_cast<uint64_t>(info.st_size) > max_bytes) return too_large();
    content.reserve(static_cast<size_t>(info.st_size));
  }
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = read(file.get(), buffer, sizeof(buffer));
    if (count < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "cannot read", path);
    }
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
    if (content.size() > max_bytes) return too_large();
  }
}

absl::Status GiveToOwnerOf(const std::string& owner_of, int fd, const std::string& path) {
  if (owner_of.empty() || geteuid() != 0) return absl::OkStatus();
  struct stat info;
  if (stat(owner_of.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot stat", owner_of);
  if (fchown(fd, info.st_uid, info.st_gid) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("cannot give to the owner of ", owner_of), path);
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, int mode,
                                 const std::string& owner_of) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no regular file, which nothing is written over: name another"));
  }
  std::string temporary = path + ".tmpXXXXXX";
  FileDescriptor file(mkostemp(temporary.data(), O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, "cannot create a file beside", path);
  const auto fail = [&](absl::string_view what) {
    absl::Status status = ErrnoStatus(errno, what, path);
    unlink(temporary.c_str());
    return status;
  };
  size_t written = 0;
  while (written < content.size()) {
    const ssize_t count = write(file.get(), content.data() + written, content.size() - written);
    if (count < 0) {
      if (errno == EINTR) continue;
      return fail("cannot write");
    }
    written += static_cast<size_t>(count);
  }
  if (absl::Status given = GiveToOwnerOf(owner_of, file.get(), path); !given.ok()) {
    unlink(temporary.c_str());
    return given;
  }
  if (fchmod(file.get(), static_cast<mode_t>(mode)) != 0) return fail("cannot set the mode of");
  if (fsync(file.get()) != 0) return fail("cannot sync");
  if (file.Close() != 0) return fail("cannot close");
  if (rename(temporary.c_str(), path.c_str()) != 0) return fail("cannot rename to");
  // The rename itself is durable once the directory is synced.
  const std::string parent = std::filesystem::path(path).parent_path().string();
  FileDescriptor directory(
      open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) fsync(directory.get());
  return absl::OkStatus();
}

absl::Status ReplaceDirectory(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!std::filesystem::exists(to, error)) {
    if (rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, "cannot rename to", to);
    return absl::OkStatus();
  }
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) return ErrnoStatus(errno, "cannot replace", to);
    const std::string aside = from + ".old";
    std::filesystem::remove_all(aside, error);
    if (rename(to.c_str(), aside.c_str()) != 0 || rename(from.c_str(), to.c_str()) != 0) {
      return ErrnoStatus(errno, "cannot replace", to);
    }
    std::filesystem::remove_all(aside, error);
    return absl::OkStatus();
  }
  std::filesystem::remove_all(from, error);  // now what was there; a rest of it harms nobody
  return absl::OkStatus();
}

absl::Status CreateDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return ErrnoStatus(error.value(), "cannot create directory", path);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus(errno, "cannot open", path);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return ErrnoStatus(errno, "cannot stat", path);
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  const size_t size = static_cast<size_t>(info.st_size);
  if (size == 0) return std::unique_ptr<MappedFile>(new MappedFile(nullptr, 0));
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) return ErrnoStatus(errno, "cannot map", path);
  return std::unique_ptr<MappedFile>(new MappedFile(static_cast<const char*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

}  // namespace forall
