// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/peak_memory.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr int64_t kKibibyte = 1024;

std::string ProcessFile(pid_t pid, absl::string_view name) {
  return absl::StrCat("proc/", pid == 0 ? "self" : absl::StrCat(pid), "/", name);
}

absl::StatusOr<int64_t> OwnUsage() {
  struct rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss <= 0) {
    return absl::UnavailableError("getrusage does not tell the peak resident memory");
  }
  return usage.ru_maxrss * kKibibyte;
}

std::function<absl::StatusOr<int64_t>()> ChooseUsage(const PeakMemoryProbe::Options& options) {
  if (options.own_usage) return options.own_usage;
  if (options.root.empty()) return OwnUsage;
  return [] {
    return absl::StatusOr<int64_t>(absl::NotFoundError("a recorded tree has no getrusage"));
  };
}

}  // namespace

std::string ToString(PeakMemory::Since since) {
  switch (since) {
    case PeakMemory::Since::kReset:
      return "since reset";
    case PeakMemory::Since::kProgramStart:
      return "since the program started";
    case PeakMemory::Since::kProcessStart:
      return "since the process started (getrusage)";
  }
  return "unknown";
}

absl::StatusOr<int64_t> ParsePeakResident(absl::string_view status) {
  for (const absl::string_view line : absl::StrSplit(status, '\n')) {
    // "VmHWM:\t    1748 kB"
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.empty() || words[0] != "VmHWM:") continue;
    int64_t kibibytes = 0;
    if (words.size() != 3 || words[2] != "kB" || !absl::SimpleAtoi(words[1], &kibibytes) ||
        kibibytes <= 0 || kibibytes > std::numeric_limits<int64_t>::max() / kKibibyte) {
      return absl::UnavailableError(absl::StrCat("'", line.substr(0, 60), "' is no size in kB"));
    }
    return kibibytes * kKibibyte;
  }
  return absl::NotFoundError("no VmHWM: the process has ended, or the kernel does not keep it");
}

PeakMemoryProbe::PeakMemoryProbe(const Options& options)
    : files_(options.root), own_usage_(ChooseUsage(options)) {}

absl::Status PeakMemoryProbe::Reset(pid_t pid) {
  reset_.erase(pid);
  const std::string path = files_.Name(ProcessFile(pid, "clear_refs"));
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written = fd >= 0 && write(fd, "5", 1) == 1;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (written) {
    reset_.insert(pid);
    return absl::OkStatus();
  }
  const std::string message =
      absl::StrCat("cannot reset the peak memory by ", path, ": ", std::strerror(error));
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  if (error == ENOENT || error == ESRCH) return absl::NotFoundError(message);
  return absl::UnavailableError(message);
}

absl::StatusOr<PeakMemory> PeakMemoryProbe::Read(pid_t pid) const {
  const absl::StatusOr<std::string> status = files_.ReadText(ProcessFile(pid, "status"));
  const absl::StatusOr<int64_t> peak =
      status.ok() ? ParsePeakResident(*status) : absl::StatusOr<int64_t>(status.status());
  if (peak.ok()) {
    return PeakMemory{*peak, reset_.count(pid) > 0 ? PeakMemory::Since::kReset
                                                   : PeakMemory::Since::kProgramStart};
  }
  if (pid == 0) {
    if (const absl::StatusOr<int64_t> usage = own_usage_(); usage.ok()) {
      return PeakMemory{*usage, PeakMemory::Since::kProcessStart};
    }
  }
  return WithContext(peak.status(), absl::StrCat("peak memory of process ", pid));
}

}  // namespace forall
