// SPDX-License-Identifier: Apache-2.0
#include "cli/expressions.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "cli/spelling.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

constexpr absl::string_view kClassPrefix = "class:";

constexpr absl::string_view kBatch = ":batch=";
constexpr absl::string_view kGrid = ":grid=";

// Takes ":batch=8" and ":grid=386" off the end.
absl::Status ParseSuffixes(absl::string_view* text, v1::Condition* condition) {
  const absl::string_view all = *text;
  while (true) {
    const size_t batch = text->rfind(kBatch);
    const size_t grid = text->rfind(kGrid);
    const bool has_batch = batch != absl::string_view::npos;
    const bool has_grid = grid != absl::string_view::npos;
    if (!has_batch && !has_grid) return absl::OkStatus();
    if (has_batch && (!has_grid || batch > grid)) {
      int32_t images = 0;
      if (!absl::SimpleAtoi(text->substr(batch + kBatch.size()), &images) || images < 1 ||
          condition->batch() != 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("\"", all, "\": one number of images, at least 1, belongs after :batch="));
      }
      condition->set_batch(images);
      *text = text->substr(0, batch);
      continue;
    }
    double intensity = 0;
    if (!absl::SimpleAtod(text->substr(grid + kGrid.size()), &intensity) ||
        !std::isfinite(intensity) || intensity <= 0 || condition->grid_grams_per_kwh() != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", all,
                       "\": one positive number of grams of CO2 equivalent per kWh belongs after "
                       ":grid="));
    }
    condition->set_grid_grams_per_kwh(intensity);
    *text = text->substr(0, grid);
  }
}

// Splits "metric@where" and fills the condition.
absl::StatusOr<std::string> ParseMetric(absl::string_view text, v1::Condition* condition) {
  text = absl::StripAsciiWhitespace(text);
  FORALL_RETURN_IF_ERROR(ParseSuffixes(&text, condition));
  const size_t at = text.find('@');
  const absl::string_view metric = text.substr(0, at);
  if (FindMetric(metric) == nullptr) {
    std::vector<std::string> names;
    for (const MetricInfo& known : Metrics()) names.push_back(known.id);
    // "accuracy" and "latency" lack as much as they have.
    std::string meant;
    for (size_t i = 0; meant.empty() && metric.size() > 2 && i < names.size(); ++i) {
      if (absl::StartsWith(names[i], metric))
        meant = absl::StrCat("; did you mean ", names[i], "?");
    }
    if (meant.empty()) meant = DidYouMean(metric.substr(0, 80), names);
    return absl::InvalidArgumentError(
        absl::StrCat("there is no metric \"", metric.substr(0, 80), "\"", meant,
                     meant.empty() ? "; known are " : " Known are ", KnownMetricIds()));
  }
  if (at == absl::string_view::npos) return std::string(metric);
  absl::string_view where = text.substr(at + 1);
  if (absl::ConsumePrefix(&where, kClassPrefix)) {
    condition->set_device_class(std::string(where));
  } else if (!where.empty()) {
    condition->set_device(WithCollection("devices", where));
  }
  if (where.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\": a device or class:NAME is missing after @"));
  }
  return std::string(metric);
}

absl::StatusOr<double> ParseQuantity(absl::string_view text) {
  static constexpr std::pair<absl::string_view, double> kSuffixes[] = {
      {"Ki", 1024.0}, {"Mi", 1048576.0}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}};
  double factor = 1;
  absl::string_view number = text;
  for (const auto& [suffix, value] : kSuffixes) {
    if (absl::ConsumeSuffix(&number, suffix)) {
      factor = value;
      break;
    }
  }
  double value = 0;
  if (!absl::SimpleAtod(number, &value) || !std::isfinite(value * factor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not a number; a suffix may be k, M, G, Ki or Mi"));
  }
  return value * factor;
}

}  // namespace

std::string WithCollection(absl::string_view collection, absl::string_view name) {
  if (absl::StartsWith(name, absl::StrCat(collection, "/"))) return std::string(name);
  return absl::StrCat(collection, "/", name);
}

absl::StatusOr<v1::Objective> ParseObjective(absl::string_view text) {
  v1::Objective objective;
  FORALL_ASSIGN_OR_RETURN(*objective.mutable_metric(),
                          ParseMetric(text, objective.mutable_condition()));
  return objective;
}

absl::StatusOr<v1::Constraint> ParseConstraint(absl::string_view text) {
  size_t position = text.find("<=");
  const bool at_most = position != absl::string_view::npos;
  if (!at_most) position = text.find(">=");
  if (position == absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", text,
        "\": write a constraint as METRIC<=NUMBER or METRIC>=NUMBER, e.g. latency_ms<=8"));
  }
  v1::Constraint constraint;
  FORALL_ASSIGN_OR_RETURN(*constraint.mutable_metric(),
                          ParseMetric(text.substr(0, position), constraint.mutable_condition()));
  FORALL_ASSIGN_OR_RETURN(const double bound, ParseQuantity(text.substr(position + 2)));
  if (at_most) {
    constraint.set_at_most(bound);
  } else {
    constraint.set_at_least(bound);
  }
  return constraint;
}

std::string MetricText(const std::string& metric, const v1::Condition& condition) {
  std::string text = metric;
  if (!condition.device().empty()) {
    absl::StrAppend(&text, "@", absl::StripPrefix(condition.device(), "devices/"));
  } else if (!condition.device_class().empty()) {
    absl::StrAppend(&text, "@", kClassPrefix, condition.device_class());
  }
  if (condition.batch() > 1) absl::StrAppend(&text, kBatch, condition.batch());
  if (condition.grid_grams_per_kwh() > 0) {
    absl::StrAppend(&text, absl::StrFormat("%s%.9g", kGrid, condition.grid_grams_per_kwh()));
  }
  return text;
}

std::string ConstraintText(const v1::Constraint& constraint) {
  const std::string metric = MetricText(constraint.metric(), constraint.condition());
  std::string text;
  if (constraint.has_at_most()) text = absl::StrFormat("%s<=%.15g", metric, constraint.at_most());
  if (!constraint.has_at_least()) return text;
  return absl::StrFormat("%s%s%s>=%.15g", text, text.empty() ? "" : " and ", metric,
                         constraint.at_least());
}

std::string ObjectiveText(const v1::Objective& objective) {
  return MetricText(objective.metric(), objective.condition());
}

}  // namespace forall
