// SPDX-License-Identifier: Apache-2.0
#include "search/controller/metric_reader.h"

#include <algorithm>

namespace forall {
namespace {

bool Holds(const std::vector<int64_t>& ids, int64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

Reading Known(double value) { return {value, value, value, value, nullptr}; }

}  // namespace

bool IsFinal(const TrialEntry& trial, const MeasurementRecord& evidence) {
  if (Holds(trial.final, evidence.id)) return true;
  return !Holds(trial.screening, evidence.id) && evidence.fidelity == FidelityLevel::kFinal;
}

MetricReader::MetricReader(const MeasurementIndex& index, absl::Span<const JobFold* const> jobs,
                           const MetricInfo& metric, const MeasurementKey& key,
                           const std::optional<DeploymentRecipe>& recipe)
    : index_(&index) {
  for (const JobFold* fold : jobs) {
    jobs_.push_back({fold, fold->rows().data(), fold->EstimatorOf(metric.id)});
  }
  switch (metric.source) {
    case MetricSource::kExactCost:
      source_ = Source::kCost;
      cost_ = CostMember(metric.id);
      return;
    case MetricSource::kPrediction:
      source_ = Source::kPrediction;
      return;
    case MetricSource::kTable:
      return;  // of a job's own slot alone
    case MetricSource::kAccuracy:
      column_ = index.FindColumn(key);
      if (column_ != nullptr) source_ = Source::kAccuracy;
      return;
    case MetricSource::kLatency:
      if (!key.device.empty()) column_ = index.FindColumn(key);
      if (column_ == nullptr) return;
      source_ = Source::kLatency;
      for (Job& job : jobs_) {
        if (key.batch == 1 && key.recipe == job.fold->plan().spec().recipe()) continue;
        job.has_graphs = recipe.has_value();
        if (job.has_graphs) job.graphs = job.fold->Graphs(key.batch, *recipe).data();
      }
      return;
  }
}

MetricReader::MetricReader(const JobFold& job, int slot) : slot_(slot) {
  const MetricInfo& metric = *job.plan().slots()[slot].metric;
  source_ = Source::kOwn;
  jobs_.push_back({&job, job.rows().data(), job.EstimatorOf(metric.id)});
}

void MetricReader::ReadCell(const Job& job, uint32_t trial, const MeasurementCell& cell,
                            Reading* reading) const {
  reading->evidence = &index_->all()[static_cast<size_t>(cell.place)];
  *reading = {cell.value, cell.low, cell.high, cell.value, reading->evidence};
  if (!job.estimator.known) return;
  const TrialRow& row = job.rows[trial];
  // Mostly the row tells, without a look at the trial.
  const bool final = row.has_final || row.screened_finally
                         ? IsFinal(job.fold->trials()[trial], *reading->evidence)
                         : cell.fidelity == FidelityLevel::kFinal;
  if (final) return;
  reading->value = job.estimator(cell.value);
  const double shift = reading->value - cell.value;
  reading->low = cell.low + shift;
  reading->high = cell.high + shift;
}

bool MetricReader::Read(TrialRef ref, Reading* reading) const {
  const Job& job = jobs_[ref.job];
  switch (source_) {
    case Source::kNothing:
      return false;
    case Source::kCost:
      *reading = Known(static_cast<double>(job.rows[ref.trial].costs.*cost_));
      return true;
    case Source::kPrediction: {
      const std::optional<double>& predicted = job.fold->trials()[ref.trial].predicted_accuracy;
      if (predicted.has_value()) *reading = Known(*predicted);
      return predicted.has_value();
    }
    case Source::kAccuracy: {
      const MeasurementCell& cell = (*column_)[job.rows[ref.trial].artifact];
      if (cell.known()) ReadCell(job, ref.trial, cell, reading);
      return cell.known();
    }
    case Source::kLatency: {
      const TrialRow& row = job.rows[ref.trial];
      SubjectId graph = job.graphs == nullptr ? row.graph : job.graphs[ref.trial];
      if (!job.has_graphs) graph = kNoSubject;
      const MeasurementCell& cell = BetterLatency((*column_)[row.artifact], (*column_)[graph]);
      if (cell.known()) ReadCell(job, ref.trial, cell, reading);
      return cell.known();
    }
    case Source::kOwn:
      break;
  }
  const TrialEntry& trial = job.fold->trials()[ref.trial];
  const MeasurementRecord* const evidence = job.fold->Evidence(trial, slot_);
  if (evidence == nullptr) {
    const std::optional<double> value = job.fold->Value(trial, slot_);
    if (value.has_value()) *reading = Known(*value);
    return value.has_value();
  }
  const double value = IsFinal(trial, *evidence) ? evidence->value : job.estimator(evidence->value);
  const double shift = value - evidence->value;
  *reading = {value, evidence->low + shift, evidence->high + shift, evidence->value, evidence};
  return true;
}

}  // namespace forall
