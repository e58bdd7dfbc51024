// SPDX-License-Identifier: Apache-2.0
#include "search/controller/resource_views.h"

#include <algorithm>

#include "search/controller/derived_metric.h"
#include "search/controller/resource_names.h"

namespace forall {
namespace {

const char* FidelityName(FidelityLevel level) {
  return level == FidelityLevel::kFinal ? "final" : "screening";
}

// The name of the trial that a measurement was first made for.
std::string TrialNameOf(const Registry& registry, const MeasurementRecord& record) {
  const auto job = registry.jobs.find(record.job_id);
  if (job == registry.jobs.end()) return "";
  // Ids of a job's trials ascend as their ordinals do.
  const std::vector<TrialEntry>& trials = job->second->fold().trials();
  const auto it =
      std::lower_bound(trials.begin(), trials.end(), record.trial_id,
                       [](const TrialEntry& trial, int64_t id) { return trial.record.id < id; });
  if (it == trials.end() || it->record.id != record.trial_id) return "";
  return TrialName(record.job_id, it->record.ordinal);
}

}  // namespace

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(absl::ToUnixSeconds(time));
  timestamp.set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(timestamp.seconds()))));
  return timestamp;
}

v1::SearchJob JobView(const JobController& job) {
  const JobFold& fold = job.fold();
  const JobRecord& record = fold.record();
  v1::SearchJob view;
  view.set_name(JobName(record.id));
  *view.mutable_spec() = fold.plan().spec();
  view.set_state(static_cast<v1::SearchJob::State>(record.state));
  view.set_error(record.error);
  *view.mutable_create_time() = ToTimestamp(record.create_time);
  *view.mutable_update_time() = ToTimestamp(record.update_time);
  if (record.end_time.has_value()) *view.mutable_end_time() = ToTimestamp(*record.end_time);
  view.set_proposed_trials(static_cast<int32_t>(fold.trials().size()));
  view.set_measured_trials(static_cast<int32_t>(fold.measured()));
  view.set_infeasible_trials(static_cast<int32_t>(fold.infeasible()));
  view.set_failed_trials(static_cast<int32_t>(fold.failed()));
  view.set_reused_trials(static_cast<int32_t>(fold.reused()));
  view.set_frontier_size(static_cast<int32_t>(fold.frontier().size()));
  view.set_hypervolume(fold.hypervolume());
  for (const double value : fold.hypervolume_reference()) view.add_hypervolume_reference(value);
  for (const double value : fold.hypervolume_ideal()) view.add_hypervolume_ideal(value);
  view.set_event_sequence(fold.sequence());
  if (fold.start_finalizing_time().has_value()) {
    *view.mutable_start_finalizing_time() = ToTimestamp(*fold.start_finalizing_time());
  }
  for (const int64_t trials : fold.tier_trials()) {
    view.add_tier_trials(static_cast<int32_t>(trials));
  }
  view.set_finalized_trials(static_cast<int32_t>(fold.FinalizedFrontierMembers()));
  view.set_waiting_reason(job.WaitingReason());
  view.set_stop_reason(job.StopReason());
  view.set_spared_accuracies(static_cast<int32_t>(fold.spared_accuracies()));
  for (const std::string& warning : job.warnings()) view.add_warnings(warning);
  view.set_tenant(job.tenant());
  return view;
}

v1::Trial TrialView(const Registry& registry, const JobFold& fold, const TrialEntry& trial) {
  const TrialRecord& record = trial.record;
  v1::Trial view;
  view.set_name(TrialName(record.job_id, record.ordinal));
  v1::Architecture* architecture = view.mutable_architecture();
  architecture->set_search_space(record.search_space);
  architecture->set_revision(record.revision);
  for (const int32_t choice : record.choices) architecture->add_choices(choice);
  view.set_architecture_json(fold.plan().family().search_space().ToJson(trial.architecture));
  view.set_arch_key(record.arch_key);
  view.set_graph_key(record.graph_key);
  view.set_artifact_sha256(trial.artifact_sha256);
  view.set_state(static_cast<v1::Trial::State>(trial.state));
  view.set_error(trial.error.empty() ? trial.finalize_error : trial.error);
  if (trial.state == TrialState::kActive && !trial.attempt_failure.empty()) {
    view.set_error(absl::StrCat("tried again after ", trial.attempt_failure));
  }
  *view.mutable_create_time() = ToTimestamp(record.create_time);
  if (trial.end_time.has_value()) *view.mutable_end_time() = ToTimestamp(*trial.end_time);
  view.set_on_frontier(fold.OnFrontier(record.ordinal));
  view.set_finalized(trial.finalized && trial.finalize_error.empty());
  view.set_reused(trial.reused);
  for (size_t slot = 0; slot < fold.plan().slots().size(); ++slot) {
    if (fold.plan().slots()[slot].metric->source != MetricSource::kAccuracy) continue;
    const MeasurementRecord* evidence = fold.Evidence(trial, static_cast<int>(slot));
    if (evidence != nullptr) view.set_accuracy_images(evidence->sample_count);
  }
  if (trial.stopped_by != 0) view.set_stopped_by(TrialName(record.job_id, trial.stopped_by));
  // Exact costs first, then what was measured: the final ones before those they replace, the
  // rejected ones, which count for nothing, last.
  for (const MetricInfo& metric : Metrics()) {
    MetricSlot slot{&metric};
    const int tables = metric.source == MetricSource::kTable
                           ? static_cast<int>(trial.predicted_latencies.size())
                           : 0;
    for (slot.table = tables > 0 ? 0 : -1; slot.table < tables; ++slot.table) {
      if (!KnownValue(trial, slot).has_value()) continue;
      *view.add_measurements() = KnownView(fold.plan(), trial, slot);
    }
  }
  for (const bool rejected : {false, true}) {
    for (const FidelityLevel level : {FidelityLevel::kFinal, FidelityLevel::kScreening}) {
      for (auto id = trial.measurements.rbegin(); id != trial.measurements.rend(); ++id) {
        const MeasurementRecord* measurement = registry.index.Find(*id);
        if (measurement == nullptr || measurement->fidelity != level ||
            (measurement->verdict == VerdictState::kRejected) != rejected) {
          continue;
        }
        *view.add_measurements() = MeasurementView(registry, *measurement);
      }
    }
  }
  return view;
}

