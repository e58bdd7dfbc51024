// SPDX-License-Identifier: Apache-2.0
// The top of a report: whose it is, and its result in a sentence and a few figures.
#ifndef FORALL_SEARCH_REPORT_OVERVIEW_H_
#define FORALL_SEARCH_REPORT_OVERVIEW_H_

#include <string>

#include "search/report/report_data.h"

namespace forall {

// The job's display name, or its resource name. Not escaped.
std::string ReportTitle(const ReportInput& input);

// The page's <header>.
std::string OverviewHtml(const ReportInput& input, const ReportData& data);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_OVERVIEW_H_
