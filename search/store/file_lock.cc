// SPDX-License-Identifier: Apache-2.0
#include "search/store/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace forall {

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(const std::string& path,
                                                            const std::string& owner_of) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  const bool created = fd >= 0;
  if (!created && errno == EEXIST) fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open lock file ", path));
  std::unique_ptr<FileLock> lock(new FileLock(fd));
  if (created) FORALL_RETURN_IF_ERROR(GiveToOwnerOf(owner_of, fd, path));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot lock ", path));
    }
    char holder[32] = {};
    const ssize_t size = pread(fd, holder, sizeof(holder) - 1, 0);
    return absl::FailedPreconditionError(absl::StrCat(
        "it is in use by process ", size > 0 ? absl::StripAsciiWhitespace(holder) : "(unknown)",
        ": stop that controller, or give another path"));
  }
  const std::string self = absl::StrCat(getpid(), "\n");
  // The number only serves the message above: without it, on a full disk, the lock still holds.
  [[maybe_unused]] const bool named =
      ftruncate(fd, 0) == 0 && pwrite(fd, self.data(), self.size(), 0) > 0;
  return lock;
}

FileLock::~FileLock() { close(fd_); }

}  // namespace forall
