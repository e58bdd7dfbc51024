// SPDX-License-Identifier: Apache-2.0
// The leases that a worker holds: taken by the loop, renewed by the heartbeat, given up when the
// controller says that they are no longer the worker's.
#ifndef FORALL_EVALUATOR_WORKER_LEASE_BOOK_H_
#define FORALL_EVALUATOR_WORKER_LEASE_BOOK_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// Thread-safe.
class LeaseBook {
 public:
  struct Held {
    v1::Task task;
    std::string token;
    std::atomic<bool> lost{false};
  };

  std::shared_ptr<Held> Add(const v1::LeasedTask& leased);
  void Remove(const std::string& token);
  // Unknown tokens are ignored: the task may have been completed meanwhile. True when one was held.
  bool MarkLost(const std::string& token);
  // None is the worker's any more.
  void MarkAllLost();
  // For the next heartbeat.
  std::vector<v1::HeldLease> List() const;
  // Whether one is held for a task of this kind.
  bool HoldsAny(v1::Task::Kind kind) const;

 private:
  mutable Mutex mu_;
  std::map<std::string, std::shared_ptr<Held>> held_ ABSL_GUARDED_BY(mu_);
};

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_LEASE_BOOK_H_
