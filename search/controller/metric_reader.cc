// SPDX-License-Identifier: Apache-2.0
#include "search/controller/metric_reader.h"

#include <algorithm>

namespace forall {
namespace {

bool Holds(const std::vector<int64_t>& ids, int64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

Reading Known(double value) { return {value, value, value, value}; }

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
    jobs_.push_back({fold, fold->rows().data(), fold->rows().size(), fold->EstimatorOf(metric.id)});
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
  jobs_.push_back({&job, job.rows().data(), job.rows().size(), job.EstimatorOf(metric.id)});
}

const MeasurementCell& MetricReader::CellOf(TrialRef ref) const {
  const Job& job = jobs_[ref.job];
  const TrialRow& row = job.rows[ref.trial];
  if (source_ == Source::kAccuracy) return (*column_)[row.artifact];
  SubjectId graph = job.graphs == nullptr ? row.graph : job.graphs[ref.trial];
  if (!job.has_graphs) graph = kNoSubject;
  return BetterLatency((*column_)[row.artifact], (*column_)[graph]);
}

Reading MetricReader::Compared(TrialRef ref, const Reading& measured, bool final) const {
  if (final) return measured;
  const double value = jobs_[ref.job].estimator(measured.measured);
  const double shift = value - measured.measured;
  return {value, measured.low + shift, measured.high + shift, measured.measured};
}

bool MetricReader::Read(TrialRef ref, Reading* reading) const {
  const Job& job = jobs_[ref.job];
  const auto read_known = [&](const std::optional<double>& value) {
    if (value.has_value()) *reading = Known(*value);
    return value.has_value();
  };
  switch (source_) {
    case Source::kNothing:
      return false;
    case Source::kCost:
      *reading = Known(static_cast<double>(job.fold->costs()[ref.trial].*cost_));
      return true;
    case Source::kPrediction:
      return read_known(job.fold->trials()[ref.trial].predicted_accuracy);
    case Source::kAccuracy:
    case Source::kLatency: {
      const MeasurementCell& cell = CellOf(ref);
      if (!cell.known()) return false;
      *reading = {cell.value, cell.low, cell.high, cell.value};
      if (!job.estimator.known) return true;
      const TrialRow& row = job.rows[ref.trial];
      // Mostly the row tells, without a look at trial and record.
      const bool final = row.has_final || row.screened_finally
                             ? IsFinal(job.fold->trials()[ref.trial], *Evidence(ref))
                             : cell.fidelity == FidelityLevel::kFinal;
      *reading = Compared(ref, *reading, final);
      return true;
    }
    case Source::kOwn: {
      const MeasurementRecord* const evidence = Evidence(ref);
      const TrialEntry& trial = job.fold->trials()[ref.trial];
      if (evidence == nullptr) return read_known(job.fold->Value(trial, slot_));
      *reading = {evidence->value, evidence->low, evidence->high, evidence->value};
      *reading = Compared(ref, *reading, IsFinal(trial, *evidence));
      return true;
    }
  }
  return false;
}

const MeasurementRecord* MetricReader::Evidence(TrialRef ref) const {
  switch (source_) {
    case Source::kNothing:
    case Source::kCost:
    case Source::kPrediction:
      return nullptr;
    case Source::kAccuracy:
    case Source::kLatency: {
      const MeasurementCell& cell = CellOf(ref);
      return cell.known() ? &index_->all()[static_cast<size_t>(cell.place)] : nullptr;
    }
    case Source::kOwn:
      return jobs_[ref.job].fold->Evidence(jobs_[ref.job].fold->trials()[ref.trial], slot_);
  }
  return nullptr;
}

}  // namespace forall
