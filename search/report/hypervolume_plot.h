// SPDX-License-Identifier: Apache-2.0
// Hypervolume over evaluations.
#ifndef FORALL_SEARCH_REPORT_HYPERVOLUME_PLOT_H_
#define FORALL_SEARCH_REPORT_HYPERVOLUME_PLOT_H_

#include <string>

#include "search/report/report_input.h"

namespace forall {

// A <figure> with a step line, or a sentence when there is no history.
std::string HypervolumePlotHtml(const ReportInput& input);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_HYPERVOLUME_PLOT_H_
