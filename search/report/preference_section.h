// SPDX-License-Identifier: Apache-2.0
// Which options of the search space the frontier prefers.
#ifndef FORALL_SEARCH_REPORT_PREFERENCE_SECTION_H_
#define FORALL_SEARCH_REPORT_PREFERENCE_SECTION_H_

#include <string>

#include "search/report/report_data.h"
#include "search/report/report_input.h"

namespace forall {

// Bars per kind of choice (OptionShares): how often the frontier's members take each option, with a
// mark where uniform sampling would. A job with several latency objectives gets a row of them per
// latency: over the members that no other beats on it and the objectives that are no latency.
std::string PreferenceHtml(const ReportInput& input, const ReportData& data);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_PREFERENCE_SECTION_H_
