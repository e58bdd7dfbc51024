// SPDX-License-Identifier: Apache-2.0
#include "search/report/html_report.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/sha256.h"
#include "search/report/environment_section.h"
#include "search/report/frontier_table.h"
#include "search/report/html_text.h"
#include "search/report/hypervolume_plot.h"
#include "search/report/ledger_section.h"
#include "search/report/method_section.h"
#include "search/report/overview.h"
#include "search/report/page_assets.h"
#include "search/report/preference_section.h"
#include "search/report/report_data.h"
#include "search/report/scatter_plot.h"
#include "search/report/subnet_drawing.h"

namespace forall {
namespace {

// Nothing may be fetched, and no script but our own may run, even if an escape were forgotten.
std::string ContentSecurityPolicy() {
  const std::string digest = absl::HexStringToBytes(Sha256Hex(kPageScript));
  return absl::StrCat(
      "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-",
      absl::Base64Escape(digest), "'; base-uri 'none'; form-action 'none'");
}

std::string Head(const ReportInput& input) {
  return absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"",
      ContentSecurityPolicy(),
      "\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" "
      "href=\"data:,\">\n<title>",
      EscapeHtml(ReportTitle(input)), " · forall</title>\n<style>", kPageStyle,
      "</style></head>\n");
}

std::string Section(absl::string_view id, absl::string_view title, absl::string_view subtitle,
                    absl::string_view content) {
  return absl::StrCat("<section id=\"", id, "\"><h2>", title, "</h2>",
                      subtitle.empty() ? "" : absl::StrCat("<p class=\"sub\">", subtitle, "</p>"),
                      "\n", content, "</section>\n");
}

}  // namespace

std::string RenderReport(const ReportInput& input) {
  const ReportData data = MakeReportData(input);
  return absl::StrCat(
      Head(input), "<body><main>\n", OverviewHtml(input, data), "\n",
      Section(
          "frontier", "The frontier",
          data.measures()
              ? "Every measured subnet, and those that no other beats. Where a search screens on "
                "fewer images, grey ones show what was screened, which flatters: some lie "
                "beyond the line."
              : "Every subnet that was tried, and those that no other beats. Nothing was "
                "measured: predicted values are those of a predictor or a lookup table, costs "
                "are counted.",
          ScatterPlotHtml(data)),
      Section("members", "Frontier subnets", "Best of the first objective first.",
              FrontierTableHtml(data)),
      Section(
          "networks", "What they look like",
          "One box per block: as high as its kernel (the figure inside), as wide as its expansion "
          "(the figure below), coloured by stage. Above each stage, the features it hands on: "
          "height × width · channels.",
          SubnetDrawingsHtml(data)),
      Section("preferences", "What the frontier prefers",
              "How often its members take each option, and how often subnets drawn uniformly from "
              "the search space would.",
              PreferenceHtml(input, data)),
      Section("progress", "The search over time",
              "How much of the objectives' space the frontier covered after each evaluated subnet.",
              HypervolumePlotHtml(input)),
      Section("ledger", "Predicted and measured",
              "What the search expected of subnets when it chose them, against what it then saw.",
              LedgerHtml(input)),
      Section("environment", "Where it was measured",
              "Numbers belong to a device and a runtime; on others they would differ.",
              EnvironmentHtml(input)),
      Section("method", "How to read the numbers", "", MethodHtml(input)),
      Section("reproduce", "How to do it again", "", ReproduceHtml(input)), "<footer>Written ",
      FormatUtc(input.generated), " by forall ", EscapeHtml(input.build),
      ". This page is one file and fetches nothing.</footer>\n</main>\n<script>", kPageScript,
      "</script></body></html>\n");
}

}  // namespace forall
