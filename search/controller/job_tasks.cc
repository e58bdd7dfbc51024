// SPDX-License-Identifier: Apache-2.0
// The part of JobController that sees to numbers: what is known already is reused, for the rest
// there is a task.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "search/controller/derived_metric.h"
#include "search/controller/job_controller.h"
#include "search/controller/latency_rules.h"
#include "search/controller/resource_names.h"
#include "space/identity.h"
#include "space/recipe.h"

namespace forall {
namespace {

// A worker pays for each part with a look-up of the cached file, a session, and a first inference:
// tens of milliseconds, for minutes of work. Small benchmarks stay whole.
constexpr int64_t kPartImages = 12'800;
// Of one evaluation.
constexpr int64_t kMostParts = 10'000;

}  // namespace

void JobController::Open(int64_t id, OpenTask task) {
  tasks_of_trials_.emplace(task.trial, id);
  open_tasks_[id] = std::move(task);
}

void JobController::Close(std::map<int64_t, OpenTask>::iterator it) {
  tasks_of_trials_.erase({it->second.trial, it->first});
  open_tasks_.erase(it);
}

void JobController::Drop(std::map<int64_t, OpenTask>::iterator it) {
  if (it->second.own) {
    host_->CancelTask(it->first);
  } else {
    host_->LeaveTask(it->first, fold_.record().id);
  }
  Close(it);
}

std::vector<int64_t> JobController::OpenTasksOf(int64_t ordinal) const {
  std::vector<int64_t> ids;
  for (auto it = tasks_of_trials_.lower_bound({ordinal, 0});
       it != tasks_of_trials_.end() && it->first == ordinal; ++it) {
    ids.push_back(it->second);
  }
  return ids;
}

bool JobController::HasOpenTask(int64_t ordinal, TaskKind kind, int target,
                                const std::string& fidelity, const std::string& split) const {
  const std::vector<int64_t> ids = OpenTasksOf(ordinal);
  return std::any_of(ids.begin(), ids.end(), [&](int64_t id) {
    const OpenTask& open = open_tasks_.at(id);
    return open.kind == kind && open.target == target &&
           (kind == TaskKind::kExport || (open.fidelity == fidelity && open.split == split));
  });
}

int64_t JobController::Images(int64_t ordinal, const std::string& fidelity) const {
  if (fidelity == "final") return fold_.plan().spec().fidelity().final_images();
  return fold_.ScreeningImages(*fold_.FindTrial(ordinal));
}

bool JobController::ReuseExport(int64_t ordinal) {
  const TrialEntry& trial = *fold_.FindTrial(ordinal);
  const v1::SearchJobSpec& spec = fold_.plan().spec();
  const ExportRecord* known = host_->index().FindExport(
      fold_.record().supernet_sha256, trial.record.arch_key, spec.recipe(), CalibrationKey(spec));
  if (known == nullptr) return false;
  Emit({.kind = "exported", .trial = ordinal, .artifact = known->artifact_sha256});
  return true;
}

bool JobController::EnsureArtifact(int64_t ordinal) {
  if (!fold_.FindTrial(ordinal)->artifact_sha256.empty() || ReuseExport(ordinal)) return true;
  if (!HasOpenTask(ordinal, TaskKind::kExport, -1, "", "")) AddExportTask(ordinal);
  return false;
}

bool JobController::HaveAccuracy(int64_t ordinal, const std::string& fidelity) {
  const JobPlan& plan = fold_.plan();
  if (!plan.needs_accuracy()) return true;
  const TrialEntry* trial = fold_.FindTrial(ordinal);
  std::vector<std::string> missing;
  for (size_t slot = 0; slot < plan.slots().size(); ++slot) {
    const MetricInfo& metric = *plan.slots()[slot].metric;
    if (metric.source != MetricSource::kAccuracy) continue;
    const bool screened = trial->screening[slot] != 0 && trial->tiers_measured > trial->tier;
    const bool have = trial->final[slot] != 0 || (fidelity == "screening" && screened);
    if (!have) missing.push_back(metric.id);
  }
  if (missing.empty()) return true;
  return EnsureArtifact(ordinal) && HaveAccuraciesOf(ordinal, fidelity, "validation", missing);
}

std::vector<int64_t> JobController::FindAccuracies(const v1::Task& wire,
                                                   const std::vector<std::string>& metrics) const {
  std::vector<int64_t> known;
  for (const std::string& metric : metrics) {
    const int64_t id = host_->index().FindAccuracy(wire.artifact_sha256(), metric, wire.dataset(),
                                                   wire.split(), wire.images());
    if (id == 0) return {};
    known.push_back(id);
  }
  return known;
}

bool JobController::HaveAccuraciesOf(int64_t ordinal, const std::string& fidelity,
                                     const std::string& split,
                                     const std::vector<std::string>& metrics) {
  std::vector<AccuracyCover::Range> begun;
  for (const int64_t id : OpenTasksOf(ordinal)) {
    const OpenTask& task = open_tasks_.at(id);
    if (task.kind != TaskKind::kAccuracy || task.fidelity != fidelity || task.split != split) {
      continue;
    }
    if (!task.part) return false;  // Its result is all that there is to come.
    begun.push_back({task.first_image, task.end_image - task.first_image});
  }
  const bool look_again = parts_over_.erase(ordinal) > 0;
  const v1::Task wire = AccuracyWire(ordinal, fidelity, split);
  std::vector<int64_t> known = FindAccuracies(wire, metrics);
  if (const int64_t all = host_->index().AllImages(wire.dataset(), split);
      known.empty() && all != 0) {
    const int64_t images = wire.images() == 0 ? all : std::min<int64_t>(wire.images(), all);
    if (host_->index()
            .Cover(wire.artifact_sha256(), wire.dataset(), split, images)
            .missing.empty()) {
      host_->JoinAccuracy(fold_.record().id, fold_.FindTrial(ordinal)->record.id, wire);
      known = FindAccuracies(wire, metrics);
    }
  }
  if (known.empty()) {
    if (begun.empty() || look_again) AddAccuracyTasks(ordinal, wire, begun);
    return false;
  }
  CancelEvaluation(ordinal, fidelity, split);
  Emit({.kind = "measured",
        .trial = ordinal,
        .measurements = std::move(known),
        .fidelity = fidelity,
        .split = split});
  return true;
}

bool JobController::ReuseLatency(int64_t ordinal, int target, const std::string& subject,
                                 FidelityLevel level) {
  if (subject.empty()) return false;
  const MeasurementIndex& index = host_->index();
  const std::string fidelity = level == FidelityLevel::kFinal ? "final" : "screening";
  const int64_t runs = LeastLatencyRuns(fold_.plan().LatencyRules(fidelity), fidelity);
  std::vector<int64_t> known;
  std::vector<std::pair<int64_t, const MetricSlot*>> sources;  // what still has to be derived
  for (const MetricSlot& slot : fold_.plan().slots()) {
    if (slot.target != target) continue;
    int64_t id = index.FindLatency(LatencyKeyOf(fold_, slot, subject), level, runs);
    if (id != 0) {
      known.push_back(id);
    } else if (!slot.metric->derived_from.empty()) {
      const MetricSlot source{FindMetric(slot.metric->derived_from), target};
      id = index.FindLatency(LatencyKeyOf(fold_, source, subject), level, runs);
      if (id != 0) sources.emplace_back(id, &slot);
    }
    // All or nothing: the numbers of a trial are of one measurement.
    if (id == 0) return false;
  }
  for (const auto& [id, slot] : sources) {
    known.push_back(host_->DeriveMeasurement(id, *slot->metric, slot->grid_grams_per_kwh));
  }
  Emit({.kind = "measured",
        .trial = ordinal,
        .target = target,
        .measurements = std::move(known),
        .fidelity = fidelity});
  return true;
}

bool JobController::HaveLatency(int64_t ordinal, int target, const std::string& fidelity) {
  const JobPlan& plan = fold_.plan();
  const TrialEntry* trial = fold_.FindTrial(ordinal);
  bool known = true;
  for (size_t slot = 0; slot < plan.slots().size(); ++slot) {
    if (plan.slots()[slot].target != target) continue;
    known &= trial->final[slot] != 0 || (fidelity == "screening" && trial->screening[slot] != 0);
  }
  if (known) return true;
  if (HasOpenTask(ordinal, TaskKind::kLatency, target, fidelity, "")) return false;
  if (trial->artifact_sha256.empty()) ReuseExport(ordinal);
  trial = fold_.FindTrial(ordinal);
  // A graph's speed does not depend on weights: good enough for screening, never for a final
  // number. A known screening goes first, so that a job that is run again meets the same numbers
  // and so makes the same proposals.
  if (fidelity == "screening" &&
      ReuseLatency(ordinal, target, LatencyGraphKey(plan, *trial, target),
                   FidelityLevel::kScreening)) {
    return true;
  }
  if (ReuseLatency(ordinal, target, trial->artifact_sha256, FidelityLevel::kFinal)) return true;
  if (EnsureArtifact(ordinal)) AddLatencyTask(ordinal, target, fidelity);
  return false;
}

v1::Task JobController::WireTask(int64_t ordinal, TaskKind kind,
                                 const std::string& fidelity) const {
  const TrialEntry& trial = *fold_.FindTrial(ordinal);
  v1::Task wire;
  wire.set_kind(static_cast<v1::Task::Kind>(kind));
  wire.set_trial(TrialName(fold_.record().id, ordinal));
  wire.set_arch_key(trial.record.arch_key);
  wire.set_graph_key(trial.record.graph_key);
  wire.set_artifact_sha256(trial.artifact_sha256);
  wire.set_fidelity(fidelity);
  wire.set_recipe(fold_.plan().spec().recipe());
  wire.set_supernet_sha256(fold_.record().supernet_sha256);
  wire.set_resolution(trial.resolution);
  v1::Architecture* architecture = wire.mutable_architecture();
  architecture->set_search_space(trial.architecture.search_space);
  architecture->set_revision(trial.architecture.revision);
  for (const int32_t choice : trial.architecture.choices) architecture->add_choices(choice);
  return wire;
}

void JobController::AddTask(int64_t ordinal, const v1::Task& wire, const TaskNeeds& needs,
                            OpenTask open) {
  const AwaitedTask task = host_->AddTask(fold_.record().id, fold_.FindTrial(ordinal)->record.id,
                                          needs.kind, wire, needs);
  open.trial = ordinal;
  open.kind = needs.kind;
  open.own = task.own;
  Open(task.id, std::move(open));
}

void JobController::AddExportTask(int64_t ordinal) {
  const v1::SearchJobSpec& spec = fold_.plan().spec();
  v1::Task wire = WireTask(ordinal, TaskKind::kExport, "");
  wire.set_calibration_dataset(spec.dataset());
  wire.set_calibration_images(spec.fidelity().calibration_images());
  wire.set_calibration_seed(spec.fidelity().calibration_seed());
  AddTask(ordinal, wire, NeedsOf(wire, ""), {});
}

v1::Task JobController::AccuracyWire(int64_t ordinal, const std::string& fidelity,
                                     const std::string& split) const {
  v1::Task wire = WireTask(ordinal, TaskKind::kAccuracy, fidelity);
  wire.set_dataset(fold_.plan().spec().dataset());
  wire.set_split(split);
  if (split != "test") wire.set_images(static_cast<int32_t>(Images(ordinal, fidelity)));
  return wire;
}

void JobController::AddAccuracyTasks(int64_t ordinal, const v1::Task& wire,
                                     absl::Span<const AccuracyCover::Range> begun) {
  int64_t part = fold_.plan().spec().fidelity().part_images() > 0
                     ? fold_.plan().spec().fidelity().part_images()
                     : kPartImages;
  const MeasurementIndex& index = host_->index();
  const auto add = [&](int64_t first, int64_t images) {
    // Once those are in, what is missing then follows.
    if (std::any_of(begun.begin(), begun.end(), [&](const AccuracyCover::Range& range) {
          return range.first_image < first + images && first < range.first_image + range.images;
        })) {
      return;
    }
    v1::Task task = wire;
    task.set_first_image(static_cast<int32_t>(first));
    task.set_part_images(static_cast<int32_t>(images));
    OpenTask open;
    open.fidelity = wire.fidelity();
    open.split = wire.split();
    open.part = images > 0;
    open.first_image = first;
    open.end_image = first + images;
    AddTask(ordinal, task, NeedsOf(task, ""), std::move(open));
  };
  const int64_t all = index.AllImages(wire.dataset(), wire.split());
  int64_t images = wire.images();
  if (all > 0) images = images == 0 ? all : std::min(images, all);
  // Small parts of a split that is said to be huge would be more tasks than anybody can hold.
  part = std::max(part, (images / kMostParts + 63) / 64 * 64);
  // How many there are, the first part will tell.
  if (all == 0 && (images == 0 || images > part)) return add(0, part);
  const AccuracyCover cover =
      index.Cover(wire.artifact_sha256(), wire.dataset(), wire.split(), images);
  if (cover.pieces.empty() && begun.empty() && images <= part) return add(0, 0);
  for (const AccuracyCover::Range& gap : cover.missing) {
    // Parts end at multiples of their size, so that jobs share them whatever they had before.
    for (int64_t first = gap.first_image; first < gap.first_image + gap.images;) {
      const int64_t end = std::min(gap.first_image + gap.images, (first / part + 1) * part);
      add(first, end - first);
      first = end;
    }
  }
}

void JobController::AddLatencyTask(int64_t ordinal, int target, const std::string& fidelity) {
  const TargetBinding& binding = *fold_.bindings()[target];
  v1::Task wire = WireTask(ordinal, TaskKind::kLatency, fidelity);
  wire.set_graph_key(LatencyGraphKey(fold_.plan(), *fold_.FindTrial(ordinal), target));
  wire.set_batch(fold_.plan().targets()[target].batch);
  wire.set_latency_profile(fidelity);
  if (const v1::LatencyProfile& rules = fold_.plan().LatencyRules(fidelity);
      rules.ByteSizeLong() > 0) {
    *wire.mutable_latency_rules() = rules;
  }
  wire.set_device(DeviceName(binding.device));
  wire.set_profile(binding.profile);
  for (const std::string& metric : fold_.plan().targets()[target].metrics) {
    wire.add_metrics(metric);
  }
  for (const MetricSlot& slot : fold_.plan().slots()) {
    if (slot.target != target || slot.metric->derived_from.empty()) continue;
    wire.add_metrics(slot.metric->id);
    if (slot.grid_grams_per_kwh > 0) wire.set_grid_grams_per_kwh(slot.grid_grams_per_kwh);
  }
  OpenTask open;
  open.target = target;
  open.fidelity = fidelity;
  AddTask(ordinal, wire, NeedsOf(wire, binding.fingerprint), std::move(open));
}

void JobController::CancelTasksOf(int64_t ordinal) {
  for (const int64_t id : OpenTasksOf(ordinal)) Drop(open_tasks_.find(id));
}

void JobController::CancelEvaluation(int64_t ordinal, const std::string& fidelity,
                                     const std::string& split) {
  for (const int64_t id : OpenTasksOf(ordinal)) {
    const auto it = open_tasks_.find(id);
    const OpenTask& open = it->second;
    if (open.kind != TaskKind::kAccuracy || open.fidelity != fidelity || open.split != split) {
      continue;
    }
    Drop(it);
  }
}

std::string CalibrationKey(const v1::SearchJobSpec& spec) {
  return CalibrationId(spec.dataset(), "train", spec.fidelity().calibration_images(),
                       kCalibrationBatch,
                       static_cast<uint64_t>(spec.fidelity().calibration_seed()));
}

std::string CalibrationIdOf(const v1::Task& wire) {
  return CalibrationId(wire.calibration_dataset(), "train", wire.calibration_images(),
                       kCalibrationBatch, static_cast<uint64_t>(wire.calibration_seed()));
}

std::string LatencyGraphKey(const JobPlan& plan, const TrialEntry& trial, int target) {
  return GraphKey(trial.record.arch_key, trial.resolution, plan.targets()[target].batch,
                  plan.recipe());
}

MeasurementKey LatencyKeyOf(const JobFold& fold, const MetricSlot& slot,
                            const std::string& subject) {
  const TargetBinding& binding = *fold.bindings()[slot.target];
  MeasurementKey key;
  key.subject = subject;
  key.metric = slot.metric->id;
  key.device = binding.device;
  key.device_fingerprint = binding.fingerprint;
  key.profile = binding.profile;
  key.recipe = fold.plan().spec().recipe();
  key.batch = fold.plan().targets()[slot.target].batch;
  key.dataset = GridName(slot.grid_grams_per_kwh);
  return key;
}

TaskNeeds NeedsOf(const v1::Task& wire, const std::string& fingerprint) {
  TaskNeeds needs;
  needs.kind = static_cast<TaskKind>(wire.kind());
  switch (needs.kind) {
    case TaskKind::kExport:
      needs.dataset = wire.calibration_dataset();
      break;
    case TaskKind::kAccuracy:
      needs.dataset = wire.dataset();
      break;
    case TaskKind::kLatency: {
      const absl::StatusOr<std::string> device = ParseDeviceName(wire.device());
      if (device.ok()) needs.device = *device;
      needs.device_fingerprint = fingerprint;
      needs.profile = wire.profile();
      for (const std::string& id : wire.metrics()) {
        const MetricInfo* const metric = FindMetric(id);
        if (metric == nullptr || metric->derived_from.empty()) needs.metrics.push_back(id);
      }
      break;
    }
  }
  return needs;
}

}  // namespace forall
