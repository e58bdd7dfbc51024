// SPDX-License-Identifier: Apache-2.0
// A search job as one HTML page: what was found, how it was measured, how to do it again.
#ifndef FORALL_SEARCH_REPORT_HTML_REPORT_H_
#define FORALL_SEARCH_REPORT_HTML_REPORT_H_

#include <string>

#include "search/report/report_input.h"

namespace forall {

// One self-contained file: styles, drawings and script are inside, nothing is fetched, and the
// content security policy it carries forbids fetching. It reads completely without the script,
// which adds tooltips and the choice of axes. Light and dark, on screen and on paper.
//
// Every text of the input is escaped. Numbers that are not finite are left out. Pure: the same
// input gives the same bytes. Any input gives a page, an empty one too. About 1 ms per drawn
// subnet.
std::string RenderReport(const ReportInput& input);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_HTML_REPORT_H_
