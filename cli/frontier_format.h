// SPDX-License-Identifier: Apache-2.0
// A frontier as a table for people, as CSV for spreadsheets and as JSON for programs.
#ifndef FORALL_CLI_FRONTIER_FORMAT_H_
#define FORALL_CLI_FRONTIER_FORMAT_H_

#include <string>

#include "nlohmann/json_fwd.hpp"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {

// Fits 100 columns for two objectives. The knee is marked with '*', a contested member with '~'.
std::string FrontierTable(const v1::QueryParetoFrontierResponse& frontier);

// One line per member, header first: per objective value, low, high; then costs, keys, the
// architecture as JSON (quoted).
std::string FrontierCsv(const v1::QueryParetoFrontierResponse& frontier);

// {"objectives": [...], "hypervolume": x, "considered_trials": n, "members": [...]};
// docs/quickstart.md lists the fields of a member.
nlohmann::ordered_json FrontierJson(const v1::QueryParetoFrontierResponse& frontier);

// The measurement of `trial` that an objective refers to (highest fidelity), or nullptr.
const v1::Measurement* FindMeasurement(const v1::Trial& trial, const v1::Objective& objective);

}  // namespace forall

#endif  // FORALL_CLI_FRONTIER_FORMAT_H_
