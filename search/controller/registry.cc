// SPDX-License-Identifier: Apache-2.0
#include "search/controller/registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/controller/job_validator.h"
#include "search/controller/measurement_maker.h"
#include "search/controller/resource_names.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

constexpr int64_t kEventsPerRead = 10'000;

// Workers on which a task failed before, by task.
using FailedOn = absl::flat_hash_map<int64_t, std::vector<std::string>>;

// Images are counted with, and shared out to workers.
absl::Status CheckAccuracyRecord(const MeasurementRecord& record) {
  const MetricInfo* const metric = FindMetric(record.key.metric);
  if (metric == nullptr || metric->source != MetricSource::kAccuracy ||
      (record.sample_count >= 1 && record.sample_count <= kMostSplitImages)) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("measurement ", record.id, ": it cannot be of ",
                                          record.sample_count, " images"));
}

absl::Status LoadCatalog(ResultStore* store, Registry* registry) {
  FORALL_ASSIGN_OR_RETURN(registry->ids, store->LoadIds());
  FORALL_ASSIGN_OR_RETURN(std::vector<SupernetRecord> supernets, store->LoadSupernets());
  for (SupernetRecord& record : supernets) {
    absl::StatusOr<std::shared_ptr<const Family>> family = FamilyFromSpec(record.spec);
    if (!family.ok()) return WithContext(family.status(), SupernetName(record.id));
    const std::string id = record.id;
    registry->supernets[id] = {std::move(record), *std::move(family)};
  }
  FORALL_ASSIGN_OR_RETURN(std::vector<DeviceRecord> devices, store->LoadDevices());
  for (DeviceRecord& record : devices) registry->devices[record.id] = std::move(record);
  FORALL_ASSIGN_OR_RETURN(std::vector<DatasetRecord> datasets, store->LoadDatasets());
  for (DatasetRecord& record : datasets) {
    if (record.images < 0 || record.images > kMostSplitImages) {
      return absl::DataLossError(absl::StrCat("dataset ", record.name, ", split ", record.split,
                                              ": it cannot have ", record.images, " images"));
    }
    const std::pair<std::string, std::string> key(record.name, record.split);
    if (record.images > 0) {
      registry->index.NoteAllImages(record.name, record.split, record.images);
    }
    registry->datasets[key] = std::move(record);
  }
  FORALL_ASSIGN_OR_RETURN(std::vector<MeasurementRecord> measurements, store->LoadMeasurements());
  for (MeasurementRecord& record : measurements) {
    FORALL_RETURN_IF_ERROR(CheckAccuracyRecord(record));
    if (record.key.metric == "accuracy_top1") {
      absl::StatusOr<MeasurementEvidence> evidence = store->LoadEvidence(record.id);
      if (evidence.ok()) {
        const size_t bytes = evidence->top1_bitmap.size();
        if (bytes != 0 && bytes != static_cast<size_t>(record.sample_count + 7) / 8) {
          return absl::DataLossError(absl::StrCat("the evidence of measurement ", record.id,
                                                  " is not of its ", record.sample_count,
                                                  " images"));
        }
        registry->index.NoteSources(record.id, SourcesIn(evidence->environment));
        registry->index.AddBitmap(record.id, std::move(evidence->top1_bitmap));
      } else if (!absl::IsNotFound(evidence.status())) {
        return WithContext(evidence.status(),
                           absl::StrCat("the evidence of measurement ", record.id));
      }
    }
    registry->index.Add(std::move(record));
  }
  FORALL_ASSIGN_OR_RETURN(std::vector<AccuracyPartRecord> parts, store->LoadParts());
  for (AccuracyPartRecord& part : parts) registry->index.AddPart(std::move(part));
  FORALL_ASSIGN_OR_RETURN(const std::vector<ExportRecord> exports, store->LoadExports());
  for (const ExportRecord& record : exports) registry->index.AddExport(record);
  FORALL_ASSIGN_OR_RETURN(const std::vector<BaselineRecord> baselines, store->LoadBaselines());
  for (const BaselineRecord& record : baselines) registry->index.AddBaseline(record);
  return absl::OkStatus();
}

absl::Status ReplayEvents(ResultStore* store, int64_t job_id, JobController* job,
                          FailedOn* failed_on) {
  while (true) {
    FORALL_ASSIGN_OR_RETURN(const std::vector<EventRecord> events,
                            store->LoadEvents(job_id, job->fold().sequence(), kEventsPerRead));
    for (const EventRecord& record : events) {
      FORALL_RETURN_IF_ERROR(job->Replay(record));
      if (record.kind != "failed") continue;
      FORALL_ASSIGN_OR_RETURN(const JobEvent event, FromRecord(record));
      if (!event.last && event.reason == "TRANSIENT")
        (*failed_on)[event.task].push_back(event.worker);
    }
    if (static_cast<int64_t>(events.size()) < kEventsPerRead) return absl::OkStatus();
  }
}

// How many images "all" are, from the tasks that asked for all: before schema 3 nothing else told.
void NoteAllImages(const absl::flat_hash_map<int64_t, std::pair<std::string, std::string>>& asked,
                   MeasurementIndex* index) {
  for (const MeasurementRecord& record : index->all()) {
    const auto it = asked.find(record.task_id);
    if (it == asked.end()) continue;
    index->NoteAllImages(it->second.first, it->second.second, record.sample_count);
  }
}

