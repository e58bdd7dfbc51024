// SPDX-License-Identifier: Apache-2.0
// Whose turn it is: jobs in the order in which they get workers. Pure values.
//
// A higher priority goes strictly first. Within one priority tenants share by weight what their
// leases cost, and so do the jobs of one tenant at that priority: start-time fair queueing (Goyal,
// Vin, Cheng 1996) on two levels. Whoever is served moves ahead in virtual time by cost / weight,
// the one that is least far goes next, and whoever has had nothing to hand out begins where the
// others are: time that was not used is not saved up. Priorities share nothing: what a tenant had
// at one counts for nothing at another.
#ifndef FORALL_SEARCH_QUEUE_FAIR_ORDER_H_
#define FORALL_SEARCH_QUEUE_FAIR_ORDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace forall {

struct JobShare {
  int32_t priority = 0;
  std::string tenant = {};
  double weight = 1;  // positive
  bool operator==(const JobShare&) const = default;
};

// Thread-compatible. Calls take time in proportion to the logarithm of the jobs, FindFirst also to
// the jobs that are passed over.
class FairOrder {
 public:
  // Some jobs' tasks fit only workers that are not there, and the others overtake them. Once they
  // can be done, they make up for at most so much, in seconds of one worker.
  static constexpr double kMostCredit = 60;

  // Positive; a tenant that is not there has weight 1.
  explicit FairOrder(std::map<std::string, double> tenant_weights = {})
      : tenant_weights_(std::move(tenant_weights)) {}

  // One that was never set is JobShare().
  void SetShare(int64_t job, const JobShare& share);
  // It has something to hand out, or not any more.
  void Enter(int64_t job);
  void Leave(int64_t job);
  // It will not come again.
  void Forget(int64_t job);

  // The first job, of those that have something, of which `takes` says so; 0 when there is none.
  // Of equals the tenant whose name comes first, then the lower number. `takes` must not change
  // the order.
  int64_t FindFirst(absl::FunctionRef<bool(int64_t)> takes) const;
  // What was found has something for a worker that costs so much, not negative. Before it leaves.
  void Charge(int64_t job, double cost);

 private:
  friend class LeaseTablePeer;  // lease_table_model_test.cc

  struct Job {
    JobShare share;
    double start = 0;  // virtual time of its next task, on its tenant's clock
    bool in = false;
  };
  struct Tenant {
    double start = 0;  // on the clock of the priority
    double now = 0;
    std::set<std::pair<double, int64_t>> jobs;  // that are in, by start
  };
  struct Level {
    double now = 0;
    std::map<std::string, Tenant> tenants;           // all that ever were
    std::set<std::pair<double, std::string>> order;  // with jobs that are in, by start
  };

  std::map<std::string, double> tenant_weights_;
  std::map<int32_t, Level, std::greater<>> levels_;  // by priority
  absl::flat_hash_map<int64_t, Job> jobs_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_QUEUE_FAIR_ORDER_H_
