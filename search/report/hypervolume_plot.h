// SPDX-License-Identifier: Apache-2.0
// Hypervolume over evaluations, against what random evaluations may expect.
#ifndef FORALL_SEARCH_REPORT_HYPERVOLUME_PLOT_H_
#define FORALL_SEARCH_REPORT_HYPERVOLUME_PLOT_H_

#include <string>

#include "search/report/report_input.h"

namespace forall {

// A <figure> with a step line, or a sentence when there is no history. Where other jobs measured
// random subnets, also their expected hypervolume (search/pareto/expected_hypervolume.h) with the
// middle 80 % of orders, up to as many evaluations as the job has; otherwise a hint how to get it.
// At most about a second for the orders, whatever was measured.
std::string HypervolumePlotHtml(const ReportInput& input);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_HYPERVOLUME_PLOT_H_
