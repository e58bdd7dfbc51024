// SPDX-License-Identifier: Apache-2.0
// A program started by this one, whose output goes to a log file and which never outlives it.
#ifndef FORALL_CLI_CHILD_PROCESS_H_
#define FORALL_CLI_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace forall {

// Thread-compatible. Stops the process in the destructor; the kernel ends it when this process
// dies.
class ChildProcess {
 public:
  // argv[0] is the program's path. NotFound when it cannot be executed is only seen as exit code
  // 127.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const std::vector<std::string>& argv,
                                                             const std::string& log_path);
  ~ChildProcess() { Stop(absl::Seconds(5)); }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // False once it has ended.
  bool IsRunning();
  // SIGTERM, then SIGKILL after `patience`.
  void Stop(absl::Duration patience);
  pid_t pid() const { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

}  // namespace forall

#endif  // FORALL_CLI_CHILD_PROCESS_H_
