// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_plan.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/controller/derived_metric.h"
#include "search/controller/resource_names.h"
#include "search/inner/predictor_scorer.h"

namespace forall {
namespace {

// A violation relative to its bound; a bound near 0 must not make it endless.
double Relative(double excess, double bound) { return excess / std::max(std::abs(bound), 1e-9); }

// The device of a table that a condition names; "" for none.
std::string LabelOf(const v1::Condition& condition) {
  if (!condition.device_class().empty()) return condition.device_class();
  const absl::StatusOr<std::string> device = ParseDeviceName(condition.device());
  return device.ok() ? *device : "";
}

}  // namespace

absl::StatusOr<std::shared_ptr<const JobPlan>> JobPlan::Create(const v1::SearchJobSpec& spec,
                                                               std::shared_ptr<const Family> family,
                                                               JobFiles files) {
  std::shared_ptr<JobPlan> plan(new JobPlan);
  plan->spec_ = spec;
  plan->family_ = std::move(family);
  plan->files_ = std::move(files);
  const SearchSpace& space = plan->family_->search_space();
  FORALL_RETURN_IF_ERROR(plan->family_->Describe(space.Smallest()).status());
  FORALL_RETURN_IF_ERROR(plan->family_->Describe(space.Largest()).status());
  FORALL_ASSIGN_OR_RETURN(plan->recipe_, ParseRecipe(spec.recipe()));
  plan->smallest_ = plan->CostsOf(space.Smallest());
  plan->largest_ = plan->CostsOf(space.Largest());
  for (int i = 0; i < spec.objectives_size(); ++i) {
    const v1::Objective& objective = spec.objectives(i);
    FORALL_ASSIGN_OR_RETURN(
        const int slot, plan->SlotOf(absl::StrCat("spec.objectives[", i, "]"), objective.metric(),
                                     objective.condition()));
    plan->objectives_.push_back({slot, objective.goal() == v1::Objective::MAXIMIZE});
  }
  for (int i = 0; i < spec.constraints_size(); ++i) {
    const v1::Constraint& constraint = spec.constraints(i);
    Limit limit;
    FORALL_ASSIGN_OR_RETURN(limit.slot, plan->SlotOf(absl::StrCat("spec.constraints[", i, "]"),
                                                     constraint.metric(), constraint.condition()));
    if (constraint.has_at_most()) limit.at_most = constraint.at_most();
    if (constraint.has_at_least()) limit.at_least = constraint.at_least();
    plan->limits_.push_back(limit);
    plan->limits_latency_ |= plan->slots_[limit.slot].target >= 0;
    const auto same = [&](int slot) { return slot == limit.slot; };
    if (std::none_of(plan->objectives_.begin(), plan->objectives_.end(),
                     [&](const Goal& goal) { return same(goal.slot); }) &&
        std::none_of(plan->limited_.begin(), plan->limited_.end(), same)) {
      plan->limited_.push_back(limit.slot);
    }
  }
  return std::shared_ptr<const JobPlan>(std::move(plan));
}

int JobPlan::TargetOf(const v1::Condition& condition) {
  const LatencyTarget wanted{condition.device(), condition.device_class(), condition.profile(),
                             std::max(condition.batch(), 1)};
  for (size_t i = 0; i < targets_.size(); ++i) {
    const LatencyTarget& known = targets_[i];
    if (known.device == wanted.device && known.device_class == wanted.device_class &&
        known.profile == wanted.profile && known.batch == wanted.batch) {
      return static_cast<int>(i);
    }
  }
  targets_.push_back(wanted);
  return static_cast<int>(targets_.size()) - 1;
}

std::shared_ptr<const CompiledTable> JobPlan::TableFor(const v1::Condition& condition) const {
  const std::string label = LabelOf(condition);
  if (label.empty()) return files_.tables.size() == 1 ? files_.tables.front() : nullptr;
  for (const std::shared_ptr<const CompiledTable>& table : files_.tables) {
    if (table->conditions().device == label) return table;
  }
  return nullptr;
}

std::shared_ptr<const CompiledTable> JobPlan::PriorOf(const LatencyTarget& target) const {
  v1::Condition condition;
  condition.set_device(target.device);
  condition.set_device_class(target.device_class);
  return LabelOf(condition).empty() ? nullptr : TableFor(condition);
}

int JobPlan::FindTableTarget(const v1::Condition& condition) const {
  const std::string label = LabelOf(condition);
  if (label.empty()) return table_targets_.size() == 1 ? 0 : -1;
  for (size_t i = 0; i < table_targets_.size(); ++i) {
    // Who names no device has one table only.
    const std::string known = LabelOf(table_targets_[i].condition);
    if (known == label || (known.empty() && (files_.tables.empty() || TableFor(condition)))) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

int JobPlan::FindTableSlot(const v1::Condition& condition) const {
  const int target = FindTableTarget(condition);
  for (size_t i = 0; target >= 0 && i < slots_.size(); ++i) {
    if (slots_[i].table == target) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<int> JobPlan::TableTargetOf(const std::string& field,
                                           const v1::Condition& condition) {
  TableTarget target{condition, TableFor(condition)};
  if (target.table == nullptr && !files_.tables.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".condition.device: the latency tables of this job are of ",
        absl::StrJoin(files_.tables, ", ",
                      [](std::string* out, const auto& table) {
                        absl::StrAppend(out, "\"", table->conditions().device, "\"");
                      }),
        "; name one of these (predicted_latency_ms@DEVICE, or @class:TEXT where it has other "
        "characters than a device's name)"));
  }
  if (const int known = FindTableTarget(condition); known >= 0) return known;
  table_targets_.push_back(std::move(target));
  return static_cast<int>(table_targets_.size()) - 1;
}

absl::Status JobPlan::WantOnDevice(const std::string& field, const v1::Condition& condition,
                                   MetricSlot* slot) {
  slot->target = TargetOf(condition);
  slot->grid_grams_per_kwh = condition.grid_grams_per_kwh();
  for (const MetricSlot& other : slots_) {
    if (other.metric == slot->metric && other.target == slot->target &&
        other.grid_grams_per_kwh != slot->grid_grams_per_kwh) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ".condition.grid_grams_per_kwh: a device is fed by one grid, got ",
                       slot->grid_grams_per_kwh, " and ", other.grid_grams_per_kwh));
    }
  }
  const std::string& measured = MeasuredFor(*slot->metric);
  std::vector<std::string>& metrics = targets_[slot->target].metrics;
  if (measured != kMedianLatency &&
      std::find(metrics.begin(), metrics.end(), measured) == metrics.end()) {
    metrics.push_back(measured);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> JobPlan::SlotOf(const std::string& field, const std::string& metric,
                                    const v1::Condition& condition) {
  MetricSlot slot{FindMetric(metric)};
  if (slot.metric == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".metric: no metric ", metric));
  }
  switch (slot.metric->source) {
    case MetricSource::kLatency:
      FORALL_RETURN_IF_ERROR(WantOnDevice(field, condition, &slot));
      break;
    case MetricSource::kTable: {
      FORALL_ASSIGN_OR_RETURN(slot.table, TableTargetOf(field, condition));
      break;
    }
    case MetricSource::kAccuracy:
      needs_accuracy_ = true;
      break;
    case MetricSource::kPrediction:
      needs_prediction_ = true;
      break;
    case MetricSource::kExactCost:
      break;
  }
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].metric == slot.metric && slots_[i].target == slot.target &&
        slots_[i].table == slot.table) {
      return static_cast<int>(i);
    }
  }
  slots_.push_back(slot);
  return static_cast<int>(slots_.size()) - 1;
}

