// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/cut_text.h"
#include "base/log.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

constexpr size_t kMaxText = 300;

}  // namespace

AuditLog::~AuditLog() {
  if (fd_ >= 0) close(fd_);
}

bool AuditLog::Admit(bool refused) {
  if (!refused) return true;
  const int64_t second = options_.clock->SteadyNanos() / 1'000'000'000;
  if (second != second_) {
    second_ = second;
    refusals_ = 0;
  }
  if (refusals_ >= options_.refusals_per_second) {
    ++left_out_;
    return false;
  }
  ++refusals_;
  return true;
}

bool AuditLog::Open() {
  struct stat named = {};
  struct stat held = {};
  if (fd_ >= 0 && stat(options_.path.c_str(), &named) == 0 && fstat(fd_, &held) == 0 &&
      named.st_ino == held.st_ino && named.st_dev == held.st_dev) {
    return true;
  }
  if (fd_ >= 0) close(fd_);
  fd_ = open(options_.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  return fd_ >= 0;
}

void AuditLog::Write(const AuditEntry& entry) {
  if (options_.path.empty()) return;
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", options_.clock->Now(), absl::UTCTimeZone());
  MutexLock lock(&mu_);
  if (!Admit(entry.refused)) return;
  nlohmann::ordered_json line = {{"time", time},
                                 {"who", entry.who},
                                 {"role", entry.role},
                                 {"method", CutText(entry.method, kMaxText)},
                                 {"resource", CutText(entry.resource, kMaxText)},
                                 {"peer", entry.peer},
                                 {"outcome", entry.outcome}};
  if (!entry.message.empty()) line["message"] = CutText(entry.message, kMaxText);
  if (left_out_ > 0) line["refusals_left_out"] = left_out_;
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  // One write, so that lines stay whole; a short one is a full disk, and its rest is taken back.
  bool written = Open();
  if (written) {
    const off_t end = lseek(fd_, 0, SEEK_END);
    const ssize_t size = write(fd_, text.data(), text.size());
    written = size == static_cast<ssize_t>(text.size());
    if (size >= 0 && !written) {
      if (end < 0 || ftruncate(fd_, end) != 0)
        FORALL_LOG(ERROR) << "half a line is in the audit log";
      errno = ENOSPC;
    }
  }
  if (written) {
    told_ = false;
    left_out_ = 0;
    return;
  }
  lost_.fetch_add(1, std::memory_order_relaxed);
  if (told_) return;
  told_ = true;
  FORALL_LOG(ERROR) << "cannot write the audit log " << options_.path << ": "
                    << std::strerror(errno) << "; calls go on without";
}

MetricFamily AuditLog::Collect() const {
  return {"forall_audit_lines_lost_total",
          "Lines of the audit log that could not be written; their calls went on.",
          MetricFamily::Type::kCounter,
          {{{}, static_cast<double>(lost_.load(std::memory_order_relaxed)), {}}}};
}

}  // namespace forall
