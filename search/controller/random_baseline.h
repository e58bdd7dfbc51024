// SPDX-License-Identifier: Apache-2.0
// What a job is compared with: trials of jobs that asked the same and drew at random.
#ifndef FORALL_SEARCH_CONTROLLER_RANDOM_BASELINE_H_
#define FORALL_SEARCH_CONTROLLER_RANDOM_BASELINE_H_

#include <string>
#include <vector>

#include "search/controller/registry.h"

namespace forall {

struct RandomBaseline {
  std::vector<std::string> jobs;  // searchJobs/*, those that gave a trial
  // Of each different subnet the objectives as the search saw them, scaled as the hypervolume of
  // the job that is compared (JobFold::Scaled). A trial that lost a race counts for nothing: 1 in
  // every objective.
  std::vector<std::vector<double>> points;
};

// Of every other job whose sampler is `random` and that shares with `fold`: supernet, objectives in
// their order, constraints, the places where latencies are measured, dataset, recipe, calibration,
// tiers and screening images. Empty while the job's scale is not known.
RandomBaseline FindRandomBaseline(const Registry& registry, const JobFold& fold);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_RANDOM_BASELINE_H_
