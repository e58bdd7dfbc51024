// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_SEARCH_SERVICE_ACCESS_AUDIT_LOG_H_
#define FORALL_SEARCH_SERVICE_ACCESS_AUDIT_LOG_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "search/controller/metrics.h"

namespace forall {

// One call. No field ever holds a token.
struct AuditEntry {
  std::string who = {};   // "token:NAME", "worker certificate:ID", "anybody on this machine" or ""
  std::string role = {};  // "submit", "work", "admin" or ""
  std::string method = {};    // "FleetService.DrainWorker"
  std::string resource = {};  // what it was about, as the caller named it, or ""
  std::string peer = {};      // "ipv4:10.0.0.7:51234"; "" where gRPC does not tell
  std::string outcome = {};   // gRPC's code, "OK", "PERMISSION_DENIED"
  std::string message = {};   // of an error
  bool refused = false;       // the caller may not do this
};

// A file of JSON lines, appended to by one write each; a line is in the file when Write returns,
// though not yet on the disk. When the file is moved away a new one is begun. Should writing fail,
// calls go on, the lines are lost and counted, and the log of the program says so once. At most
// `refusals_per_second` lines of refused calls a second are kept, so that strangers cannot fill the
// disk at will; the next line has how many were left out. Thread-safe.
class AuditLog {
 public:
  struct Options {
    std::string path;  // "": nothing is written
    int refusals_per_second = 50;
    Clock* clock = Clock::Real();  // not owned, must outlive
  };
  explicit AuditLog(Options options) : options_(std::move(options)) {}
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  void Write(const AuditEntry& entry);
  // forall_audit_lines_lost_total. Waits for no line that is being written.
  MetricFamily Collect() const;

 private:
  bool Admit(bool refused) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Follows a file that was moved away. False when there is none to write to.
  bool Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  Mutex mu_;
  int fd_ ABSL_GUARDED_BY(mu_) = -1;
  bool told_ ABSL_GUARDED_BY(mu_) = false;
  int64_t second_ ABSL_GUARDED_BY(mu_) = -1;
  int refusals_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t left_out_ ABSL_GUARDED_BY(mu_) = 0;
  std::atomic<int64_t> lost_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ACCESS_AUDIT_LOG_H_
