// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/host_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// flock cannot wait with a deadline or be cancelled, so it is asked again and again. Short against
// a measurement, long against the processor time of asking.
constexpr absl::Duration kAskAgain = absl::Milliseconds(5);

std::string DefaultPath() {
  if (const char* named = std::getenv("FORALL_TIMING_LOCK"); named != nullptr && *named != '\0') {
    return named;
  }
  return "/tmp/forall-timing.lock";
}

// Only for reading, which is all that flock takes: the file may belong to another user. First
// without O_CREAT, because kernels refuse O_CREAT on others' files in a folder like /tmp.
absl::StatusOr<int> OpenLockFile(const std::string& path) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
      fd = open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
      if (fd >= 0) fchmod(fd, 0644);  // Whatever the umask; a refusal shows when others open it.
    }
    if (fd >= 0) return fd;
    if (errno != EEXIST && errno != EINTR) break;  // EEXIST: another process was first; open it.
  }
  const std::string message =
      absl::StrCat("cannot open the timing lock ", path, ": ", std::strerror(errno),
                   " (FORALL_TIMING_LOCK names another file)");
  return errno == ENOENT || errno == ENOTDIR ? absl::NotFoundError(message)
                                             : absl::PermissionDeniedError(message);
}

// False when the file that was locked is no longer the one under its name, e.g. because a cleaner
// of temporary files removed it: then another process may hold a lock on the new one.
bool IsStillThere(int fd, const std::string& path) {
  struct stat held = {};
  struct stat named = {};
  return fstat(fd, &held) == 0 && stat(path.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

class Waiter {
 public:
  Waiter(Clock* clock, absl::Duration timeout, const std::function<bool()>& cancelled)
      : clock_(clock), start_ns_(clock->SteadyNanos()), timeout_(timeout), cancelled_(cancelled) {}

  // A descriptor that holds `path` locked.
  absl::StatusOr<int> Lock(const std::string& path, int operation) {
    FORALL_ASSIGN_OR_RETURN(int fd, OpenLockFile(path));
    while (true) {
      if (flock(fd, operation | LOCK_NB) == 0) {
        if (IsStillThere(fd, path)) return fd;
        close(fd);
        FORALL_ASSIGN_OR_RETURN(fd, OpenLockFile(path));
        continue;
      }
      absl::Status status;
      if (errno != EWOULDBLOCK && errno != EINTR) {
        status = absl::UnavailableError(absl::StrCat("lock ", path, ": ", std::strerror(errno)));
      } else {
        status = Pause(path);
      }
      if (!status.ok()) {
        close(fd);
        return status;
      }
    }
  }

 private:
  absl::Status Pause(const std::string& path) {
    if (cancelled_ && cancelled_()) {
      return absl::CancelledError(absl::StrCat("cancelled while waiting for ", path));
    }
    if (absl::Nanoseconds(clock_->SteadyNanos() - start_ns_) >= timeout_) {
      return absl::DeadlineExceededError(
          absl::StrCat("another timing or evaluation still holds ", path));
    }
    clock_->SleepFor(kAskAgain);
    return absl::OkStatus();
  }

  Clock* const clock_;
  const int64_t start_ns_;
  const absl::Duration timeout_;
  const std::function<bool()>& cancelled_;
};

}  // namespace

HostLock::Holder::~Holder() {
  if (fd_ >= 0) close(fd_);
}

HostLock::Holder::Holder(Holder&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

HostLock::Holder& HostLock::Holder::operator=(Holder&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

absl::StatusOr<std::unique_ptr<HostLock>> HostLock::Open(const Options& options) {
  const std::string path = options.path.empty() ? DefaultPath() : options.path;
  for (const std::string& file : {path, path + ".gate"}) {
    FORALL_ASSIGN_OR_RETURN(const int fd, OpenLockFile(file));
    close(fd);
  }
  return std::unique_ptr<HostLock>(new HostLock(path, options.clock));
}

absl::StatusOr<HostLock::Holder> HostLock::AcquireExclusive(
    absl::Duration timeout, const std::function<bool()>& cancelled) {
  return Acquire(LOCK_EX, timeout, cancelled);
}

absl::StatusOr<HostLock::Holder> HostLock::AcquireShared(absl::Duration timeout,
                                                         const std::function<bool()>& cancelled) {
  return Acquire(LOCK_SH, timeout, cancelled);
}

absl::StatusOr<HostLock::Holder> HostLock::Acquire(int operation, absl::Duration timeout,
                                                   const std::function<bool()>& cancelled) {
  Waiter waiter(clock_, timeout, cancelled);
  // Everybody passes the gate, and who wants the lock exclusively stands in it while waiting: new
  // sharers queue behind instead of keeping the lock busy for ever.
  FORALL_ASSIGN_OR_RETURN(const int gate_fd, waiter.Lock(path_ + ".gate", operation));
  const Holder gate(gate_fd);
  FORALL_ASSIGN_OR_RETURN(const int fd, waiter.Lock(path_, operation));
  return Holder(fd);
}

}  // namespace forall
