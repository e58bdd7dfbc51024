// SPDX-License-Identifier: Apache-2.0
// Judges what a client submits, field by field, before anything of it is used.
#ifndef FORALL_SEARCH_CONTROLLER_JOB_VALIDATOR_H_
#define FORALL_SEARCH_CONTROLLER_JOB_VALIDATOR_H_

#include <string>

#include "absl/status/status.h"
#include "proto/forall/v1/resources.pb.h"
#include "space/family.h"

namespace forall {

// Everything about a spec that can be judged without knowing what the controller holds.
// InvalidArgument naming the field's path ("spec.objectives[2].metric: ..."), including for fields
// that this build does not know. Pure; never crashes on any message.
absl::Status ValidateSearchJobSpec(const v1::SearchJobSpec& spec);

// What bounds the work that a spec out of the store can make: counts and sizes alone, so that what
// an earlier build has accepted under other rules still loads. DataLoss naming the field.
absl::Status CheckStoredSpec(const v1::SearchJobSpec& spec);

// Objectives and constraints alone, as in a frontier query; `objectives` may be empty.
absl::Status ValidateObjectives(
    const google::protobuf::RepeatedPtrField<v1::Objective>& objectives,
    const google::protobuf::RepeatedPtrField<v1::Constraint>& constraints,
    const std::string& prefix);

// Fills in the defaults of a valid spec, so that what is stored says all: `dataset` is the
// supernet's.
void FillDefaults(const std::string& dataset, v1::SearchJobSpec* spec);

// FailedPrecondition when an exact cost constraint cannot be met by any subnet of the family,
// giving the nearest bound that can be: costs never fall when a choice grows, so that the smallest
// and the largest subnet bound them.
absl::Status CheckFeasible(const v1::SearchJobSpec& spec, const Family& family);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_VALIDATOR_H_