Costs JobPlan::CostsOf(const Architecture& architecture) const {
  const absl::StatusOr<Network> network = family_->Describe(architecture);
  return network.ok() ? CountCosts(*network, recipe_) : Costs();
}

std::optional<double> JobPlan::PredictedAccuracy(const Architecture& architecture) const {
  return files_.predictor == nullptr ? std::nullopt : files_.predictor->Predict(architecture);
}

std::vector<double> JobPlan::PredictedLatencies(const Architecture& architecture) const {
  std::vector<double> latencies;
  for (const TableTarget& target : table_targets_) {
    const std::optional<double> latency =
        target.table == nullptr ? std::nullopt : target.table->Of(architecture);
    if (!latency.has_value()) return {};
    latencies.push_back(*latency);
  }
  return latencies;
}

std::optional<double> JobPlan::KnownValue(const MetricSlot& slot, const Architecture& architecture,
                                          const Costs* costs) const {
  switch (slot.metric->source) {
    case MetricSource::kExactCost:
      return ExactCost(costs == nullptr ? CostsOf(architecture) : *costs, slot.metric->id);
    case MetricSource::kPrediction:
      return PredictedAccuracy(architecture);
    case MetricSource::kTable: {
      const CompiledTable* const table = table_targets_[slot.table].table.get();
      return table == nullptr ? std::nullopt : table->Of(architecture);
    }
    case MetricSource::kAccuracy:
    case MetricSource::kLatency:
      return std::nullopt;
  }
  return std::nullopt;
}

