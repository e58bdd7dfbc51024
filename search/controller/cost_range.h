// SPDX-License-Identifier: Apache-2.0
// Between which values an exact cost lies among the networks that a job may propose.
#ifndef FORALL_SEARCH_CONTROLLER_COST_RANGE_H_
#define FORALL_SEARCH_CONTROLLER_COST_RANGE_H_

#include <vector>

#include "search/controller/job_plan.h"
#include "space/metric_registry.h"

namespace forall {

struct CostRange {
  const MetricInfo* metric = nullptr;
  double least = 0;
  double most = 0;
  // An end that other constraints cut off was looked for by random walks: networks beyond it may
  // exist.
  bool about = false;
};

// Of each exact cost that the job wants or limits. A pure function of the plan, whatever its seed.
// The smallest and the largest network are the ends where they are admissible. An end that only a
// bound on the cost itself cuts off is the network nearest to that bound that repair meets
// (FactoredCost::Repair), at most a ten-thousandth of the bound away. A cost of which nothing
// admissible was met is left out. Some thousands of cost computations where a bound cuts.
std::vector<CostRange> AdmissibleCosts(const JobPlan& plan);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_COST_RANGE_H_
