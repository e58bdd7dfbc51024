// SPDX-License-Identifier: Apache-2.0
// Lease tokens that nobody but the controller can make. A token is "<life>-<number>-<mac>": the
// controller's start count, the number of the lease within that life, and 96 bits of HMAC-SHA256
// over both, the task and the worker, under a random secret of that life that the store keeps. So a
// later life can tell which leases the lives before it have given, without a list of them.
#ifndef FORALL_SEARCH_QUEUE_LEASE_TOKENS_H_
#define FORALL_SEARCH_QUEUE_LEASE_TOKENS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/sha256.h"
#include "search/store/result_store.h"

namespace forall {

// Thread-compatible.
class LeaseTokens {
 public:
  // The last life is the one that gives leases now; there must be one.
  explicit LeaseTokens(const std::vector<LifeRecord>& lives);

  // Of lease `number` of this life. At most 64 characters, in microseconds.
  std::string Make(int64_t number, int64_t task, absl::string_view worker);

  // Whether a life before this one, of this very store, gave `token` for this task to this worker.
  // Never for a task that the store has only had since that life ended: where a copy of a store
  // takes its place, numbers of tasks are given out a second time.
  bool GivenEarlier(absl::string_view token, int64_t task, absl::string_view worker) const;

  int64_t life() const { return life_; }

 private:
  std::map<int64_t, LifeRecord> lives_;  // by epoch
  int64_t life_ = 0;
  std::optional<HmacSha256Key> key_;  // of that life
};

}  // namespace forall

#endif  // FORALL_SEARCH_QUEUE_LEASE_TOKENS_H_
