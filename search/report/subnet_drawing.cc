// SPDX-License-Identifier: Apache-2.0
#include "search/report/subnet_drawing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "search/report/html_text.h"

namespace forall {
namespace {

constexpr double kLargestScale = 1.3;  // text no larger than the page's
constexpr double kPixelsPerKernel = 5.5;
constexpr double kPixelsPerExpansion = 5.5;
constexpr double kLeastBox = 9;
constexpr double kMostBox = 90;
constexpr double kBlockGap = 3;
constexpr double kStageGap = 20;
constexpr double kInputWidth = 52;
constexpr double kHeadHeight = 20;
constexpr double kFootHeight = 34;
constexpr int kColours = 8;  // .s0 to .s7 of the style sheet
// Longer lists show so many drawings and fold the others away.
constexpr size_t kFoldAbove = 16;
constexpr size_t kShownDrawings = 12;

double BoxWidth(const BlockSummary& block) {
  return std::clamp(block.expansion * kPixelsPerExpansion, kLeastBox, kMostBox);
}

double BoxHeight(const BlockSummary& block) {
  return std::clamp(block.kernel * kPixelsPerKernel, kLeastBox, kMostBox);
}

double StageWidth(const std::vector<BlockSummary>& blocks) {
  double width = 0;
  for (const BlockSummary& block : blocks) width += BoxWidth(block) + kBlockGap;
  return std::max(0.0, width - kBlockGap);
}

std::string BlockTitle(size_t stage, size_t index, const BlockSummary& block) {
  std::string text = absl::StrFormat(
      "Stage %d, block %d: kernel %d×%d, expansion %.3g, %d → %d channels, %d×%d → %d×%d",
      stage + 1, index + 1, block.kernel, block.kernel, block.expansion, block.in.channels,
      block.out.channels, block.in.height, block.in.width, block.out.height, block.out.width);
  if (block.stride > 1) absl::StrAppend(&text, ", stride ", block.stride);
  if (block.squeeze_excite) absl::StrAppend(&text, ", squeeze-excite");
  return text;
}

std::string StageSvg(const std::vector<BlockSummary>& blocks, size_t stage, double x,
                     const DrawingLayout& layout) {
  std::string svg = absl::StrFormat("<g class=\"s%d\">", stage % kColours);
  const double start = x;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const BlockSummary& block = blocks[i];
    const double width = BoxWidth(block);
    const double height = BoxHeight(block);
    absl::StrAppendFormat(&svg,
                          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                          "rx=\"2.5\"><title>%s</title></rect>"
                          "<text class=\"mid\" x=\"%.1f\" y=\"%.1f\">%d</text>",
                          x, layout.axis_y - height / 2, width, height,
                          EscapeHtml(BlockTitle(stage, i, block)), x + width / 2,
                          layout.axis_y + 3.6, block.kernel);
    absl::StrAppendFormat(&svg, "<text class=\"expansion mid\" x=\"%.1f\" y=\"%.1f\">%.3g</text>",
                          x + width / 2, layout.height - kFootHeight + 11, block.expansion);
    x += width + kBlockGap;
  }
  if (!blocks.empty()) {
    const FeatureShape& out = blocks.back().out;
    absl::StrAppendFormat(&svg,
                          "<text class=\"shape\" x=\"%.1f\" y=\"11\">%d×%d · %d</text>"
                          "<text class=\"depth\" x=\"%.1f\" y=\"%.1f\">depth %d</text>",
                          start, out.height, out.width, out.channels, start, layout.height - 6,
                          blocks.size());
  }
  return absl::StrCat(svg, "</g>");
}

std::string Item(const ReportData& data, const Subnet& subnet, const DrawingLayout& layout) {
  std::string html = absl::StrCat(
      "<li", subnet.knee() ? " class=\"knee\"" : "", "><div><a href=\"#subnet-", subnet.number,
      "\">Subnet ", subnet.number, "</a>", subnet.knee() ? " <em>knee</em>" : "", "<small>");
  for (size_t i = 0; i < data.objectives.size(); ++i) {
    if (!subnet.readings[i].has_value()) continue;
    absl::StrAppend(&html, i == 0 ? "" : "<br>",
                    EscapeHtml(ValueWithUnit(data.axes[i], subnet.readings[i]->value)));
  }
  absl::StrAppend(&html, "</small></div>");
  if (subnet.network.has_value()) {
    absl::StrAppend(&html, SubnetSvg(*subnet.network, layout));
  } else {
    absl::StrAppend(&html, "<p class=\"empty\">Not drawn: its search space is not known here.</p>");
  }
  return absl::StrCat(html, "</li>\n");
}

}  // namespace

