// SPDX-License-Identifier: Apache-2.0
// Frontiers under any objectives and constraints, over one job's trials or over everything ever
// measured on a supernet.
#ifndef FORALL_SEARCH_CONTROLLER_FRONTIER_QUERY_H_
#define FORALL_SEARCH_CONTROLLER_FRONTIER_QUERY_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "proto/forall/v1/search_service.pb.h"
#include "search/controller/registry.h"

namespace forall {

// How much is compared at a time: what stays in a core's cache. No answer depends on it.
struct FrontierBlocks {
  size_t points = 8192;  // that may be members, before the dominated among them are dropped
  size_t rivals = 512;   // of the members; positive
};

// NotFound: the job or supernet. InvalidArgument: a field; an objective on a latency without a
// device while several devices have measured (the message lists them).
//
// With neither objectives nor constraints given, the answer is the job's own frontier. Values are
// those of the highest fidelity there is; a latency counts only under the device's present
// fingerprint (or the job's).
//
// A member is contested when a verdict behind it is NOISY, when its final numbers could not be had,
// or when some other trial could take its place: in no objective the member is established to be
// better, and in one the other could be. For top-1 accuracies on the same images "established" is
// the exact paired test at 2.5 %; otherwise it is that the intervals do not meet.
//
// Where no trial meets the constraints, those of the job included, the answer names the closest:
// trials with all the values that were asked for or, when there is none, trials that broke a limit
// before all was measured, whose missing values are NaN.
absl::StatusOr<v1::QueryParetoFrontierResponse> QueryFrontier(
    const Registry& registry, const v1::QueryParetoFrontierRequest& request,
    const FrontierBlocks& blocks = {});

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_FRONTIER_QUERY_H_
