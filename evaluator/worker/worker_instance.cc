// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/worker_instance.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/unique_id.h"

namespace forall {
namespace {

constexpr size_t kDigits = 32;

absl::Status CannotKeep(int error, const std::string& path) {
  const std::string message = absl::StrCat("cannot keep this worker's number in ", path, ": ",
                                           std::strerror(error), "; --cache names another folder");
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::FailedPreconditionError(message);
}

bool IsNumber(absl::string_view text) {
  return text.size() == kDigits && std::all_of(text.begin(), text.end(), absl::ascii_isxdigit);
}

// The number and the process that had it last.
std::pair<std::string, std::string> ReadLines(int fd) {
  char bytes[128] = {};
  const ssize_t size = pread(fd, bytes, sizeof(bytes), 0);
  const std::vector<std::string> lines =
      absl::StrSplit(absl::string_view(bytes, size > 0 ? static_cast<size_t>(size) : 0), '\n');
  return {lines[0], lines.size() > 1 ? lines[1] : ""};
}

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerInstance>> WorkerInstance::Acquire(
    const std::string& folder, const std::string& worker_id) {
  FORALL_RETURN_IF_ERROR(CreateDirectories(folder));
  const std::string path = absl::StrCat(folder, "/", worker_id, ".instance");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return CannotKeep(errno, path);
  std::unique_ptr<WorkerInstance> held(new WorkerInstance(fd));
  const bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
  const int error = errno;
  const auto [number, process] = ReadLines(fd);
  if (!locked && error != EWOULDBLOCK) return CannotKeep(error, path);
  if (!locked) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker ", worker_id, " runs here already",
                     process.empty() ? "" : ", as process ", process, " (", path,
                     " is locked): end it first, or give this one another --id, or another --cache "
                     "where it is for another controller"));
  }
  held->text_ = IsNumber(number) ? number : NewUniqueId();
  const std::string content = absl::StrCat(held->text_, "\n", getpid(), "\n");
  if (pwrite(fd, content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()) ||
      ftruncate(fd, static_cast<off_t>(content.size())) != 0) {
    return CannotKeep(errno, path);
  }
  return held;
}

WorkerInstance::~WorkerInstance() { close(fd_); }

}  // namespace forall
