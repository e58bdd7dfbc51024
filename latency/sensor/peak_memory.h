// SPDX-License-Identifier: Apache-2.0
// The most memory that a process had resident at any one moment.
//
// Where the rules come from: proc_pid_status(5): VmHWM is the peak resident set size in KiB,
// counted per mm, so from the last exec on, and not exact (pages are accounted in batches);
// proc_pid_clear_refs(5): writing 5 resets it to what is resident now (Linux 4.0); getrusage(2):
// ru_maxrss is in KiB, and survives exec and a reset.
#ifndef FORALL_LATENCY_SENSOR_PEAK_MEMORY_H_
#define FORALL_LATENCY_SENSOR_PEAK_MEMORY_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "latency/sensor/sysfs.h"

namespace forall {

struct PeakMemory {
  enum class Since {
    kReset,         // VmHWM, since this probe's Reset.
    kProgramStart,  // VmHWM, since the program was started.
    kProcessStart,  // ru_maxrss: whatever the process ran before its last exec counts too.
  };
  int64_t bytes = 0;
  Since since = Since::kProgramStart;
};
// "since reset", "since the program started", "since the process started (getrusage)".
std::string ToString(PeakMemory::Since since);

// The bytes of VmHWM in the text of a /proc/PID/status. NotFound when it has none, as that of a
// process that has ended and was not waited for; Unavailable when it is no size.
absl::StatusOr<int64_t> ParsePeakResident(absl::string_view status);

// Processes are named by their number; 0 is this one. Thread-compatible.
class PeakMemoryProbe {
 public:
  struct Options {
    // Holds proc/; "" is the machine itself.
    std::string root = {};
    // This process's ru_maxrss in bytes. Empty: getrusage, when `root` is the machine itself.
    std::function<absl::StatusOr<int64_t>()> own_usage = {};
  };
  explicit PeakMemoryProbe(const Options& options);
  PeakMemoryProbe() : PeakMemoryProbe(Options()) {}

  // Lets the peak begin anew. PermissionDenied for another user's process, NotFound when it is not
  // there or the kernel cannot (CONFIG_PROC_PAGE_MONITOR); the peak then counts from the start.
  absl::Status Reset(pid_t pid = 0);

  // A child must be asked before it is waited for. For this process getrusage is the second choice.
  // NotFound, PermissionDenied or Unavailable when it cannot be told.
  absl::StatusOr<PeakMemory> Read(pid_t pid = 0) const;

 private:
  const LocalSysfs files_;
  const std::function<absl::StatusOr<int64_t>()> own_usage_;
  std::set<pid_t> reset_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_PEAK_MEMORY_H_
