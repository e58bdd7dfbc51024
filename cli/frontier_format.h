// SPDX-License-Identifier: Apache-2.0
// A frontier as a table for people, as CSV for spreadsheets and as JSON for programs.
#ifndef FORALL_CLI_FRONTIER_FORMAT_H_
#define FORALL_CLI_FRONTIER_FORMAT_H_

#include <cstddef>
#include <string>

#include "nlohmann/json_fwd.hpp"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {

// In at most `width` columns (0: as many as it takes). The knee, or where there is none the
// suggested member, is marked with '*', a contested member with '~', a value that is estimated from
// a screening with "est.". Where nothing meets the constraints, the closest trials and what they
// miss follow in words.
std::string FrontierTable(const v1::QueryParetoFrontierResponse& frontier, size_t width = 0);

// One line per member, header first: per objective value, low, high, verdict and fidelity
// (screening, final, or estimated where the value is); then costs, keys, the architecture as JSON
// (quoted). Nothing but the header where nothing meets the constraints: see ClosestText.
std::string FrontierCsv(const v1::QueryParetoFrontierResponse& frontier);

// {"objectives": [...], "hypervolume": x (null for another question than the job's own),
// "considered_trials": n, "members": [...]}, and where there are such "closest": [{"trial",
// "values": {objective: x or null}, "misses": [{"constraint", "value", "relative_excess"}]}].
// docs/quickstart.md lists the fields of a member.
nlohmann::ordered_json FrontierJson(const v1::QueryParetoFrontierResponse& frontier);

// That nothing meets the constraints, and a line per closest trial with all that it misses; ""
// where the response names none. `width` as above.
std::string ClosestText(const v1::QueryParetoFrontierResponse& frontier, size_t width = 0);

// A trial's measurements by name ("accuracy_top1", "accuracy_top1@test", "latency_ms@devices/pi5"),
// as a member of FrontierJson has them: of equal names the one of highest fidelity.
nlohmann::ordered_json MeasuredJson(const v1::Trial& trial);

// A value in the few digits that a person wants to see: "7.66 M", "94.31".
std::string Quantity(const std::string& metric, double value);

// "TRUSTED", "NOISY", "REJECTED" or "UNSPECIFIED".
std::string VerdictText(v1::Verdict::State state);

// "certain" or "contested".
const char* CertaintyName(const v1::FrontierMember& member);

}  // namespace forall

#endif  // FORALL_CLI_FRONTIER_FORMAT_H_
