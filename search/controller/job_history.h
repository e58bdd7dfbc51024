// SPDX-License-Identifier: Apache-2.0
// What a job may learn from besides its own trials: everything measured on its supernet before it
// was submitted.
#ifndef FORALL_SEARCH_CONTROLLER_JOB_HISTORY_H_
#define FORALL_SEARCH_CONTROLLER_JOB_HISTORY_H_

#include <cstdint>
#include <vector>

#include "search/controller/job_event.h"
#include "search/controller/job_fold.h"
#include "search/controller/registry.h"

namespace forall {

// A network and what each objective of a job has of it: measurements of which the job, had it
// proposed the network when it was submitted, would have reused one. So they are of the job's
// supernet, recipe, calibration, dataset and images (of the highest tier that there is), of the
// devices that it is bound to under their fingerprints and profiles; never rejected, never
// retracted, and none later than JobRecord::history_snapshot, whatever was measured since.
// A graph's latency counts whatever supernet of the space its weights were of.
//
// At most kMostKnownSubnets (known_subnets.h) of the 10,000 latest, in order of their first trial
// there. Empty for a job that measures nothing. Of a target
// that is not bound no latency is known.
std::vector<KnownSubnet> FindHistory(const Registry& registry, const JobFold& fold);

// How many networks have a value for every measured objective.
int64_t CountComplete(const JobFold& fold, const std::vector<KnownSubnet>& subnets);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_HISTORY_H_
