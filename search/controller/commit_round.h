// SPDX-License-Identifier: Apache-2.0
// What the controller collects between two commits: the batch, and what follows once it is durable.
#ifndef FORALL_SEARCH_CONTROLLER_COMMIT_ROUND_H_
#define FORALL_SEARCH_CONTROLLER_COMMIT_ROUND_H_

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "search/queue/lease_table.h"
#include "search/store/result_store.h"

namespace forall {

// A lease that a result has ended.
struct EndedLease {
  int64_t task = 0;
  std::string token;
  std::string worker;
  LeaseEnd end = LeaseEnd::kCompleted;
};

struct CommitRound {
  StoreBatch batch;
  // Tasks that may be leased once they are durable.
  std::vector<QueuedTask> tasks;
  // Leases to put back should the round not be kept: its results are sent again under them.
  std::vector<EndedLease> ended_leases;
  // Of jobs that go with it: the store still has them while the rest of the round is written.
  std::set<std::string> deleted_requests;
  // Answers that may be given then. They run without any lock.
  std::vector<std::function<void(absl::Status)>> answers;
  size_t bytes = 0;  // kept for them: requests, and answers of reads
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_COMMIT_ROUND_H_
