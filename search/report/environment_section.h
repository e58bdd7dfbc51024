// SPDX-License-Identifier: Apache-2.0
// On what, by whom and on which data a report's numbers were measured.
#ifndef FORALL_SEARCH_REPORT_ENVIRONMENT_SECTION_H_
#define FORALL_SEARCH_REPORT_ENVIRONMENT_SECTION_H_

#include <string>

#include "search/report/report_input.h"

namespace forall {

std::string EnvironmentHtml(const ReportInput& input);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_ENVIRONMENT_SECTION_H_
