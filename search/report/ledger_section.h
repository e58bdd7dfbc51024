// SPDX-License-Identifier: Apache-2.0
// How well the search predicted what it then measured.
#ifndef FORALL_SEARCH_REPORT_LEDGER_SECTION_H_
#define FORALL_SEARCH_REPORT_LEDGER_SECTION_H_

#include <string>

#include "search/report/report_input.h"

namespace forall {

// A table with a line per measured objective and a plot of predicted against measured for each, or
// a sentence where nothing was predicted.
std::string LedgerHtml(const ReportInput& input);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_LEDGER_SECTION_H_
