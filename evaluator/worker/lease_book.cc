// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/lease_book.h"

#include <algorithm>

namespace forall {

std::shared_ptr<LeaseBook::Held> LeaseBook::Add(const v1::LeasedTask& leased) {
  auto held = std::make_shared<Held>();
  held->task = leased.task();
  held->token = leased.lease().token();
  MutexLock lock(&mu_);
  held_[held->token] = held;
  return held;
}

void LeaseBook::Remove(const std::string& token) {
  MutexLock lock(&mu_);
  held_.erase(token);
}

bool LeaseBook::MarkLost(const std::string& token) {
  MutexLock lock(&mu_);
  const auto found = held_.find(token);
  if (found == held_.end()) return false;
  found->second->lost.store(true);
  held_.erase(found);
  return true;
}

void LeaseBook::MarkAllLost() {
  MutexLock lock(&mu_);
  for (const auto& [token, held] : held_) held->lost.store(true);
  held_.clear();
}

std::vector<v1::HeldLease> LeaseBook::List() const {
  MutexLock lock(&mu_);
  std::vector<v1::HeldLease> leases;
  for (const auto& [token, held] : held_) {
    v1::HeldLease& lease = leases.emplace_back();
    lease.set_task(held->task.name());
    lease.set_token(token);
  }
  return leases;
}

bool LeaseBook::HoldsAny(v1::Task::Kind kind) const {
  MutexLock lock(&mu_);
  return std::any_of(held_.begin(), held_.end(),
                     [kind](const auto& held) { return held.second->task.kind() == kind; });
}

}  // namespace forall
