// SPDX-License-Identifier: Apache-2.0
#include "cli/estimate_format.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/binomial.h"
#include "cli/frontier_format.h"
#include "cli/text_table.h"
#include "cli/wrapped_text.h"
#include "nlohmann/json.hpp"
#include "space/metric_registry.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;
using Work = v1::SearchJobEstimate::Work;

constexpr size_t kWidth = 100;

std::string Hours(double hours) {
  if (hours > 0 && hours < 0.01) return "< 0.01";
  return absl::StrFormat("%.2f", hours);
}

// Where it is measured: a device, a class, or a split of images; and at which batch size, if not 1.
std::string Place(const Work& work) {
  const v1::Condition& condition = work.condition();
  const std::string batch =
      condition.batch() > 1 ? absl::StrCat(":batch=", condition.batch()) : std::string();
  if (!condition.device().empty()) {
    return absl::StrCat(absl::StripPrefix(condition.device(), "devices/"), batch);
  }
  if (!condition.device_class().empty()) {
    return absl::StrCat("class:", condition.device_class(), batch);
  }
  return condition.split().empty() ? absl::StrCat("any device", batch) : condition.split();
}

std::vector<std::string> MetricsOf(const Work& work) {
  return absl::StrSplit(work.metric(), ", ", absl::SkipEmpty());
}

// What the percentiles among them need of each subnet; 0 without any.
int64_t FewestRuns(const Work& work) {
  int64_t runs = 0;
  for (const std::string& id : MetricsOf(work)) {
    const MetricInfo* const metric = FindMetric(id);
    if (metric == nullptr || metric->percentile == 0) continue;
    runs = std::max(runs, FewestSamplesForPercentile(metric->percentile));
  }
  return runs;
}

std::string Basis(const Work& work) {
  if (!work.has_seconds_each()) return "-";
  // The device has a column of its own: what is left says how it is not just the same.
  const size_t comma = work.basis().find(", ");
  return absl::StrCat(work.basis_count(), work.basis_count() == 1 ? " like it" : " like them",
                      comma == std::string::npos ? "" : work.basis().substr(comma));
}

Json OrNull(bool known, double value) { return known ? Json(value) : Json(nullptr); }

}  // namespace

std::string EstimateTable(const v1::SearchJobEstimate& estimate) {
  std::string text;
  if (estimate.work().empty()) {
    text = "Nothing is measured: all that the job asks for is known exactly or predicted.\n";
  } else {
    TextTable table(
        {"METRIC", "WHERE", "FIDELITY", "AT MOST", "SECONDS EACH", "DEVICE-HOURS", "MEDIAN OF"});
    for (const Work& work : estimate.work()) {
      const int64_t runs = FewestRuns(work);
      table.AddRow({runs == 0 ? work.metric()
                              : absl::StrCat(work.metric(), " (", runs, " runs or more each)"),
                    Place(work), work.fidelity(), absl::StrCat(work.measurements()),
                    work.has_seconds_each() ? absl::StrFormat("%.2f", work.seconds_each()) : "-",
                    work.has_device_hours() ? Hours(work.device_hours()) : "-", Basis(work)});
    }
    const auto known = [](const Work& work) {
      return work.has_device_hours() || work.measurements() == 0;
    };
    const bool all = std::all_of(estimate.work().begin(), estimate.work().end(), known);
    const bool any = std::any_of(estimate.work().begin(), estimate.work().end(),
                                 [](const Work& work) { return work.has_device_hours(); });
    absl::StrAppend(&text, table.Render(kWidth));
    if (!any && !all) {
      absl::StrAppend(
          &text, "How many device-hours that makes is not known: nothing of it was ever timed");
    } else {
      absl::StrAppend(&text, "At most ", Hours(estimate.device_hours()), " device-hours",
                      all ? "" : ", and more for what is not known");
    }
    if (estimate.has_wall_hours()) {
      absl::StrAppend(&text, "; ", Hours(estimate.wall_hours()),
                      " hours with the workers that are connected");
    }
    absl::StrAppend(&text, ".\n");
    if (estimate.known_subnets() > 0) {
      absl::StrAppend(&text, "It would begin with ", estimate.known_subnets(),
                      " subnets whose values are known.\n");
    }
  }
  for (const v1::SearchJobEstimate::Range& range : estimate.ranges()) {
    absl::StrAppend(&text, range.metric(), " from ", Quantity(range.metric(), range.least()),
                    " to ", Quantity(range.metric(), range.most()), "\n");
  }
  for (const std::string& warning : estimate.warnings()) {
    absl::StrAppend(&text, WrappedText("", absl::StrCat("warning: ", warning), 2, kWidth));
  }
  return text;
}

Json EstimateJson(const v1::SearchJobEstimate& estimate) {
  Json json;
  json["work"] = Json::array();
  for (const Work& work : estimate.work()) {
    Json item;
    item["metric"] = work.metric();
    item["metrics"] = MetricsOf(work);
    item["where"] = Place(work);
    item["fidelity"] = work.fidelity();
    item["batch"] = work.condition().batch() > 0 ? Json(work.condition().batch()) : Json(nullptr);
    item["measurements"] = work.measurements();
    const int64_t runs = FewestRuns(work);
    item["fewest_runs"] = runs == 0 ? Json(nullptr) : Json(runs);
    item["seconds_each"] = OrNull(work.has_seconds_each(), work.seconds_each());
    item["basis_count"] = work.basis_count();
    item["basis"] = work.basis();
    item["device_hours"] = OrNull(work.has_device_hours(), work.device_hours());
    json["work"].push_back(std::move(item));
  }
  json["device_hours"] = estimate.device_hours();
  json["wall_hours"] = OrNull(estimate.has_wall_hours(), estimate.wall_hours());
  json["known_subnets"] = estimate.known_subnets();
  json["ranges"] = Json::array();
  for (const v1::SearchJobEstimate::Range& range : estimate.ranges()) {
    json["ranges"].push_back(
        {{"metric", range.metric()}, {"least", range.least()}, {"most", range.most()}});
  }
  json["warnings"] = Json::array();
  for (const std::string& warning : estimate.warnings()) json["warnings"].push_back(warning);
  return json;
}

}  // namespace forall
