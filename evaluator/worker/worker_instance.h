// SPDX-License-Identifier: Apache-2.0
// Which process is the worker of an id: a random number that is kept in the cache folder, so that a
// restarted worker is known again at once, and a lock on it, so that no two processes have it.
#ifndef FORALL_EVALUATOR_WORKER_WORKER_INSTANCE_H_
#define FORALL_EVALUATOR_WORKER_WORKER_INSTANCE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace forall {

// Thread-compatible. The kernel frees the lock when its holder ends, however it ends.
class WorkerInstance {
 public:
  // FOLDER/ID.instance is made where there is none; one that is damaged gets a new number.
  // FailedPrecondition: another process is that worker, or the file is none that can be locked.
  // Other errors name the file that cannot be written.
  static absl::StatusOr<std::unique_ptr<WorkerInstance>> Acquire(const std::string& folder,
                                                                 const std::string& worker_id);
  ~WorkerInstance();
  WorkerInstance(const WorkerInstance&) = delete;
  WorkerInstance& operator=(const WorkerInstance&) = delete;

  // 32 hex digits.
  const std::string& text() const { return text_; }

 private:
  explicit WorkerInstance(int fd) : fd_(fd) {}

  const int fd_;
  std::string text_;
};

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_WORKER_INSTANCE_H_