DrawingLayout LayOut(const std::vector<const NetworkSummary*>& networks) {
  DrawingLayout layout;
  double tallest = kLeastBox;
  for (const NetworkSummary* network : networks) {
    layout.stage_width.resize(std::max(layout.stage_width.size(), network->stages.size()), 0);
    for (size_t s = 0; s < network->stages.size(); ++s) {
      // The text over a stage needs room, too.
      layout.stage_width[s] =
          std::max({layout.stage_width[s], StageWidth(network->stages[s]), 62.0});
      for (const BlockSummary& block : network->stages[s]) {
        tallest = std::max(tallest, BoxHeight(block));
      }
    }
  }
  layout.width = kInputWidth;
  for (const double width : layout.stage_width) {
    layout.stage_x.push_back(layout.width);
    layout.width += width + kStageGap;
  }
  layout.axis_y = kHeadHeight + tallest / 2;
  layout.height = kHeadHeight + tallest + kFootHeight;
  return layout;
}

std::string SubnetSvg(const NetworkSummary& network, const DrawingLayout& layout) {
  std::string svg = absl::StrFormat(
      "<svg class=\"blocks\" viewBox=\"0 0 %.0f %.0f\" style=\"max-width:%.0fpx\" role=\"img\" "
      "aria-label=\"%s\">",
      layout.width, layout.height, kLargestScale * layout.width, EscapeHtml(network.Text()));
  absl::StrAppendFormat(&svg, "<path class=\"flow\" d=\"M%.1f %.1fH%.1f\"/>", kInputWidth - 12,
                        layout.axis_y, layout.width);
  absl::StrAppendFormat(&svg,
                        "<text class=\"shape\" x=\"0\" y=\"11\">input</text>"
                        "<text class=\"resolution\" x=\"0\" y=\"%.1f\">%d</text>"
                        "<text class=\"shape\" x=\"0\" y=\"%.1f\">px</text>",
                        layout.axis_y + 4, network.input.height, layout.axis_y + 17);
  for (size_t s = 0; s < network.stages.size() && s < layout.stage_x.size(); ++s) {
    absl::StrAppend(&svg, StageSvg(network.stages[s], s, layout.stage_x[s], layout));
  }
  return absl::StrCat(svg, "</svg>");
}

std::string SubnetDrawingsHtml(const ReportData& data) {
  if (data.members.empty()) return "<p class=\"empty\">No subnet is on the frontier.</p>";
  std::vector<const NetworkSummary*> networks;
  for (const Subnet& subnet : data.members) {
    if (subnet.network.has_value()) networks.push_back(&*subnet.network);
  }
  const DrawingLayout layout = LayOut(networks);
  std::string html = "<div class=\"card\"><ul class=\"drawings\">\n";
  for (size_t i = 0; i < data.members.size(); ++i) {
    if (i == kShownDrawings && data.members.size() > kFoldAbove) {
      absl::StrAppend(&html, "</ul><details><summary>The other ", data.members.size() - i,
                      "</summary><ul class=\"drawings\">\n");
    }
    absl::StrAppend(&html, Item(data, data.members[i], layout));
  }
  absl::StrAppend(&html, "</ul>", data.members.size() > kFoldAbove ? "</details>" : "", "</div>");
  return html;
}

}  // namespace forall
