// SPDX-License-Identifier: Apache-2.0
#include "search/report/report_data.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "search/pareto/knee.h"
#include "search/report/html_text.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

// More dots than this cannot be told apart, but would make the page slow.
constexpr size_t kMaxOthers = 4000;

bool HasSplit(absl::string_view metric) {
  const MetricInfo* info = FindMetric(metric);
  return info != nullptr && info->source == MetricSource::kAccuracy;
}

// 1 for metrics that do not depend on it.
int32_t BatchOf(absl::string_view metric, const v1::Condition& condition) {
  const MetricInfo* info = FindMetric(metric);
  if (info == nullptr || info->source != MetricSource::kLatency) return 1;
  return std::max(condition.batch(), 1);
}

bool Matches(const v1::Measurement& measurement, absl::string_view metric,
             const v1::Condition& want) {
  const v1::Condition& have = measurement.condition();
  if (measurement.metric() != metric) return false;
  if (!want.device().empty() && want.device() != have.device()) return false;
  if (!want.device_class().empty() && want.device_class() != have.device_class()) return false;
  if (!want.profile().empty() && want.profile() != have.profile()) return false;
  if (!want.dataset().empty() && want.dataset() != have.dataset()) return false;
  if (BatchOf(metric, want) != BatchOf(metric, have)) return false;
  if (want.grid_grams_per_kwh() > 0 && want.grid_grams_per_kwh() != have.grid_grams_per_kwh()) {
    return false;
  }
  if (!HasSplit(metric)) return true;
  return have.split().empty() ||
         have.split() == (want.split().empty() ? "validation" : want.split());
}

const v1::Measurement* FindMeasurement(const v1::Trial& trial, absl::string_view metric,
                                       const v1::Condition& want) {
  for (const v1::Measurement& measurement : trial.measurements()) {
    if (Matches(measurement, metric, want)) return &measurement;
  }
  return nullptr;
}

v1::Condition ConditionOf(const Axis& axis, const std::vector<v1::Objective>& objectives) {
  if (axis.objective >= 0) return objectives[axis.objective].condition();
  v1::Condition condition;
  condition.set_device(axis.device);
  condition.set_split(axis.split);
  condition.set_batch(axis.batch);
  condition.set_grid_grams_per_kwh(axis.grid_grams_per_kwh);
  return condition;
}

void SetUnits(Axis* axis) {
  const MetricInfo* info = FindMetric(axis->metric);
  axis->label = info == nullptr ? axis->metric : info->label;
  axis->unit = info == nullptr ? "" : info->unit;
  axis->maximize = info != nullptr && info->higher_is_better;
  if (axis->metric == "macs" || axis->metric == "params") {
    axis->unit = "M";
    axis->factor = 1e-6;
  } else if (axis->unit == "bytes") {
    axis->unit = "KiB";
    axis->factor = 1.0 / 1024;
    axis->digits = 0;
  } else if (axis->unit == "ms" || axis->unit == "mJ") {
    axis->digits = 3;
  } else if (axis->metric == kThroughput) {
    axis->digits = 1;
  } else if (axis->metric == kCarbon) {
    axis->digits = 6;
  }
}

// `split` "" for what has none.
Axis MakeAxis(absl::string_view metric, const v1::Condition& condition, const std::string& split) {
  Axis axis;
  axis.metric = std::string(metric);
  axis.device = condition.device();
  axis.split = split;
  axis.batch = BatchOf(metric, condition);
  axis.grid_grams_per_kwh = condition.grid_grams_per_kwh();
  SetUnits(&axis);
  if (!split.empty()) absl::StrAppend(&axis.label, " (", split, ")");
  if (!axis.device.empty()) {
    absl::StrAppend(&axis.label, " on ", absl::StripPrefix(axis.device, "devices/"));
  } else if (!condition.device_class().empty()) {
    absl::StrAppend(&axis.label, " on class ", condition.device_class());
  }
  if (axis.batch > 1) absl::StrAppend(&axis.label, " at batch ", axis.batch);
  if (axis.grid_grams_per_kwh > 0) {
    absl::StrAppendFormat(&axis.label, " at %.9g g/kWh", axis.grid_grams_per_kwh);
  }
  return axis;
}

