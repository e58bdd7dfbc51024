// SPDX-License-Identifier: Apache-2.0
#include "cli/ledger_format.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/binomial.h"
#include "cli/expressions.h"
#include "cli/text_table.h"
#include "cli/wrapped_text.h"
#include "nlohmann/json.hpp"
#include "space/metric_registry.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;
using Entry = v1::PredictionLedger::Entry;

std::string Percent(double share) { return absl::StrFormat("%.0f %%", 100 * share); }

std::string Correlation(bool known, double value) {
  return known ? absl::StrFormat("%.2f", value) : "-";
}

std::string Bias(const Entry& entry) {
  const MetricInfo* const metric = FindMetric(entry.objective().metric());
  const std::string unit = metric == nullptr || metric->unit == "%" ? "points" : metric->unit;
  const double error = entry.mean_signed_error();
  return unit == "points" ? absl::StrFormat("%+.2f points", error)
                          : absl::StrFormat("%+.4f %s", error, unit);
}

bool IsOverconfident(const Entry& entry) {
  const int64_t trials = entry.forecasts_size();
  const double share = entry.within_interval();
  return share >= 0 && share <= 1 &&
         CoverageIsFarBelow95(std::llround(share * static_cast<double>(trials)), trials);
}

Json OrNull(bool known, double value) { return known ? Json(value) : Json(nullptr); }

}  // namespace

std::string LedgerTable(const v1::PredictionLedger& ledger, size_t width) {
  const size_t line = LineWidth(width);
  const bool any = std::any_of(ledger.entries().begin(), ledger.entries().end(),
                               [](const Entry& entry) { return entry.forecasts_size() > 0; });
  if (ledger.entries().empty()) {
    return "Nothing to compare: the job measures no objective, all are known exactly.\n";
  }
  if (!any) {
    return WrappedText("",
                       "Nothing to compare yet: no measured trial was predicted when it was "
                       "proposed. The sampler \"guided\" predicts, once its first trials are "
                       "measured; others do not.",
                       0, line);
  }
  TextTable table({"OBJECTIVE", "TRIALS", "MAPE", "<=5%", "<=10%", "<=15%", "BIAS", "TAU-B",
                   "SPEARMAN", "IN 95%"});
  for (const Entry& entry : ledger.entries()) {
    std::vector<std::string> row = {ObjectiveText(entry.objective()),
                                    absl::StrCat(entry.forecasts_size())};
    if (entry.forecasts().empty()) {
      row.resize(10, "-");
    } else {
      row.push_back(entry.has_mean_relative_error()
                        ? absl::StrFormat("%.2f %%", 100 * entry.mean_relative_error())
                        : "-");
      row.push_back(Percent(entry.within_5_percent()));
      row.push_back(Percent(entry.within_10_percent()));
      row.push_back(Percent(entry.within_15_percent()));
      row.push_back(Bias(entry));
      row.push_back(Correlation(entry.has_kendall_tau(), entry.kendall_tau()));
      row.push_back(Correlation(entry.has_spearman_rho(), entry.spearman_rho()));
      row.push_back(Percent(entry.within_interval()) + (IsOverconfident(entry) ? " !" : ""));
    }
    table.AddRow(std::move(row));
  }
  const bool overconfident =
      std::any_of(ledger.entries().begin(), ledger.entries().end(), IsOverconfident);
  std::string text = absl::StrCat(
      table.Render(width),
      WrappedText("",
                  "MAPE mean error, of what was measured; <=5% trials with at most that error; "
                  "BIAS predicted - measured; TAU-B, SPEARMAN agreement of the orders; IN 95% "
                  "measured inside the predicted interval",
                  0, line));
  if (overconfident) {
    absl::StrAppend(&text, WrappedText("",
                                       "! too few, and not by chance: the search was surer of "
                                       "itself than it should have been. Measured values and the "
                                       "frontier do not rest on predictions",
                                       0, line));
  }
  return text;
}

Json LedgerJson(const v1::PredictionLedger& ledger) {
  Json json;
  json["entries"] = Json::array();
  for (const Entry& entry : ledger.entries()) {
    Json item;
    item["objective"] = ObjectiveText(entry.objective());
    item["forecasts"] = entry.forecasts_size();
    item["mean_relative_error"] =
        OrNull(entry.has_mean_relative_error(), entry.mean_relative_error());
    const bool any = entry.forecasts_size() > 0;
    item["within_5_percent"] = OrNull(any, entry.within_5_percent());
    item["within_10_percent"] = OrNull(any, entry.within_10_percent());
    item["within_15_percent"] = OrNull(any, entry.within_15_percent());
    item["mean_signed_error"] = OrNull(any, entry.mean_signed_error());
    item["kendall_tau"] = OrNull(entry.has_kendall_tau(), entry.kendall_tau());
    item["spearman_rho"] = OrNull(entry.has_spearman_rho(), entry.spearman_rho());
    item["within_interval"] = OrNull(any, entry.within_interval());
    item["pairs"] = Json::array();
    for (const v1::PredictionLedger::Forecast& forecast : entry.forecasts()) {
      item["pairs"].push_back({{"trial", forecast.trial()},
                               {"expected", forecast.expected()},
                               {"deviation", forecast.deviation()},
                               {"measured", forecast.measured()}});
    }
    json["entries"].push_back(std::move(item));
  }
  return json;
}

}  // namespace forall
