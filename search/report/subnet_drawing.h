// SPDX-License-Identifier: Apache-2.0
// Draws the blocks of a subnet: a box per block, as high as its kernel and as wide as its
// expansion, coloured by stage. All drawings of a page have one scale and their stages one above
// the other.
#ifndef FORALL_SEARCH_REPORT_SUBNET_DRAWING_H_
#define FORALL_SEARCH_REPORT_SUBNET_DRAWING_H_

#include <string>
#include <vector>

#include "search/report/report_data.h"

namespace forall {

// Where stages begin and how large everything is, for a set of subnets.
struct DrawingLayout {
  std::vector<double> stage_x;
  std::vector<double> stage_width;
  double width = 0;
  double height = 0;
  double axis_y = 0;  // the line that the boxes are centred on
};
DrawingLayout LayOut(const std::vector<const NetworkSummary*>& networks);

std::string SubnetSvg(const NetworkSummary& network, const DrawingLayout& layout);

// A list with one drawing per member; the later ones of many are folded away.
std::string SubnetDrawingsHtml(const ReportData& data);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_SUBNET_DRAWING_H_