size_t MetricRank(const std::string& metric) {
  size_t rank = 0;
  while (rank < Metrics().size() && Metrics()[rank].id != metric) ++rank;
  return rank;
}

// What was measured beside the objectives, in the registry's order.
void AddOtherAxes(const std::vector<const v1::Trial*>& trials, ReportData* data) {
  // Rank, metric, device, split, batch, grid.
  using Key = std::tuple<size_t, std::string, std::string, std::string, int32_t, double>;
  std::set<Key> keys;
  for (const v1::Trial* trial : trials) {
    for (const v1::Measurement& measurement : trial->measurements()) {
      const v1::Condition& condition = measurement.condition();
      const bool covered =
          std::any_of(data->objectives.begin(), data->objectives.end(), [&](const auto& objective) {
            return Matches(measurement, objective.metric(), objective.condition());
          });
      if (covered) continue;
      const std::string& metric = measurement.metric();
      keys.insert({MetricRank(metric), metric, condition.device(),
                   HasSplit(metric) ? condition.split() : std::string(), BatchOf(metric, condition),
                   condition.grid_grams_per_kwh()});
    }
  }
  for (const auto& [rank, metric, device, split, batch, grid] : keys) {
    v1::Condition condition;
    condition.set_device(device);
    condition.set_batch(batch);
    condition.set_grid_grams_per_kwh(grid);
    data->axes.push_back(MakeAxis(metric, condition, split));
  }
}

std::optional<Reading> MakeReading(const Axis& axis, double value,
                                   const v1::Measurement* measurement) {
  Reading reading;
  reading.measurement = measurement;
  reading.value = value * axis.factor;
  if (!std::isfinite(reading.value)) return std::nullopt;
  reading.low = reading.high = reading.value;
  if (measurement == nullptr) return reading;
  const v1::Interval& interval = measurement->interval();
  const bool given = interval.low() != 0 || interval.high() != 0;
  const double low = interval.low() * axis.factor;
  const double high = interval.high() * axis.factor;
  if (given && std::isfinite(low)) reading.low = std::min(low, reading.value);
  if (given && std::isfinite(high)) reading.high = std::max(high, reading.value);
  return reading;
}

void FillReadings(const ReportData& data, Subnet* subnet) {
  for (const Axis& axis : data.axes) {
    const v1::Measurement* measurement =
        FindMeasurement(*subnet->trial, axis.metric, ConditionOf(axis, data.objectives));
    const bool given = subnet->member != nullptr && axis.objective >= 0 &&
                       axis.objective < subnet->member->values_size();
    if (given) {
      subnet->readings.push_back(
          MakeReading(axis, subnet->member->values(axis.objective), measurement));
    } else if (measurement != nullptr) {
      subnet->readings.push_back(MakeReading(axis, measurement->value(), measurement));
    } else {
      subnet->readings.emplace_back();
    }
  }
}

void FillVerdict(const ReportData& data, Subnet* subnet) {
  std::set<std::string> reasons;
  for (size_t i = 0; i < data.objectives.size(); ++i) {
    const v1::Measurement* const measurement =
        subnet->readings[i].has_value() ? subnet->readings[i]->measurement : nullptr;
    if (measurement == nullptr) continue;
    const v1::Verdict& verdict = measurement->verdict();
    subnet->verdict = std::max(subnet->verdict, verdict.state());
    reasons.insert(verdict.reasons().begin(), verdict.reasons().end());
  }
  subnet->reasons.assign(reasons.begin(), reasons.end());
}

void FillNetwork(const ReportInput& input, Subnet* subnet) {
  absl::StatusOr<NetworkSummary> network =
      SummarizeArchitecture(input.family.get(), subnet->trial->architecture());
  if (network.ok()) {
    subnet->architecture = network->Text();
    if (subnet->member != nullptr) subnet->network = *std::move(network);
  } else {
    subnet->architecture = subnet->trial->arch_key().substr(0, 10);
  }
}