absl::Status LoadTasksOf(ResultStore* store, JobController* job, const FailedOn& failed_on,
                         Registry* registry) {
  absl::flat_hash_map<int64_t, std::pair<std::string, std::string>> asked_for_all;
  const int64_t job_id = job->fold().record().id;
  FORALL_ASSIGN_OR_RETURN(std::vector<TaskRecord> records, store->LoadTasks(job_id));
  std::sort(records.begin(), records.end(),
            [](const TaskRecord& a, const TaskRecord& b) { return a.id < b.id; });
  for (TaskRecord& record : records) {
    auto wire = std::make_unique<v1::Task>();
    if (!wire->ParseFromString(record.payload)) {
      return absl::DataLossError(absl::StrCat("task ", record.id, " cannot be read"));
    }
    record.payload.clear();
    const int64_t id = record.id;
    if (record.state == TaskState::kOpen) {
      // What it measures changes no job that has ended.
      if (!job->fold().ended()) FORALL_RETURN_IF_ERROR(job->RestoreTask(record, *wire));
      QueuedTask queued{
          id, job_id, NeedsOf(*wire, FingerprintOf(job->fold(), *wire)), record.attempts, {}};
      if (const auto it = failed_on.find(id); it != failed_on.end()) queued.failed_on = it->second;
      registry->open_tasks.push_back(std::move(queued));
      const uint64_t hash = WorkHash(*wire);
      registry->tasks[id] = {std::move(record), std::move(wire), hash};
    } else {
      if (record.state == TaskState::kDone && record.kind == TaskKind::kAccuracy &&
          wire->images() == 0 && wire->part_images() == 0) {
        asked_for_all[id] = {wire->dataset(), wire->split()};
      }
      registry->durations.Add(Work::Of(*wire, ImagesOf(*wire, registry->index.AllImages(
                                                                  wire->dataset(), wire->split()))),
                              record.seconds);
      registry->tasks[id] = {std::move(record), nullptr};
    }
  }
  NoteAllImages(asked_for_all, &registry->index);
  return absl::OkStatus();
}

absl::Status LoadJob(ResultStore* store, JobHost* host, const FindJobFiles& find_files,
                     JobRecord record, Registry* registry) {
  const int64_t id = record.id;
  v1::SearchJobSpec spec;
  if (!spec.ParseFromString(record.spec)) return absl::DataLossError("its spec cannot be read");
  FORALL_RETURN_IF_ERROR(CheckStoredSpec(spec));
  FORALL_ASSIGN_OR_RETURN(const std::string supernet, ParseSupernetName(spec.supernet()));
  const auto entry = registry->supernets.find(supernet);
  if (entry == registry->supernets.end()) {
    return absl::DataLossError(absl::StrCat(spec.supernet(), " is not in the store"));
  }
  if (!record.request_id.empty()) registry->jobs_by_request[record.request_id] = id;
  absl::StatusOr<JobFiles> files = find_files(spec, entry->second.family);
  FORALL_ASSIGN_OR_RETURN(
      std::unique_ptr<JobController> job,
      JobController::Create(std::move(record), entry->second.family,
                            files.ok() ? *files : JobFiles(), &registry->index, host));
  if (!files.ok()) job->CannotPropose(std::string(files.status().message()));
  FailedOn failed_on;
  FORALL_RETURN_IF_ERROR(ReplayEvents(store, id, job.get(), &failed_on));
  FORALL_RETURN_IF_ERROR(LoadTasksOf(store, job.get(), failed_on, registry));
  registry->jobs[id] = std::move(job);
  return absl::OkStatus();
}

}  // namespace

std::string FingerprintOf(const JobFold& fold, const v1::Task& wire) {
  if (wire.device().empty()) return "";
  for (const std::optional<TargetBinding>& binding : fold.bindings()) {
    if (binding.has_value() && DeviceName(binding->device) == wire.device()) {
      return binding->fingerprint;
    }
  }
  return "";
}

absl::StatusOr<std::unique_ptr<Registry>> LoadRegistry(ResultStore* store, JobHost* host,
                                                       const FindJobFiles& find_files) {
  auto registry = std::make_unique<Registry>();
  FORALL_RETURN_IF_ERROR(LoadCatalog(store, registry.get()));
  FORALL_ASSIGN_OR_RETURN(std::vector<JobRecord> jobs, store->LoadJobs());
  for (JobRecord& record : jobs) {
    const std::string name = JobName(record.id);
    FORALL_RETURN_IF_ERROR(
        WithContext(LoadJob(store, host, find_files, std::move(record), registry.get()), name));
  }
  std::sort(registry->open_tasks.begin(), registry->open_tasks.end(),
            [](const QueuedTask& a, const QueuedTask& b) { return a.id < b.id; });
  for (const QueuedTask& task : registry->open_tasks) {
    registry->in_flight.Add(task.id, registry->tasks[task.id].hash);
  }
  return registry;
}

}  // namespace forall
