// SPDX-License-Identifier: Apache-2.0
// A controller names the fields of its wire; a user typed flags and a job file.
#ifndef FORALL_CLI_ERROR_WORDS_H_
#define FORALL_CLI_ERROR_WORDS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/forall/v1/resources.pb.h"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {

// The message with the paths of wire fields turned into what the user wrote: "spec.constraints[0]
// .at_most: ..." becomes "constraint macs<=10: ...", "spec.budget.max_trials" becomes
// "budget.max_trials (--trials)", other fields the job file's.
std::string InUserWords(absl::string_view message, const v1::SearchJobSpec& spec);
absl::Status InUserWords(const absl::Status& status, const v1::SearchJobSpec& spec);
// Of a query, whose objectives and constraints are flags.
absl::Status InUserWords(const absl::Status& status, const v1::QueryParetoFrontierRequest& query);
// "parent: there is no searchJobs/9" without the field that held the name.
std::string WithoutField(absl::string_view message);

}  // namespace forall

#endif  // FORALL_CLI_ERROR_WORDS_H_
