// SPDX-License-Identifier: Apache-2.0
// The frontier plot: every measured subnet over two axes.
#ifndef FORALL_SEARCH_REPORT_SCATTER_PLOT_H_
#define FORALL_SEARCH_REPORT_SCATTER_PLOT_H_

#include <string>
#include <vector>

#include "search/report/report_data.h"

namespace forall {

// A <figure>: legend, SVG over DefaultX() and DefaultY(), caption. Members are links to the rows
// #subnet-N of the table. Also carries what the script needs to draw other axes.
std::string ScatterPlotHtml(const ReportData& data);

// That data: {"frame", "x", "y", "axes", "points"}, safe inside <script type="application/json">.
std::string PlotDataJson(const ReportData& data);

// Indices into `points` (x, y) of those that no other one beats on both axes, by ascending x. Of
// equal points, the first.
struct PlotPoint {
  double x = 0;
  double y = 0;
};
std::vector<int> Staircase(const std::vector<PlotPoint>& points, bool maximize_x, bool maximize_y);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_SCATTER_PLOT_H_
