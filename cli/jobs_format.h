// SPDX-License-Identifier: Apache-2.0
// Jobs and trials for people: what became of them, and why.
#ifndef FORALL_CLI_JOBS_FORMAT_H_
#define FORALL_CLI_JOBS_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proto/forall/v1/resources.pb.h"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {

// A line per job, in at most `width` columns (0: as many as it takes, and whole names of jobs).
// Tenants and priorities where they are not all the same, and not all 0.
// Times are of `zone`.
std::string JobsTable(absl::Span<const v1::SearchJob> jobs, absl::TimeZone zone, size_t width);

// Trials that ended in the same way, for reasons that differ by a measured value at most.
struct TrialReason {
  v1::Trial::State state = v1::Trial::STATE_UNSPECIFIED;  // INFEASIBLE or FAILED
  std::string reason;  // "latency_ms is above 8", without the value
  int64_t count = 0;
  std::string first;  // the first of these trials, by name
};

// Counts them. Thread-compatible.
class TrialReasons {
 public:
  // Trials that are neither infeasible nor failed are passed over.
  void Add(const v1::Trial& trial);
  // The most frequent first.
  std::vector<TrialReason> Sorted() const;

 private:
  std::map<std::pair<int, std::string>, size_t> known_;  // index into reasons_
  std::vector<TrialReason> reasons_;
};

// One job: its state, how many trials ended in which way, and the most frequent reasons of those
// that were infeasible or failed. `width` as above.
std::string JobText(const v1::SearchJob& job, const TrialReasons& reasons, size_t width);

// What `forall delete` takes away and what stays; `done`: has taken. `width` as above.
std::string DeletionText(const v1::SearchJob& job, bool done, size_t width);
// The same of a supernet, supernets/NAME.
std::string SupernetDeletionText(const std::string& name,
                                 const v1::DeleteSupernetResponse& response, bool done,
                                 size_t width);

// "12 trials were infeasible and 3 failed: forall jobs 1 says why", or "" where none was.
std::string LostTrialsText(const v1::SearchJob& job);

// One trial: its state and the reason, whole, then every number that was measured of it with its
// verdict. `width` as above.
std::string TrialText(const v1::Trial& trial, size_t width);

}  // namespace forall

#endif  // FORALL_CLI_JOBS_FORMAT_H_
