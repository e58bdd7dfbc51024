// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_plan.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/inner/predictor_scorer.h"

namespace forall {
namespace {

// A violation relative to its bound; a bound near 0 must not make it endless.
double Relative(double excess, double bound) { return excess / std::max(std::abs(bound), 1e-9); }

}  // namespace

absl::StatusOr<std::shared_ptr<const JobPlan>> JobPlan::Create(
    const v1::SearchJobSpec& spec, std::shared_ptr<const Family> family,
    std::shared_ptr<const AccuracyPredictor> predictor) {
  std::shared_ptr<JobPlan> plan(new JobPlan);
  plan->spec_ = spec;
  plan->family_ = std::move(family);
  plan->predictor_ = std::move(predictor);
  const SearchSpace& space = plan->family_->search_space();
  FORALL_RETURN_IF_ERROR(plan->family_->Describe(space.Smallest()).status());
  FORALL_RETURN_IF_ERROR(plan->family_->Describe(space.Largest()).status());
  FORALL_ASSIGN_OR_RETURN(plan->recipe_, ParseRecipe(spec.recipe()));
  plan->smallest_ = plan->CostsOf(space.Smallest());
  plan->largest_ = plan->CostsOf(space.Largest());
  for (const v1::Objective& objective : spec.objectives()) {
    if (FindMetric(objective.metric()) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("no metric ", objective.metric()));
    }
    plan->objectives_.push_back({plan->SlotOf(objective.metric(), objective.condition()),
                                 objective.goal() == v1::Objective::MAXIMIZE});
  }
  for (const v1::Constraint& constraint : spec.constraints()) {
    if (FindMetric(constraint.metric()) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("no metric ", constraint.metric()));
    }
    Limit limit;
    limit.slot = plan->SlotOf(constraint.metric(), constraint.condition());
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

int JobPlan::SlotOf(const std::string& metric, const v1::Condition& condition) {
  MetricSlot slot{FindMetric(metric), -1};
  if (slot.metric->source == MetricSource::kLatency) slot.target = TargetOf(condition);
  if (slot.metric->source == MetricSource::kAccuracy) needs_accuracy_ = true;
  if (slot.metric->source == MetricSource::kPrediction) needs_prediction_ = true;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].metric == slot.metric && slots_[i].target == slot.target)
      return static_cast<int>(i);
  }
  slots_.push_back(slot);
  return static_cast<int>(slots_.size()) - 1;
}

Costs JobPlan::CostsOf(const Architecture& architecture) const {
  const absl::StatusOr<Network> network = family_->Describe(architecture);
  return network.ok() ? CountCosts(*network, recipe_) : Costs();
}

std::optional<double> JobPlan::PredictedAccuracy(const Architecture& architecture) const {
  return predictor_ == nullptr ? std::nullopt : predictor_->Predict(architecture);
}

bool JobPlan::Admissible(const Architecture& architecture) const {
  bool exact = false;
  for (const Limit& limit : limits_) {
    exact |= slots_[limit.slot].metric->source == MetricSource::kExactCost;
  }
  std::optional<double> predicted;
  if (needs_prediction_) {
    predicted = PredictedAccuracy(architecture);
    if (!predicted.has_value()) return false;
  }
  if (!exact && !needs_prediction_) return true;
  const Costs costs = CostsOf(architecture);
  for (const Limit& limit : limits_) {
    const MetricInfo& metric = *slots_[limit.slot].metric;
    const bool predicts = metric.source == MetricSource::kPrediction;
    if (!predicts && metric.source != MetricSource::kExactCost) continue;
    const double value = predicts ? *predicted : ExactCost(costs, metric.id);
    if (limit.at_most.has_value() && value > *limit.at_most) return false;
    if (limit.at_least.has_value() && value < *limit.at_least) return false;
  }
  return true;
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
      searched.kind = SearchedMetric::Kind::kKnown;
      searched.value = [plan, &metric, sign](const Architecture& a) {
        return sign * ExactCost(plan->CostsOf(a), metric.id);
      };
      break;
    case MetricSource::kPrediction:
      searched.kind = SearchedMetric::Kind::kKnown;
      // An architecture that the predictor does not know is not admissible; NaN is never chosen.
      searched.value = [plan, sign](const Architecture& a) {
        return sign * plan->PredictedAccuracy(a).value_or(std::nan(""));
      };
      if (maximize && plan->predictor_ != nullptr) {
        searched.scorer = [plan](const CandidateSpace& space) -> std::unique_ptr<BatchScorer> {
          absl::StatusOr<std::unique_ptr<PredictorScorer>> scorer =
              PredictorScorer::Create(space, *plan->predictor_);
          return scorer.ok() ? *std::move(scorer) : nullptr;
        };
      }
      break;
    case MetricSource::kAccuracy:
      searched.kind = SearchedMetric::Kind::kQuality;
      break;
    case MetricSource::kLatency:
      searched.kind = maximize ? SearchedMetric::Kind::kQuality : SearchedMetric::Kind::kCost;
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

std::string JobPlan::DescribeViolation(absl::Span<const double> values) const {
  for (const Limit& limit : limits_) {
    const double value = values[limit.slot];
    const std::string& id = slots_[limit.slot].metric->id;
    if (limit.at_most.has_value() && value > *limit.at_most) {
      return absl::StrCat(id, " ", value, " is above ", *limit.at_most);
    }
    if (limit.at_least.has_value() && value < *limit.at_least) {
      return absl::StrCat(id, " ", value, " is below ", *limit.at_least);
    }
  }
  return "";
}

}  // namespace forall