bool JobPlan::Admissible(const Architecture& architecture) const {
  // What is cheap to know decides first.
  for (size_t i = 0; i < table_targets_.size(); ++i) {
    const CompiledTable* const table = table_targets_[i].table.get();
    if (table == nullptr || !table->Of(architecture).has_value()) return false;
  }
  const auto keeps = [&](const Limit& limit, const Costs* costs) {
    const std::optional<double> value = KnownValue(slots_[limit.slot], architecture, costs);
    return !value.has_value() || ((!limit.at_most.has_value() || *value <= *limit.at_most) &&
                                  (!limit.at_least.has_value() || *value >= *limit.at_least));
  };
  bool exact = false;
  for (const Limit& limit : limits_) {
    exact |= slots_[limit.slot].metric->source == MetricSource::kExactCost;
    if (slots_[limit.slot].metric->source == MetricSource::kTable && !keeps(limit, nullptr)) {
      return false;
    }
  }
  if (needs_prediction_ && !PredictedAccuracy(architecture).has_value()) return false;
  const Costs costs = exact ? CostsOf(architecture) : Costs();
  return std::all_of(limits_.begin(), limits_.end(),
                     [&](const Limit& limit) { return keeps(limit, &costs); });
}

std::vector<Architecture> JobPlan::Anchors() const {
  std::vector<Architecture> anchors;
  for (const Limit& limit : limits_) {
    const int table = slots_[limit.slot].table;
    if (table >= 0 && table_targets_[table].table != nullptr) {
      anchors.push_back(table_targets_[table].table->Fastest());
    }
  }
  return anchors;
}

std::vector<double> JobPlan::Oriented(absl::Span<const double> values) const {
  std::vector<double> oriented;
  oriented.reserve(objectives_.size());
  for (const Goal& goal : objectives_) {
    oriented.push_back(goal.maximize ? -values[goal.slot] : values[goal.slot]);
  }
  return oriented;
}

std::vector<double> JobPlan::OrientedLimited(absl::Span<const double> values) const {
  std::vector<double> oriented;
  for (const int slot : limited_) {
    oriented.push_back(slots_[slot].metric->higher_is_better ? -values[slot] : values[slot]);
  }
  return oriented;
}

