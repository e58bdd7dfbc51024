// SPDX-License-Identifier: Apache-2.0
// What a job would cost, as a table and as JSON.
#ifndef FORALL_CLI_ESTIMATE_FORMAT_H_
#define FORALL_CLI_ESTIMATE_FORMAT_H_

#include <string>

#include "nlohmann/json_fwd.hpp"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {

// A line per kind of measurement, the sums, what is known and what can be met, then warnings; at
// most 100 columns wide as long as names are short.
std::string EstimateTable(const v1::SearchJobEstimate& estimate);

// The message's fields by their own names; null for what is not known (docs/jobs.md).
nlohmann::ordered_json EstimateJson(const v1::SearchJobEstimate& estimate);

}  // namespace forall

#endif  // FORALL_CLI_ESTIMATE_FORMAT_H_