std::string MissText(const v1::ClosestTrial::Miss& miss) {
  const v1::Constraint& constraint = miss.constraint();
  v1::Objective objective;
  objective.set_metric(constraint.metric());
  *objective.mutable_condition() = constraint.condition();
  const Axis axis = ObjectiveAxis(objective, 0);
  const bool above = constraint.has_at_most() && miss.value() > constraint.at_most();
  const double bound = above ? constraint.at_most() : constraint.at_least();
  // Of nothing there is no share.
  const double percent = 100 * miss.relative_excess();
  std::string excess;
  if (bound != 0) {
    excess =
        percent < 10 ? absl::StrFormat("%.2g %% ", percent) : absl::StrFormat("%.0f %% ", percent);
  }
  return absl::StrCat(axis.label, " ", ValueWithUnit(axis, miss.value() * axis.factor), " is ",
                      excess, above ? "above " : "below ",
                      ValueWithUnit(axis, bound * axis.factor));
}

void AddClosest(const ReportInput& input, ReportData* data) {
  for (const v1::ClosestTrial& closest : input.frontier.closest()) {
    Subnet subnet;
    subnet.trial = &closest.trial();
    FillNetwork(input, &subnet);
    ReportData::Closest& added = data->closest.emplace_back();
    added.trial = &closest.trial();
    added.architecture = subnet.architecture;
    for (const v1::ClosestTrial::Miss& miss : closest.misses()) {
      added.misses.push_back(MissText(miss));
    }
  }
}

// Keeps an even selection: first and last of every stretch have the same chance.
void Thin(ReportData* data) {
  const size_t count = data->others.size();
  if (count <= kMaxOthers) return;
  std::vector<Subnet> kept;
  for (size_t i = 0; i < kMaxOthers; ++i) {
    kept.push_back(std::move(data->others[i * count / kMaxOthers]));
  }
  data->others = std::move(kept);
  data->left_out = static_cast<int64_t>(count - kMaxOthers);
}

void AddConstraints(const v1::SearchJobSpec& spec, ReportData* data) {
  for (Axis& axis : data->axes) {
    for (const v1::Constraint& constraint : spec.constraints()) {
      const v1::Condition& condition = constraint.condition();
      if (constraint.metric() != axis.metric) continue;
      if (!condition.device().empty() && condition.device() != axis.device) continue;
      if (BatchOf(axis.metric, condition) != axis.batch) continue;
      if (HasSplit(axis.metric) &&
          axis.split != (condition.split().empty() ? "validation" : condition.split())) {
        continue;
      }
      const double at_most = constraint.at_most() * axis.factor;
      const double at_least = constraint.at_least() * axis.factor;
      if (constraint.has_at_most() && std::isfinite(at_most)) axis.at_most.push_back(at_most);
      if (constraint.has_at_least() && std::isfinite(at_least)) axis.at_least.push_back(at_least);
    }
  }
}

void AddOthers(const ReportInput& input, ReportData* data) {
  absl::flat_hash_set<std::string> members;
  for (const Subnet& subnet : data->members) members.insert(subnet.trial->name());
  for (const v1::Trial& trial : input.trials) {
    if (trial.measurements().empty() || members.contains(trial.name())) continue;
    Subnet subnet;
    subnet.trial = &trial;
    FillReadings(*data, &subnet);
    FillVerdict(*data, &subnet);
    data->others.push_back(std::move(subnet));
  }
  Thin(data);
}

}  // namespace

Axis ObjectiveAxis(const v1::Objective& objective, int index) {
  const v1::Condition& condition = objective.condition();
  std::string split = condition.split();
  if (split.empty() && HasSplit(objective.metric())) split = "validation";
  Axis axis = MakeAxis(objective.metric(), condition, split);
  axis.objective = index;
  if (objective.goal() != v1::Objective::GOAL_UNSPECIFIED) {
    axis.maximize = objective.goal() == v1::Objective::MAXIMIZE;
  }
  return axis;
}

