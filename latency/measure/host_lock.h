// SPDX-License-Identifier: Apache-2.0
// Keeps timing and other heavy work apart on one machine, across processes: a timing holds the lock
// exclusively, accuracy work shares it. The kernel frees it when its holder dies, however it dies.
#ifndef FORALL_LATENCY_MEASURE_HOST_LOCK_H_
#define FORALL_LATENCY_MEASURE_HOST_LOCK_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace forall {

// Thread-safe: every acquisition opens the file anew, so threads of one process exclude each other
// as processes do.
class HostLock {
 public:
  struct Options {
    // Empty: what environment variable FORALL_TIMING_LOCK names, else /tmp/forall-timing.lock. Not
    // in a folder of one user or session: the cores are everybody's.
    std::string path = {};
    Clock* clock = Clock::Real();
  };

  // Gives the lock back when it goes out of scope. Thread-compatible.
  class Holder {
   public:
    ~Holder();
    Holder(Holder&& other) noexcept;
    Holder& operator=(Holder&& other) noexcept;

   private:
    friend class HostLock;
    explicit Holder(int fd) : fd_(fd) {}
    int fd_;
  };

  // Creates the file and a second one beside it (".gate") that keeps sharers from starving an
  // exclusive waiter. Any user may open them. PermissionDenied when the folder cannot be written.
  static absl::StatusOr<std::unique_ptr<HostLock>> Open(const Options& options);

  // Waits until nobody holds the lock. DeadlineExceeded after `timeout`, Cancelled when `cancelled`
  // (may be empty) says so.
  absl::StatusOr<Holder> AcquireExclusive(absl::Duration timeout = absl::InfiniteDuration(),
                                          const std::function<bool()>& cancelled = {});
  // Waits until nobody holds or awaits it exclusively. Errors as above.
  absl::StatusOr<Holder> AcquireShared(absl::Duration timeout = absl::InfiniteDuration(),
                                       const std::function<bool()>& cancelled = {});

  const std::string& path() const { return path_; }

 private:
  HostLock(std::string path, Clock* clock) : path_(std::move(path)), clock_(clock) {}
  absl::StatusOr<Holder> Acquire(int operation, absl::Duration timeout,
                                 const std::function<bool()>& cancelled);

  const std::string path_;
  Clock* const clock_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_HOST_LOCK_H_
