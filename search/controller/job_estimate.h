// SPDX-License-Identifier: Apache-2.0
// What a job would cost, from what work like its own has taken.
#ifndef FORALL_SEARCH_CONTROLLER_JOB_ESTIMATE_H_
#define FORALL_SEARCH_CONTROLLER_JOB_ESTIMATE_H_

#include <vector>

#include "proto/forall/v1/search_service.pb.h"
#include "search/controller/job_fold.h"
#include "search/controller/registry.h"
#include "search/queue/task_needs.h"

namespace forall {

// `fold` is of a job that has not begun, its targets bound where a device serves them now;
// `workers` are those that may be given work.
//
// An upper bound: every trial of the budget is measured on all images of its highest tier, and
// nothing is reused. Final measurements are taken of as many trials as the largest frontier that a
// job of this supernet and these objectives had, or of a fifth of the trials where there was none.
// What one task measures together is one line and one time, and is named whole: accuracies of the
// same images, latency_ms and whatever else is wanted of a device. Where no task measured just
// that, one that measured more stands for it; percentiles are counted by the runs that they need
// beside latencies without them. A trial's export is part of its first accuracy, or of its first
// latency where it needs no accuracy. Wall-clock hours are those of workers that never wait: all
// work shared by all of them, or the work of the busiest device if that takes longer. Pure.
v1::SearchJobEstimate EstimateJob(const Registry& registry, const JobFold& fold,
                                  const std::vector<WorkerOffer>& workers);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_ESTIMATE_H_
