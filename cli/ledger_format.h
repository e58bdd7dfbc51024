// SPDX-License-Identifier: Apache-2.0
// What a job's sampler predicted against what was measured, as a table and as JSON.
#ifndef FORALL_CLI_LEDGER_FORMAT_H_
#define FORALL_CLI_LEDGER_FORMAT_H_

#include <cstddef>
#include <string>

#include "nlohmann/json_fwd.hpp"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {

// A line per objective and what the columns mean; or why there is nothing to compare. In at most
// `width` columns (0: as many as it takes).
std::string LedgerTable(const v1::PredictionLedger& ledger, size_t width = 0);

// {"entries": [{"objective": ..., "forecasts": n, "mean_relative_error": ..., "pairs": [...]}]};
// docs/search.md lists the fields.
nlohmann::ordered_json LedgerJson(const v1::PredictionLedger& ledger);

}  // namespace forall

#endif  // FORALL_CLI_LEDGER_FORMAT_H_
