// SPDX-License-Identifier: Apache-2.0
// A program started by this one, which never outlives it; and one run to its end for what it
// prints.
#ifndef FORALL_BASE_CHILD_PROCESS_H_
#define FORALL_BASE_CHILD_PROCESS_H_

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace forall {

// How a program ended: by itself, or by a signal.
struct ProgramEnd {
  int exit_code = 0;
  int signal = 0;  // 0: it exited by itself.

  bool ok() const { return signal == 0 && exit_code == 0; }
  // "exit code 3", "signal 11 (Segmentation fault)".
  std::string ToString() const;
};

// Thread-compatible. Stops the process and the programs that it started in the destructor; the
// kernel ends the process, not those, when the thread that started it or this process dies.
class ChildProcess {
 public:
  struct Options {
    // The program, looked up in PATH unless it has a slash, and its arguments.
    std::vector<std::string> argv = {};
    // Standard output and error are appended to it; "": they are this process's own.
    std::string log_path = {};
    // Descriptors of this process and the numbers under which the child sees them, e.g. {fd, 3}.
    // Whatever else is open with close-on-exec is closed.
    std::vector<std::pair<int, int>> files = {};
    // "NAME=value", added to or in place of this process's.
    std::vector<std::string> environment = {};
    // Largest private writable memory (RLIMIT_DATA); 0: no limit.
    int64_t memory_bytes = 0;
    // Sent to the child when its parent dies.
    int death_signal = SIGTERM;
  };

  // NotFound or PermissionDenied when the program cannot be executed or the log not be written;
  // Unavailable when there can be no further process.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const Options& options);
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const std::vector<std::string>& argv,
                                                             const std::string& log_path);
  ~ChildProcess() { Stop(absl::Seconds(5)); }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // False once it has ended.
  bool IsRunning();
  // SIGTERM to its whole group, then SIGKILL after `patience`; at once when that is zero.
  void Stop(absl::Duration patience);
  // Waits for the end. Absent: still running after `patience`.
  std::optional<ProgramEnd> Wait(absl::Duration patience);
  // -1 once it has ended.
  pid_t pid() const { return pid_; }
  // How it ended, once it has.
  const std::optional<ProgramEnd>& end() const { return end_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  void NoteEnd(int wait_status);

  pid_t pid_;
  std::optional<ProgramEnd> end_;
};

struct ProgramOutput {
  ProgramEnd end;
  std::string standard_output;
  std::string standard_error;
};

struct ProgramOptions {
  std::vector<std::string> argv = {};
  std::string standard_input = {};
  std::vector<std::string> environment = {};
  absl::Duration timeout = absl::InfiniteDuration();
  // Of each stream.
  int64_t most_output_bytes = int64_t{16} << 20;
  // Asked every tenth of a second.
  std::function<bool()> cancelled = {};
};

// Runs a program to its end. An exit code other than 0 is no error of this function. Errors: those
// of ChildProcess::Start; DeadlineExceeded, Cancelled and ResourceExhausted (more output than
// allowed), after which the program was killed.
absl::StatusOr<ProgramOutput> RunProgram(const ProgramOptions& options);

// The last line of a text that is not empty, at most 300 bytes: what a failed program said last.
std::string LastLine(const std::string& text);

}  // namespace forall

#endif  // FORALL_BASE_CHILD_PROCESS_H_
