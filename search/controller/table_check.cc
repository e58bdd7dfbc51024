// SPDX-License-Identifier: Apache-2.0
#include "search/controller/table_check.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "search/controller/resource_names.h"

namespace forall {
namespace {

constexpr size_t kLeastValidated = 8;
constexpr double kDeviations = 3;

// Four digits after the point, towards where the bound can be met.
double Round(double bound, bool up) {
  const double scaled = bound * 1e4;
  return (up ? std::ceil(scaled) : std::floor(scaled)) / 1e4;
}

std::string Field(int constraint, bool at_most) {
  return absl::StrCat("spec.constraints[", constraint, at_most ? "].at_most" : "].at_least");
}

// One bound of a constraint.
struct Bound {
  int constraint = 0;
  bool at_most = true;
  double value = 0;

  bool Excludes(double nearest) const { return at_most ? value < nearest : value > nearest; }
};

std::vector<Bound> BoundsOf(const v1::SearchJobSpec& spec) {
  std::vector<Bound> bounds;
  for (int i = 0; i < spec.constraints_size(); ++i) {
    const v1::Constraint& constraint = spec.constraints(i);
    if (constraint.has_at_most()) bounds.push_back({i, true, constraint.at_most()});
    if (constraint.has_at_least()) bounds.push_back({i, false, constraint.at_least()});
  }
  return bounds;
}

absl::Status CheckPredicted(const JobPlan& plan, const Bound& bound, const CompiledTable& table) {
  const double nearest = bound.at_most ? table.least() : table.most();
  if (!bound.Excludes(nearest)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      Field(bound.constraint, bound.at_most), ": by the table of \"", table.conditions().device,
      "\" no subnet has predicted_latency_ms of at ", bound.at_most ? "most " : "least ",
      bound.value, "; the nearest bound that can be met is ",
      absl::StrFormat("%.4f", Round(nearest, bound.at_most)), " (the ",
      bound.at_most ? "fastest" : "slowest", " subnet)"));
}

// Measured latencies on the target's device or class of subnets that the table can sum, divided by
// what it says; of each subnet and device the latest one.
std::vector<double> Ratios(const Registry& registry, const LatencyTarget& target,
                           const CompiledTable& table, const std::string& supernet_sha256) {
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, double>> latest;
  const auto fits = [&](const MeasurementKey& key) {
    return key.batch == target.batch &&
           (target.device.empty() || target.device == DeviceName(key.device)) &&
           (target.device_class.empty() || target.device_class == key.device_class) &&
           (target.profile.empty() || target.profile == key.profile);
  };
  for (const auto& [id, job] : registry.jobs) {
    const JobFold& fold = job->fold();
    if (fold.record().supernet_sha256 != supernet_sha256) continue;
    for (const TrialEntry& trial : fold.trials()) {
      for (size_t slot = 0; slot < fold.plan().slots().size(); ++slot) {
        if (fold.plan().slots()[slot].metric->id != kMedianLatency) continue;
        const MeasurementRecord* const measured = fold.Evidence(trial, static_cast<int>(slot));
        if (measured == nullptr || !measured->retracted_by.empty() || !fits(measured->key)) {
          continue;
        }
        auto& known = latest[{trial.record.arch_key, measured->key.device}];
        if (measured->id <= known.first) continue;
        const std::optional<double> predicted = table.Of(trial.architecture);
        if (predicted.has_value()) known = {measured->id, measured->value / *predicted};
      }
    }
  }
  std::vector<double> ratios;
  for (const auto& [subnet, ratio] : latest) {
    if (ratio.first != 0) ratios.push_back(ratio.second);
  }
  return ratios;
}

absl::Status CheckMeasured(const JobPlan& plan, const Bound& bound, const CompiledTable& table,
                           const std::vector<double>& ratios, std::vector<std::string>* warnings) {
  const double end = bound.at_most ? table.least() : table.most();
  const std::optional<TableError> error = ValidateTable(ratios);
  const std::string says = absl::StrCat(
      Field(bound.constraint, bound.at_most), ": by the table of \"", table.conditions().device,
      "\" no subnet has latency_ms of at ", bound.at_most ? "most " : "least ", bound.value,
      ": its ", bound.at_most ? "fastest" : "slowest", " takes ", absl::StrFormat("%.4f", end));
  if (!error.has_value()) {
    if (bound.Excludes(end)) {
      warnings->push_back(absl::StrCat(
          says, ". How far off the table is cannot be said: ", ratios.size(),
          " subnets were measured there, ", kLeastValidated, " are needed. The job goes on"));
    }
    return absl::OkStatus();
  }
  const std::string measured = absl::StrFormat(
      ". %d subnets measured there bear it out: latencies are %.3f to %.3f times what it says",
      error->subnets, error->low, error->high);
  const double surely = end * (bound.at_most ? error->low : error->high);
  const double perhaps = end * (bound.at_most ? error->high : error->low);
  if (bound.Excludes(surely)) {
    return absl::FailedPreconditionError(
        absl::StrCat(says, measured, "; the nearest bound that may be met is ",
                     absl::StrFormat("%.4f", Round(surely, bound.at_most))));
  }
  if (bound.Excludes(perhaps)) {
    warnings->push_back(absl::StrFormat(
        "%s: by the table of \"%s\" perhaps no subnet has latency_ms of at %s %g: its %s takes "
        "%.4f%s. The job goes on",
        Field(bound.constraint, bound.at_most), table.conditions().device,
        bound.at_most ? "most" : "least", bound.value, bound.at_most ? "fastest" : "slowest", end,
        measured));
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<TableError> ValidateTable(absl::Span<const double> ratios) {
  if (ratios.size() < kLeastValidated) return std::nullopt;
  const double count = static_cast<double>(ratios.size());
  double mean = 0;
  for (const double ratio : ratios) mean += std::log(ratio) / count;
  double squares = 0;
  for (const double ratio : ratios) {
    const double off = std::log(ratio) - mean;
    squares += off * off;
  }
  const double reach = kDeviations * std::sqrt(squares / (count - 1) * (1 + 1 / count));
  return TableError{static_cast<int64_t>(ratios.size()), std::exp(mean - reach),
                    std::exp(mean + reach)};
}

absl::StatusOr<std::vector<std::string>> CheckTables(const Registry& registry, const JobPlan& plan,
                                                     const std::string& supernet_sha256) {
  std::vector<std::string> warnings;
  for (size_t i = 0; i < plan.tables().size(); ++i) {
    const CompiledTable& table = *plan.tables()[i];
    if (table.validation().has_value() && !table.validation()->good) {
      warnings.push_back(absl::StrFormat(
          "spec.latency_tables[%d]: the table of \"%s\" was found not good: of %d networks %.0f %% "
          "were within %g %% of what it says",
          i, table.conditions().device, table.validation()->networks,
          100 * table.validation()->corrected.value_or(table.validation()->additive).within_bound,
          100 * table.validation()->bound));
    }
    if (table.left_out().empty()) continue;
    const bool predicts =
        std::any_of(plan.table_targets().begin(), plan.table_targets().end(),
                    [&](const TableTarget& target) { return target.table.get() == &table; });
    warnings.push_back(absl::StrCat(
        "spec.latency_tables[", i, "]: the table of \"", table.conditions().device,
        "\" has no rows for ", absl::StrJoin(table.left_out(), "; "),
        predicts ? ": no such subnet is proposed" : ": of such subnets it says nothing"));
  }
  for (const Bound& bound : BoundsOf(plan.spec())) {
    const MetricSlot& slot = plan.slots()[plan.limits()[bound.constraint].slot];
    if (slot.table >= 0 && plan.table_targets()[slot.table].table != nullptr) {
      FORALL_RETURN_IF_ERROR(CheckPredicted(plan, bound, *plan.table_targets()[slot.table].table));
    }
    if (slot.metric->id != kMedianLatency) continue;
    const LatencyTarget& target = plan.targets()[slot.target];
    const std::shared_ptr<const CompiledTable> table = plan.PriorOf(target);
    if (table == nullptr) continue;
    FORALL_RETURN_IF_ERROR(CheckMeasured(
        plan, bound, *table, Ratios(registry, target, *table, supernet_sha256), &warnings));
  }
  return warnings;
}

}  // namespace forall
