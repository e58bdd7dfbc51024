// SPDX-License-Identifier: Apache-2.0
// A job's ledger: what its sampler predicted of each trial against what was measured.
#ifndef FORALL_SEARCH_CONTROLLER_PREDICTION_LEDGER_H_
#define FORALL_SEARCH_CONTROLLER_PREDICTION_LEDGER_H_

#include "proto/forall/v1/search_service.pb.h"
#include "search/controller/job_fold.h"

namespace forall {

// An entry per measured objective, also while none of its trials was predicted. A prediction is of
// what the search sees, so it stands against the screening measurement, and against a final one
// only where the trial has no other; it is held against that also when the trial turned out
// infeasible or lost a race. O(n log n) for n trials.
v1::PredictionLedger PredictionLedgerOf(const JobFold& fold);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_PREDICTION_LEDGER_H_
