// SPDX-License-Identifier: Apache-2.0
#include "search/queue/fair_order.h"

#include <algorithm>

namespace forall {
namespace {

// Where a flow begins its next task that had begun the last one at `start`.
double Next(double start, double now, double cost, double weight) {
  return std::max(start, now - FairOrder::kMostCredit) + cost / weight;
}

}  // namespace

void FairOrder::SetShare(int64_t job, const JobShare& share) {
  Job& entry = jobs_[job];
  if (entry.share == share) return;
  const bool in = entry.in;
  if (in) Leave(job);
  // Clocks of other tenants and priorities say nothing about it.
  if (entry.share.tenant != share.tenant || entry.share.priority != share.priority) entry.start = 0;
  entry.share = share;
  if (in) Enter(job);
}

void FairOrder::Enter(int64_t job) {
  Job& entry = jobs_[job];
  if (entry.in) return;
  entry.in = true;
  Level& level = levels_[entry.share.priority];
  Tenant& tenant = level.tenants[entry.share.tenant];
  entry.start = std::max(entry.start, tenant.now);
  if (tenant.jobs.empty()) {
    tenant.start = std::max(tenant.start, level.now);
    level.order.emplace(tenant.start, entry.share.tenant);
  }
  tenant.jobs.emplace(entry.start, job);
}

void FairOrder::Leave(int64_t job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end() || !it->second.in) return;
  Job& entry = it->second;
  entry.in = false;
  Level& level = levels_[entry.share.priority];
  Tenant& tenant = level.tenants[entry.share.tenant];
  tenant.jobs.erase({entry.start, job});
  if (tenant.jobs.empty()) level.order.erase({tenant.start, entry.share.tenant});
}

void FairOrder::Forget(int64_t job) {
  Leave(job);
  jobs_.erase(job);
}

int64_t FairOrder::FindFirst(absl::FunctionRef<bool(int64_t)> takes) const {
  for (const auto& [priority, level] : levels_) {
    for (const auto& [start, name] : level.order) {
      for (const auto& [job_start, job] : level.tenants.at(name).jobs) {
        if (takes(job)) return job;
      }
    }
  }
  return 0;
}

void FairOrder::Charge(int64_t job, double cost) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end() || !it->second.in) return;
  Job& entry = it->second;
  Level& level = levels_[entry.share.priority];
  Tenant& tenant = level.tenants[entry.share.tenant];
  level.order.erase({tenant.start, entry.share.tenant});
  level.now = std::max(level.now, tenant.start);
  const auto weight = tenant_weights_.find(entry.share.tenant);
  tenant.start =
      Next(tenant.start, level.now, cost, weight == tenant_weights_.end() ? 1 : weight->second);
  level.order.emplace(tenant.start, entry.share.tenant);
  tenant.jobs.erase({entry.start, job});
  tenant.now = std::max(tenant.now, entry.start);
  entry.start = Next(entry.start, tenant.now, cost, entry.share.weight);
  tenant.jobs.emplace(entry.start, job);
}

}  // namespace forall