namespace {

const char* KnownBy(const v1::SearchJobSpec& spec, const std::vector<v1::Objective>& objectives) {
  bool predicted = false;
  bool measured = objectives.empty();
  const auto look = [&](const auto& wanted) {
    const MetricInfo* const metric = FindMetric(wanted.metric());
    measured |= metric == nullptr || metric->source == MetricSource::kAccuracy ||
                metric->source == MetricSource::kLatency;
    predicted |= metric != nullptr && IsPredicted(*metric);
  };
  for (const v1::Objective& objective : objectives) look(objective);
  for (const v1::Constraint& constraint : spec.constraints()) look(constraint);
  if (measured) return "measured";
  return predicted ? "predicted" : "counted";
}

bool FindKnee(const ReportData& data) {
  std::vector<double> points;
  for (const Subnet& subnet : data.members) {
    for (size_t i = 0; i < data.objectives.size(); ++i) {
      if (!subnet.readings[i].has_value()) return false;
      const double value = subnet.readings[i]->value;
      points.push_back(data.axes[i].maximize ? -value : value);
    }
  }
  if (points.empty()) return false;
  return HasKnee(PointsView{points, static_cast<int>(data.objectives.size())}).value_or(false);
}

}  // namespace

ReportData MakeReportData(const ReportInput& input) {
  ReportData data;
  const auto& objectives = input.frontier.objectives().empty() ? input.job.spec().objectives()
                                                               : input.frontier.objectives();
  data.objectives.assign(objectives.begin(), objectives.end());
  for (size_t i = 0; i < data.objectives.size(); ++i) {
    data.axes.push_back(ObjectiveAxis(data.objectives[i], static_cast<int>(i)));
  }
  std::vector<const v1::Trial*> trials;
  for (const v1::Trial& trial : input.trials) trials.push_back(&trial);
  for (const v1::FrontierMember& member : input.frontier.members())
    trials.push_back(&member.trial());
  AddOtherAxes(trials, &data);
  AddConstraints(input.job.spec(), &data);
  for (const v1::FrontierMember& member : input.frontier.members()) {
    Subnet subnet;
    subnet.trial = &member.trial();
    subnet.member = &member;
    subnet.number = static_cast<int>(data.members.size()) + 1;
    FillReadings(data, &subnet);
    FillVerdict(data, &subnet);
    data.members.push_back(std::move(subnet));
  }
  data.known = KnownBy(input.job.spec(), data.objectives);
  data.has_knee = FindKnee(data);
  AddOthers(input, &data);
  AddClosest(input, &data);
  for (Subnet& subnet : data.members) FillNetwork(input, &subnet);
  for (Subnet& subnet : data.others) FillNetwork(input, &subnet);
  return data;
}

const char* VerdictWord(v1::Verdict::State verdict) {
  switch (verdict) {
    case v1::Verdict::TRUSTED:
      return "trusted";
    case v1::Verdict::NOISY:
      return "noisy";
    case v1::Verdict::REJECTED:
      return "rejected";
    default:
      return "";
  }
}

const Subnet* ReportData::Knee() const {
  for (const Subnet& subnet : members) {
    if (subnet.knee()) return &subnet;
  }
  return nullptr;
}

int ReportData::FindAxis(absl::string_view metric, absl::string_view split) const {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].metric == metric && (split.empty() || axes[i].split == split)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

int ReportData::DefaultY() const {
  for (size_t i = 0; i < objectives.size(); ++i) {
    if (axes[i].maximize) return static_cast<int>(i);
  }
  return axes.empty() ? -1 : 0;
}

int ReportData::DefaultX() const {
  const int y = DefaultY();
  for (size_t i = 0; i < objectives.size(); ++i) {
    if (static_cast<int>(i) != y) return static_cast<int>(i);
  }
  // One objective: against what it costs.
  const int macs = FindAxis("macs");
  if (macs >= 0 && macs != y) return macs;
  return axes.size() > 1 ? (y == 0 ? 1 : 0) : -1;
}

std::string ValueText(const Axis& axis, double value) { return FormatDecimal(value, axis.digits); }

std::string ValueWithUnit(const Axis& axis, double value) {
  return axis.unit.empty() ? ValueText(axis, value)
                           : absl::StrCat(ValueText(axis, value), "\xC2\xA0", axis.unit);
}

std::string LabelWithUnit(const Axis& axis) {
  return axis.unit.empty() ? axis.label : absl::StrCat(axis.label, ", ", axis.unit);
}

}  // namespace forall
