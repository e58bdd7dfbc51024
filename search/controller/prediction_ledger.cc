// SPDX-License-Identifier: Apache-2.0
#include "search/controller/prediction_ledger.h"

#include <vector>

#include "base/forecast_quality.h"
#include "search/controller/resource_names.h"

namespace forall {
namespace {

void SetCondition(const JobFold& fold, int target, v1::Objective* objective) {
  if (target < 0 || !fold.bindings()[target].has_value()) return;
  const TargetBinding& binding = *fold.bindings()[target];
  objective->mutable_condition()->set_device(DeviceName(binding.device));
}

void SetQuality(const ForecastQuality& quality, v1::PredictionLedger::Entry* entry) {
  if (quality.mean_relative_error.has_value()) {
    entry->set_mean_relative_error(*quality.mean_relative_error);
  }
  entry->set_within_5_percent(quality.within_5_percent);
  entry->set_within_10_percent(quality.within_10_percent);
  entry->set_within_15_percent(quality.within_15_percent);
  entry->set_mean_signed_error(quality.mean_signed_error);
  if (quality.kendall_tau.has_value()) entry->set_kendall_tau(*quality.kendall_tau);
  if (quality.spearman_rho.has_value()) entry->set_spearman_rho(*quality.spearman_rho);
  entry->set_within_interval(quality.within_interval);
}

}  // namespace

v1::PredictionLedger PredictionLedgerOf(const JobFold& fold) {
  v1::PredictionLedger ledger;
  const JobPlan& plan = fold.plan();
  for (size_t i = 0; i < plan.objectives().size(); ++i) {
    const int slot = plan.objectives()[i].slot;
    if (IsKnownUnmeasured(*plan.slots()[slot].metric)) continue;
    v1::PredictionLedger::Entry* entry = ledger.add_entries();
    *entry->mutable_objective() = plan.spec().objectives(static_cast<int>(i));
    SetCondition(fold, plan.slots()[slot].target, entry->mutable_objective());
    std::vector<Forecast> pairs;
    for (const TrialEntry& trial : fold.trials()) {
      const MeasurementRecord* measured = fold.SearchedEvidence(trial, slot);
      if (trial.expected.empty() || measured == nullptr) continue;
      pairs.push_back({trial.expected[i].mean, trial.expected[i].deviation, measured->value});
      v1::PredictionLedger::Forecast* forecast = entry->add_forecasts();
      forecast->set_trial(TrialName(trial.record.job_id, trial.record.ordinal));
      forecast->set_expected(pairs.back().expected);
      forecast->set_deviation(pairs.back().deviation);
      forecast->set_measured(pairs.back().measured);
    }
    SetQuality(JudgeForecasts(pairs), entry);
  }
  return ledger;
}

}  // namespace forall
