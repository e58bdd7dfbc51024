// SPDX-License-Identifier: Apache-2.0
// The frontier's members as a table.
#ifndef FORALL_SEARCH_REPORT_FRONTIER_TABLE_H_
#define FORALL_SEARCH_REPORT_FRONTIER_TABLE_H_

#include <string>

#include "search/report/report_data.h"

namespace forall {

// What misses the constraints by the least, in words; "" where the report names none.
std::string ClosestHtml(const ReportData& data);

// One row (#subnet-N) per member, best of the first objective first; a sentence when there is none.
std::string FrontierTableHtml(const ReportData& data);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_FRONTIER_TABLE_H_