SearchedMetric JobPlan::Searched(const std::shared_ptr<const JobPlan>& plan, int slot,
                                 bool maximize) {
  const MetricInfo& metric = *plan->slots_[slot].metric;
  const double sign = maximize ? -1 : 1;
  SearchedMetric searched;
  switch (metric.source) {
    case MetricSource::kExactCost:
    case MetricSource::kPrediction:
    case MetricSource::kTable:
      searched.kind = SearchedMetric::Kind::kKnown;
      // An architecture that is not known of is not admissible; NaN is never chosen.
      searched.value = [plan, slot, sign](const Architecture& a) {
        return sign * plan->KnownValue(plan->slots_[slot], a, nullptr).value_or(std::nan(""));
      };
      if (metric.source == MetricSource::kPrediction && maximize &&
          plan->files_.predictor != nullptr) {
        searched.scorer = [plan](const CandidateSpace& space) -> std::unique_ptr<BatchScorer> {
          absl::StatusOr<std::unique_ptr<PredictorScorer>> scorer =
              PredictorScorer::Create(space, *plan->files_.predictor);
          return scorer.ok() ? *std::move(scorer) : nullptr;
        };
      }
      break;
    case MetricSource::kAccuracy:
      searched.kind = SearchedMetric::Kind::kQuality;
      break;
    case MetricSource::kLatency:
      searched.kind = maximize ? SearchedMetric::Kind::kQuality : SearchedMetric::Kind::kCost;
      if (const auto table = plan->PriorOf(plan->targets_[plan->slots_[slot].target]);
          !maximize && metric.id == kMedianLatency && table != nullptr) {
        searched.value = [table](const Architecture& a) { return table->Estimate(a); };
      }
      break;
  }
  for (const Limit& limit : plan->limits_) {
    if (limit.slot != slot) continue;
    const std::optional<double>& bound = maximize ? limit.at_least : limit.at_most;
    if (bound.has_value()) searched.bound = std::min(searched.bound, sign * *bound);
  }
  return searched;
}

std::vector<SearchedMetric> JobPlan::SearchedObjectives(
    const std::shared_ptr<const JobPlan>& plan) {
  std::vector<SearchedMetric> searched;
  for (const Goal& goal : plan->objectives_) {
    searched.push_back(Searched(plan, goal.slot, goal.maximize));
  }
  return searched;
}

std::vector<SearchedMetric> JobPlan::SearchedLimits(const std::shared_ptr<const JobPlan>& plan) {
  std::vector<SearchedMetric> searched;
  for (const int slot : plan->limited_) {
    searched.push_back(Searched(plan, slot, plan->slots_[slot].metric->higher_is_better));
  }
  return searched;
}

double JobPlan::Violation(absl::Span<const double> values) const {
  double sum = 0;
  for (const Limit& limit : limits_) {
    const double value = values[limit.slot];
    if (limit.at_most.has_value() && value > *limit.at_most) {
      sum += Relative(value - *limit.at_most, *limit.at_most);
    }
    if (limit.at_least.has_value() && value < *limit.at_least) {
      sum += Relative(*limit.at_least - value, *limit.at_least);
    }
  }
  return sum;
}

std::string JobPlan::SlotName(const MetricSlot& slot) const {
  std::string name = slot.metric->id;
  if (slot.target < 0) return name;
  const LatencyTarget& target = targets_[slot.target];
  if (!target.device.empty()) {
    absl::StrAppend(&name, "@", absl::StripPrefix(target.device, "devices/"));
  } else if (!target.device_class.empty()) {
    absl::StrAppend(&name, "@class:", target.device_class);
  }
  if (target.batch > 1) absl::StrAppend(&name, ":batch=", target.batch);
  return name;
}

std::string JobPlan::DescribeViolation(absl::Span<const double> values) const {
  for (const Limit& limit : limits_) {
    const double value = values[limit.slot];
    const std::string id = SlotName(slots_[limit.slot]);
    if (limit.at_most.has_value() && value > *limit.at_most) {
      return absl::StrFormat("%s %.9g is above %.9g", id, value, *limit.at_most);
    }
    if (limit.at_least.has_value() && value < *limit.at_least) {
      return absl::StrFormat("%s %.9g is below %.9g", id, value, *limit.at_least);
    }
  }
  return "";
}

}  // namespace forall