v1::Measurement KnownView(const JobPlan& plan, const TrialEntry& trial, const MetricSlot& slot) {
  v1::Measurement view;
  view.set_trial(TrialName(trial.record.job_id, trial.record.ordinal));
  view.set_metric(slot.metric->id);
  if (slot.table >= 0) *view.mutable_condition() = plan.table_targets()[slot.table].condition;
  view.set_value(KnownValue(trial, slot).value_or(0));
  view.mutable_interval()->set_low(view.value());
  view.mutable_interval()->set_high(view.value());
  view.mutable_interval()->set_confidence(1);
  view.mutable_interval()->set_kind("exact");
  view.mutable_verdict()->set_state(v1::Verdict::TRUSTED);
  view.set_fidelity("final");
  view.set_subject(trial.record.arch_key);
  if (IsPredicted(*slot.metric)) {
    // How far off it is nobody knows here.
    view.mutable_interval()->set_confidence(0);
    view.mutable_interval()->set_kind("predicted");
    view.mutable_verdict()->set_state(v1::Verdict::NOISY);
    view.mutable_verdict()->add_reasons("predicted");
    view.set_fidelity("predicted");
  }
  return view;
}

v1::Measurement MeasurementView(const Registry& registry, const MeasurementRecord& record) {
  v1::Measurement view;
  if (record.retracted_by.empty()) view.set_trial(TrialNameOf(registry, record));
  view.set_metric(record.key.metric);
  v1::Condition* condition = view.mutable_condition();
  if (!record.key.device.empty()) condition->set_device(DeviceName(record.key.device));
  condition->set_device_class(record.key.device_class);
  condition->set_profile(record.key.profile);
  if (record.key.metric == kCarbon) {
    condition->set_grid_grams_per_kwh(GridIntensity(record.key.dataset));
  } else {
    condition->set_dataset(record.key.dataset);
  }
  condition->set_split(record.key.split);
  condition->set_recipe(record.key.recipe);
  condition->set_batch(record.key.batch);
  view.set_value(record.value);
  view.mutable_interval()->set_low(record.low);
  view.mutable_interval()->set_high(record.high);
  view.mutable_interval()->set_confidence(record.interval_kind == "exact" ? 1.0 : 0.95);
  view.mutable_interval()->set_kind(record.interval_kind);
  view.set_sample_count(record.sample_count);
  view.mutable_verdict()->set_state(static_cast<v1::Verdict::State>(record.verdict));
  for (const std::string& reason : record.reasons) view.mutable_verdict()->add_reasons(reason);
  view.set_fidelity(FidelityName(record.fidelity));
  view.set_subject(record.key.subject);
  if (!record.worker.empty()) view.set_worker(WorkerName(record.worker));
  view.set_worker_build(record.worker_build);
  *view.mutable_measure_time() = ToTimestamp(record.time);
  view.set_ratio(record.ratio);
  view.set_raw_median_ms(record.raw_median_ms);
  view.set_reference_median_ms(record.reference_median_ms);
  view.set_baseline_reference_ms(record.baseline_reference_ms);
  view.set_baseline_id(record.baseline_id);
  if (record.samples_dropped.has_value()) {
    *view.mutable_samples_dropped_time() = ToTimestamp(*record.samples_dropped);
  }
  return view;
}

v1::Supernet SupernetView(const SupernetEntry& supernet, int64_t size_bytes) {
  v1::Supernet view;
  view.set_name(SupernetName(supernet.record.id));
  view.set_sha256(supernet.record.sha256);
  view.set_size_bytes(size_bytes);
  view.set_search_space(supernet.family->search_space().id());
  view.set_revision(supernet.family->search_space().revision());
  view.set_spec(supernet.record.spec);
  view.set_dataset(supernet.record.dataset);
  *view.mutable_create_time() = ToTimestamp(supernet.record.create_time);
  return view;
}

v1::Device DeviceView(const DeviceRecord& device) {
  v1::Device view;
  view.set_name(DeviceName(device.id));
  view.set_device_class(device.device_class);
  view.set_description(device.description);
  view.set_fingerprint(device.fingerprint);
  view.mutable_properties()->insert(device.properties.begin(), device.properties.end());
  return view;
}

v1::SearchSpace SearchSpaceView(const Family& family) {
  const SearchSpace& space = family.search_space();
  v1::SearchSpace view;
  view.set_name(SearchSpaceName(space.id()));
  view.set_revision(space.revision());
  for (const Dimension& dimension : space.dimensions()) {
    v1::Dimension* added = view.add_dimensions();
    added->set_name(dimension.name);
    for (const int32_t option : dimension.options) added->add_options(option);
    if (dimension.condition.has_value()) {
      added->set_condition_dimension(space.dimensions()[dimension.condition->dimension].name);
      added->set_condition_at_least(dimension.condition->at_least);
    }
  }
  view.set_spec(family.Spec());
  view.set_log10_size(space.Log10Size());
  return view;
}

}  // namespace forall
