// SPDX-License-Identifier: Apache-2.0
// Calls of the people who ask: jobs, trials, frontiers.
#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/controller/controller.h"
#include "search/controller/controller_answer.h"
#include "search/controller/derived_metric.h"
#include "search/controller/frontier_query.h"
#include "search/controller/job_estimate.h"
#include "search/controller/job_validator.h"
#include "search/controller/latency_rules.h"
#include "search/controller/prediction_ledger.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"
#include "search/controller/table_check.h"
#include "space/identity.h"

namespace forall {
namespace {

constexpr size_t kMaxRequestId = 128;
constexpr size_t kMostNamesListed = 20;
constexpr size_t kTrialsPerUpdate = 100;
constexpr size_t kPageBytes = 2 << 20;
constexpr size_t kLeastKeyLength = sizeof(kArchKeyPrefix) - 1 + 8;

// Artifacts that a job cannot do without.
std::vector<std::string> FilesOf(const v1::SearchJobSpec& spec) {
  std::vector<std::string> files(spec.latency_tables().begin(), spec.latency_tables().end());
  if (!spec.accuracy_predictor().empty()) files.push_back(spec.accuracy_predictor());
  return files;
}

// " (no power sensor was found)", as the worker says; "" when it says nothing.
std::string WhyNot(const std::string& metric, const v1::Worker& worker) {
  const auto& properties = worker.device().properties();
  const auto why = properties.find("cannot_measure_energy");
  if (metric != kEnergy || why == properties.end()) return "";
  return absl::StrCat(" (", why->second, ")");
}

bool SameDevice(const v1::Condition& a, const v1::Condition& b) {
  return a.device() == b.device() && a.device_class() == b.device_class() &&
         a.profile() == b.profile() && std::max(a.batch(), 1) == std::max(b.batch(), 1);
}

// What the condition's device is to measure for the whole job.
LatencyTarget TargetOf(const v1::SearchJobSpec& spec, const v1::Condition& condition) {
  LatencyTarget target{condition.device(), condition.device_class(), condition.profile(),
                       std::max(condition.batch(), 1)};
  const auto add = [&](const auto& wanted) {
    const MetricInfo& metric = *FindMetric(wanted.metric());
    if (metric.source != MetricSource::kLatency || !SameDevice(wanted.condition(), condition) ||
        MeasuredFor(metric) == kMedianLatency) {
      return;
    }
    target.metrics.push_back(MeasuredFor(metric));
  };
  for (const v1::Objective& objective : spec.objectives()) add(objective);
  for (const v1::Constraint& constraint : spec.constraints()) add(constraint);
  return target;
}

}  // namespace

absl::StatusOr<JobController*> Controller::FindJobLocked(const std::string& name) {
  FORALL_ASSIGN_OR_RETURN(const int64_t id, ParseJobName(name));
  const auto it = registry_->jobs.find(id);
  if (it == registry_->jobs.end()) {
    return absl::NotFoundError(absl::StrCat("there is no ", JobName(id)));
  }
  return it->second.get();
}

v1::SearchJob Controller::JobViewLocked(const JobController& job) {
  v1::SearchJob view = JobView(job);
  view.set_waiting_reason(WaitingReasonLocked(job));
  return view;
}

std::string Controller::WaitingReasonLocked(const JobController& job) const {
  const JobState state = job.fold().record().state;
  if (state != JobState::kRunning && state != JobState::kFinalizing) return "";
  if (read_only_.has_value()) {
    return absl::StrCat("the controller to be able to store results: ", read_only_->why.message());
  }
  if (std::string reason = job.WaitingReason(); !reason.empty()) return reason;
  if (!job.fold().plan().measures()) return "";
  if (leases_->ActiveWorkers() == 0) {
    for (const std::string& worker : leases_->Workers()) {
      const std::optional<WorkerStatus> status = leases_->FindWorker(worker);
      if (status->state != WorkerState::kQuarantined) continue;
      return absl::StrCat("a worker: ", WorkerName(worker), " is quarantined (", status->reason,
                          "); mend it and start it again");
    }
    return "a worker: none is connected";
  }
  const std::optional<StuckTask> stuck = leases_->FindStuck(job.fold().record().id);
  return stuck.has_value() ? DescribeStuckLocked(*stuck) : "";
}

std::string Controller::DescribeStuckLocked(const StuckTask& stuck) const {
  if (!stuck.unable.empty()) {
    const auto& [worker, message] = *stuck.unable.begin();
    return absl::StrCat("a worker that can do ", TaskName(stuck.task), ": ", WorkerName(worker),
                        " cannot (", message, "); mend it and start it again");
  }
  if (stuck.needs.kind != TaskKind::kLatency) {
    return absl::StrCat("a worker that has dataset \"", stuck.needs.dataset,
                        "\" (forall-worker --data DIR)");
  }
  for (const auto& [name, worker] : workers_) {
    const std::optional<WorkerStatus> status = leases_->FindWorker(name);
    if (!status.has_value() || status->state != WorkerState::kActive || !worker.takes_latency ||
        worker.resource.device().name() != DeviceName(stuck.needs.device)) {
      continue;
    }
    for (const std::string& metric : stuck.needs.metrics) {
      if (std::count(worker.metrics.begin(), worker.metrics.end(), metric) > 0) continue;
      return absl::StrCat("a worker of ", DeviceName(stuck.needs.device), " that measures ", metric,
                          ": ", WorkerName(name), " does not", WhyNot(metric, worker.resource));
    }
    return absl::StrCat(DeviceName(stuck.needs.device), " with profile ", stuck.needs.profile,
                        ", as its latencies were measured before; ", WorkerName(name), " has ",
                        worker.resource.profile().hash(),
                        ": start it as before, or submit the job again");
  }
  return absl::StrCat("a worker that serves ", DeviceName(stuck.needs.device));
}

absl::Status Controller::CheckCanMeasureLocked(const std::string& field,
                                               LatencyTarget target) const {
  // Of a class, one that can may be away.
  if (target.device.empty() && !target.device_class.empty()) return absl::OkStatus();
  const std::vector<std::string> metrics = std::move(target.metrics);
  target.metrics.clear();
  const std::vector<TargetBinding> connected = DevicesForLocked(target);
  // Nobody is there whom it could be asked of: the job waits.
  if (connected.empty()) return absl::OkStatus();
  for (const auto& [name, worker] : workers_) {
    const std::optional<WorkerStatus> status = leases_->FindWorker(name);
    if (!status.has_value() || status->state != WorkerState::kActive || !worker.takes_latency ||
        worker.resource.device().name() != DeviceName(connected.front().device)) {
      continue;
    }
    for (const std::string& metric : metrics) {
      if (std::count(worker.metrics.begin(), worker.metrics.end(), metric) > 0) continue;
      return absl::FailedPreconditionError(
          absl::StrCat(field, ": ", worker.resource.device().name(), " does not measure ", metric,
                       WhyNot(metric, worker.resource), "; beside latency_ms it measures ",
                       worker.metrics.empty() ? "nothing" : absl::StrJoin(worker.metrics, ", ")));
    }
  }
  return absl::FailedPreconditionError(
      absl::StrCat(field, ": no one worker measures ", absl::StrJoin(metrics, ", "), " together"));
}

absl::Status Controller::CheckTargetsLocked(const v1::SearchJobSpec& spec) {
  const auto check = [&](const std::string& field, const std::string& metric,
                         const v1::Condition& condition) -> absl::Status {
    mu_.AssertHeld();
    if (FindMetric(metric)->source != MetricSource::kLatency) return absl::OkStatus();
    const absl::StatusOr<std::string> device = ParseDeviceName(condition.device());
    if (device.ok() && !registry_->devices.empty() && registry_->devices.count(*device) == 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          field, ".condition.device: ", condition.device(), " has never registered; known are ",
          absl::StrJoin(registry_->devices, ", ", [](std::string* out, const auto& entry) {
            absl::StrAppend(out, DeviceName(entry.first));
          })));
    }
    LatencyTarget target = TargetOf(spec, condition);
    const int32_t target_batch = target.batch;
    const std::vector<TargetBinding> found = DevicesForLocked(target);
    if (found.empty()) return CheckCanMeasureLocked(field, std::move(target));
    if (found.size() == 1) {
      for (const auto& [name, worker] : workers_) {
        if (worker.resource.device().name() != DeviceName(found[0].device)) continue;
        FORALL_RETURN_IF_ERROR(
            CheckBatch(field + ".condition.batch", worker.resource, target_batch));
      }
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(absl::StrCat(
        field, ".condition.device: several devices could measure ", metric, "; name one of ",
        absl::StrJoin(found, ", ", [](std::string* out, const TargetBinding& binding) {
          absl::StrAppend(out, DeviceName(binding.device));
        })));
  };
  for (int i = 0; i < spec.objectives_size(); ++i) {
    FORALL_RETURN_IF_ERROR(check(absl::StrCat("spec.objectives[", i, "]"),
                                 spec.objectives(i).metric(), spec.objectives(i).condition()));
  }
  for (int i = 0; i < spec.constraints_size(); ++i) {
    FORALL_RETURN_IF_ERROR(check(absl::StrCat("spec.constraints[", i, "]"),
                                 spec.constraints(i).metric(), spec.constraints(i).condition()));
  }
  return absl::OkStatus();
}

std::vector<std::string> Controller::UnknownClassesLocked(const v1::SearchJobSpec& spec) const {
  std::set<std::string> known;
  for (const auto& [name, device] : registry_->devices) known.insert(device.device_class);
  known.erase("");
  std::vector<std::string> warnings;
  const auto check = [&](const std::string& field, const std::string& metric,
                         const v1::Condition& condition) {
    const std::string& label = condition.device_class();
    if (FindMetric(metric)->source != MetricSource::kLatency || label.empty() ||
        known.count(label) > 0) {
      return;
    }
    warnings.push_back(absl::StrCat(field, ": no device of class \"", label,
                                    "\" has ever registered, and the job waits until one does; ",
                                    known.empty()
                                        ? "no class is known"
                                        : absl::StrCat("known are ", absl::StrJoin(known, ", "))));
  };
  for (int i = 0; i < spec.objectives_size(); ++i) {
    check(absl::StrCat("spec.objectives[", i, "]"), spec.objectives(i).metric(),
          spec.objectives(i).condition());
  }
  for (int i = 0; i < spec.constraints_size(); ++i) {
    check(absl::StrCat("spec.constraints[", i, "]"), spec.constraints(i).metric(),
          spec.constraints(i).condition());
  }
  return warnings;
}

absl::StatusOr<SupernetEntry> Controller::FindSupernetLocked(v1::SearchJobSpec* spec) {
  FORALL_ASSIGN_OR_RETURN(const std::string supernet, ParseSupernetName(spec->supernet()));
  const auto entry = registry_->supernets.find(supernet);
  if (entry == registry_->supernets.end()) {
    std::vector<std::string> known_supernets;
    for (const auto& [id, other] : registry_->supernets) {
      if (known_supernets.size() < kMostNamesListed) known_supernets.push_back(id);
    }
    std::sort(known_supernets.begin(), known_supernets.end());
    return absl::NotFoundError(absl::StrCat("spec.supernet: there is no ", spec->supernet(),
                                            "; known are ", absl::StrJoin(known_supernets, ", ")));
  }
  const std::string& dataset = entry->second.record.dataset;
  FillDefaults(dataset, spec);
  if (spec->dataset().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("spec.dataset: required, since ", spec->supernet(), " does not name its own"));
  }
  if (!dataset.empty() && spec->dataset() != dataset) {
    return absl::InvalidArgumentError(
        absl::StrCat("spec.dataset: ", spec->supernet(), " was trained on \"", dataset,
                     "\" and takes its images; got \"", spec->dataset(), "\""));
  }
  return entry->second;
}

absl::StatusOr<std::unique_ptr<JobController>> Controller::DraftLocked(
    const v1::SearchJobSpec& spec, const SupernetEntry& supernet, JobRecord* record) {
  FORALL_RETURN_IF_ERROR(CheckFeasible(spec, *supernet.family));
  FORALL_RETURN_IF_ERROR(CheckTargetsLocked(spec));
  record->id = registry_->ids.job + 1;
  record->spec = spec.SerializeAsString();
  record->supernet_sha256 = supernet.record.sha256;
  record->history_snapshot = registry_->index.highest_id();
  record->create_time = Now();
  record->update_time = record->create_time;
  FORALL_ASSIGN_OR_RETURN(JobFiles files, LoadFiles(spec, supernet.family));
  FORALL_ASSIGN_OR_RETURN(
      std::unique_ptr<JobController> job,
      JobController::Create(*record, supernet.family, std::move(files), &registry_->index, this));
  FORALL_ASSIGN_OR_RETURN(std::vector<std::string> warnings,
                          CheckTables(*registry_, job->fold().plan(), record->supernet_sha256));
  for (std::string& warning : UnknownClassesLocked(spec)) warnings.push_back(std::move(warning));
  job->Warn(std::move(warnings));
  if (job->CanPropose()) return job;
  if (job->fold().plan().needs_prediction()) {
    return absl::FailedPreconditionError(
        "spec.accuracy_predictor: no subnet was found that it was trained for and that meets the "
        "constraints; relax them, or take a predictor of more options");
  }
  if (!job->fold().plan().table_targets().empty()) {
    return absl::FailedPreconditionError(
        "spec.latency_tables: no subnet was found that all of them have rows for and that meets "
        "the constraints together; relax them, or complete the tables");
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "spec.constraints: each can be met alone, but no subnet was found that meets all ",
      spec.constraints_size(), " together; relax one of them"));
}

absl::StatusOr<v1::SearchJob> Controller::SubmitLocked(const std::string& tenant,
                                                       const v1::SubmitSearchJobRequest& request) {
  v1::SearchJobSpec spec = request.spec();
  FORALL_ASSIGN_OR_RETURN(const SupernetEntry supernet, FindSupernetLocked(&spec));
  JobRecord record;
  record.request_id = request.request_id();
  const auto known = registry_->jobs_by_request.find(request.request_id());
  if (!request.request_id().empty() && known != registry_->jobs_by_request.end()) {
    const JobController& job = *registry_->jobs[known->second];
    if (job.fold().record().spec == spec.SerializeAsString()) return JobViewLocked(job);
    return absl::AlreadyExistsError(
        absl::StrCat("request_id: it was used for another spec, by ", JobName(known->second)));
  }
  if (open_.deleted_requests.count(request.request_id()) > 0) {
    return absl::UnavailableError(
        "request_id: its job is being deleted at this moment; repeat the call in a second");
  }
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<JobController> job, DraftLocked(spec, supernet, &record));
  for (const std::string& artifact : FilesOf(spec)) {
    FORALL_ASSIGN_OR_RETURN(const int64_t size, options_.artifacts->Size(artifact));
    open_.batch.insert_artifacts.push_back({artifact, size, record.create_time});
  }
  ++registry_->ids.job;
  if (!record.request_id.empty()) registry_->jobs_by_request[record.request_id] = record.id;
  job->SubmittedBy(tenant);
  leases_->SetShare(record.id, job->Share());
  JobController* const added = job.get();
  registry_->jobs[record.id] = std::move(job);
  FORALL_LOG(INFO) << "job accepted job=" << JobName(record.id)
                   << " supernet=" << supernet.record.id
                   << " sampler=" << spec.sampler().algorithm()
                   << " trials=" << spec.budget().max_trials() << " tenant=\"" << tenant
                   << "\" priority=" << spec.priority();
  open_.batch.insert_jobs.push_back(std::move(record));
  added->Pump();
  return JobViewLocked(*added);
}

absl::StatusOr<v1::SearchJobEstimate> Controller::EstimateLocked(const v1::SearchJobSpec& given) {
  v1::SearchJobSpec spec = given;
  FORALL_ASSIGN_OR_RETURN(const SupernetEntry supernet, FindSupernetLocked(&spec));
  JobRecord record;
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<JobController> draft,
                          DraftLocked(spec, supernet, &record));
  // As the job would bind its targets if it began now.
  JobFold fold(record, draft->fold().shared_plan(), &registry_->index);
  for (size_t i = 0; i < fold.bindings().size(); ++i) {
    const std::optional<TargetBinding> found = FindDevice(fold.plan().targets()[i]);
    if (!found.has_value()) continue;
    FORALL_RETURN_IF_ERROR(fold.Apply({.kind = "bound",
                                       .sequence = fold.sequence() + 1,
                                       .target = static_cast<int>(i),
                                       .device = found->device,
                                       .fingerprint = found->fingerprint,
                                       .profile = found->profile}));
  }
  v1::SearchJobEstimate estimate = EstimateJob(*registry_, fold, leases_->ActiveOffers());
  for (const std::string& warning : draft->warnings()) estimate.add_warnings(warning);
  return estimate;
}

void Controller::EstimateSearchJob(const v1::EstimateSearchJobRequest& request,
                                   Done<v1::SearchJobEstimate> done) {
  const absl::Status valid = ValidateSearchJobSpec(request.spec());
  if (!valid.ok()) return done(valid);
  Read<v1::SearchJobEstimate>(request.ByteSizeLong(), std::move(done),
                              [this, request]() -> absl::StatusOr<v1::SearchJobEstimate> {
                                mu_.AssertHeld();
                                return EstimateLocked(request.spec());
                              });
}

void Controller::SubmitSearchJobAs(const Principal& by, const v1::SubmitSearchJobRequest& request,
                                   Done<v1::SearchJob> done) {
  // Judged before the lock is taken: a hostile request costs nobody else anything.
  absl::Status valid = ValidateSearchJobSpec(request.spec());
  if (valid.ok() && request.request_id().size() > kMaxRequestId) {
    valid = absl::InvalidArgumentError(absl::StrCat("request_id: at most ", kMaxRequestId,
                                                    " bytes, got ", request.request_id().size()));
  }
  if (!valid.ok()) return done(valid);
  Answer<v1::SearchJob>(request.ByteSizeLong(), std::move(done),
                        [&]() -> absl::StatusOr<v1::SearchJob> {
                          mu_.AssertHeld();
                          return SubmitLocked(by.tenant, request);
                        });
}

void Controller::GetSearchJob(const v1::GetSearchJobRequest& request, Done<v1::SearchJob> done) {
  Read<v1::SearchJob>(request.ByteSizeLong(), std::move(done),
                      [this, request]() -> absl::StatusOr<v1::SearchJob> {
                        mu_.AssertHeld();
                        FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(request.name()));
                        return JobViewLocked(*job);
                      });
}

void Controller::ListSearchJobs(const v1::ListSearchJobsRequest& request,
                                Done<v1::ListSearchJobsResponse> done) {
  Read<v1::ListSearchJobsResponse>(
      request.ByteSizeLong(), std::move(done),
      [this, request]() -> absl::StatusOr<v1::ListSearchJobsResponse> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const int32_t size, CheckPageSize(request.page_size(), 50));
        FORALL_ASSIGN_OR_RETURN(const int64_t before,
                                page_tokens_->ReadNumber({"jobs"}, request.page_token()));
        v1::ListSearchJobsResponse response;
        auto it = before == 0 ? registry_->jobs.end() : registry_->jobs.lower_bound(before);
        while (it != registry_->jobs.begin()) {
          if (response.search_jobs_size() == size) {
            response.set_next_page_token(page_tokens_->Make({"jobs"}, it->first));
            break;
          }
          --it;
          *response.add_search_jobs() = JobViewLocked(*it->second);
        }
        return response;
      });
}

void Controller::CancelSearchJob(const v1::CancelSearchJobRequest& request,
                                 Done<v1::SearchJob> done) {
  Answer<v1::SearchJob>(
      request.ByteSizeLong(), std::move(done), [&]() -> absl::StatusOr<v1::SearchJob> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(request.name()));
        FORALL_RETURN_IF_ERROR(job->Cancel());
        return JobViewLocked(*job);
      });
}

absl::StatusOr<v1::DeleteSearchJobResponse> Controller::DeleteLocked(const Principal& by,
                                                                     const std::string& name) {
  FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(name));
  const JobFold& fold = job->fold();
  const int64_t id = fold.record().id;
  if (!by.admin && (by.tenant.empty() || by.tenant != job->tenant())) {
    return absl::PermissionDeniedError(absl::StrCat(
        JobName(id), " was submitted by ",
        job->tenant().empty() ? "nobody who is known" : absl::StrCat("\"", job->tenant(), "\""),
        ", not by \"", by.tenant, "\": who submitted it may delete it, and whoever has the role ",
        "admin"));
  }
  if (!fold.ended()) {
    return absl::FailedPreconditionError(
        absl::StrCat(JobName(id), " goes on: wait for its end, or cancel it first"));
  }
  std::set<int64_t> tasks;
  int64_t open = 0;
  for (const auto& [task, entry] : registry_->tasks) {
    if (entry.record.job_id != id) continue;
    tasks.insert(task);
    open += entry.record.state == TaskState::kOpen ? 1 : 0;
  }
  if (open > 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "workers still hold ", open, open == 1 ? " task of " : " tasks of ", JobName(id),
        ", whose results are kept: delete it once they are done, or gone for ",
        absl::FormatDuration(leases_->lease_time())));
  }
  v1::DeleteSearchJobResponse response;
  response.set_trials(static_cast<int64_t>(fold.trials().size()));
  response.set_tasks(static_cast<int64_t>(tasks.size()));
  response.set_events(fold.sequence());
  // What else only its tasks tell, in stores that began before schema 3.
  for (auto& [key, dataset] : registry_->datasets) {
    const int64_t images = registry_->index.AllImages(key.first, key.second);
    if (dataset.images != 0 || images == 0) continue;
    dataset.images = images;
    open_.batch.insert_datasets.push_back(dataset);
  }
  registry_->index.RemovePartsIf(
      [&tasks](const AccuracyPartRecord& part) { return tasks.count(part.task_id) > 0; });
  response.set_kept_measurements(registry_->index.ForgetJob(id, tasks));
  for (const int64_t task : tasks) registry_->tasks.erase(task);
  if (const std::string& request = fold.record().request_id; !request.empty()) {
    open_.deleted_requests.insert(request);
    registry_->jobs_by_request.erase(request);
  }
  registry_->jobs.erase(id);
  open_.batch.delete_jobs.push_back({id, Now()});
  FORALL_LOG(INFO) << "job deleted job=" << JobName(id) << " trials=" << response.trials()
                   << " tasks=" << response.tasks() << " by=\"" << by.tenant << "\"";
  return response;
}

void Controller::DeleteSearchJobAs(const Principal& by, const v1::DeleteSearchJobRequest& request,
                                   Done<v1::DeleteSearchJobResponse> done) {
  Answer<v1::DeleteSearchJobResponse>(request.ByteSizeLong(), std::move(done),
                                      [&]() -> absl::StatusOr<v1::DeleteSearchJobResponse> {
                                        mu_.AssertHeld();
                                        return DeleteLocked(by, request.name());
                                      });
}

void Controller::PauseSearchJob(const v1::PauseSearchJobRequest& request,
                                Done<v1::SearchJob> done) {
  Answer<v1::SearchJob>(
      request.ByteSizeLong(), std::move(done), [&]() -> absl::StatusOr<v1::SearchJob> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(request.name()));
        FORALL_RETURN_IF_ERROR(job->Pause());
        return JobViewLocked(*job);
      });
}

void Controller::ResumeSearchJob(const v1::ResumeSearchJobRequest& request,
                                 Done<v1::SearchJob> done) {
  Answer<v1::SearchJob>(
      request.ByteSizeLong(), std::move(done), [&]() -> absl::StatusOr<v1::SearchJob> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(request.name()));
        FORALL_RETURN_IF_ERROR(job->Resume());
        return JobViewLocked(*job);
      });
}

void Controller::ListTrials(const v1::ListTrialsRequest& request,
                            Done<v1::ListTrialsResponse> done) {
  Read<v1::ListTrialsResponse>(
      request.ByteSizeLong(), std::move(done),
      [this, request]() -> absl::StatusOr<v1::ListTrialsResponse> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(request.parent()));
        FORALL_ASSIGN_OR_RETURN(const int32_t size, CheckPageSize(request.page_size(), 100));
        const PageScope scope = {"trials", request.parent()};
        FORALL_ASSIGN_OR_RETURN(const int64_t after,
                                page_tokens_->ReadNumber(scope, request.page_token()));
        const std::vector<TrialEntry>& trials = job->fold().trials();
        const int64_t count = static_cast<int64_t>(trials.size());
        v1::ListTrialsResponse response;
        int64_t next = std::min(after, count);
        // A page stays below what clients accept, however much is known about each trial.
        for (size_t bytes = 0; next < count && response.trials_size() < size && bytes < kPageBytes;
             ++next) {
          v1::Trial* const view = response.add_trials();
          *view = TrialView(*registry_, job->fold(), trials[next]);
          bytes += view->ByteSizeLong();
        }
        if (next < count) response.set_next_page_token(page_tokens_->Make(scope, next));
        return response;
      });
}

void Controller::GetTrial(const v1::GetTrialRequest& request, Done<v1::Trial> done) {
  Read<v1::Trial>(
      request.ByteSizeLong(), std::move(done), [this, request]() -> absl::StatusOr<v1::Trial> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const TrialId id, ParseTrialName(request.name()));
        const auto job = registry_->jobs.find(id.job);
        const TrialEntry* trial =
            job == registry_->jobs.end() ? nullptr : job->second->fold().FindTrial(id.ordinal);
        if (trial == nullptr) {
          return absl::NotFoundError(absl::StrCat("there is no ", TrialName(id.job, id.ordinal)));
        }
        return TrialView(*registry_, job->second->fold(), *trial);
      });
}

void Controller::QueryParetoFrontier(const v1::QueryParetoFrontierRequest& request,
                                     Done<v1::QueryParetoFrontierResponse> done) {
  Read<v1::QueryParetoFrontierResponse>(
      request.ByteSizeLong(), std::move(done),
      [this, request]() -> absl::StatusOr<v1::QueryParetoFrontierResponse> {
        mu_.AssertHeld();
        return QueryFrontier(*registry_, request);
      });
}

void Controller::GetPredictionLedger(const v1::GetPredictionLedgerRequest& request,
                                     Done<v1::PredictionLedger> done) {
  Read<v1::PredictionLedger>(request.ByteSizeLong(), std::move(done),
                             [this, request]() -> absl::StatusOr<v1::PredictionLedger> {
                               mu_.AssertHeld();
                               FORALL_ASSIGN_OR_RETURN(JobController * job,
                                                       FindJobLocked(request.name()));
                               return PredictionLedgerOf(job->fold());
                             });
}

absl::StatusOr<v1::Trial> Controller::TrialByKeyLocked(const std::string& key) {
  if (key.size() < kLeastKeyLength) {
    return absl::InvalidArgumentError(absl::StrCat("name: ", key,
                                                   " is too short for a key: give \"",
                                                   kArchKeyPrefix, "\" and eight digits or more"));
  }
  std::map<std::string, v1::Trial> models;  // by artifact; of each the best trial
  std::set<std::string> keys;
  for (const auto& [id, job] : registry_->jobs) {
    for (const TrialEntry& trial : job->fold().trials()) {
      const TrialRecord& record = trial.record;
      if (!absl::StartsWith(record.arch_key, key)) continue;
      keys.insert(record.arch_key);
      if (trial.artifact_sha256.empty()) continue;
      v1::Trial view = TrialView(*registry_, job->fold(), trial);
      v1::Trial& best = models[trial.artifact_sha256];
      if (best.name().empty() || view.finalized() || !best.finalized()) best = std::move(view);
    }
  }
  if (keys.empty()) {
    return absl::NotFoundError(absl::StrCat("no trial of any job is of a subnet ", key));
  }
  if (keys.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("name: ", key, " may be any of ", keys.size(), " keys: ", *keys.begin(), ", ",
                     *std::next(keys.begin()), keys.size() > 2 ? ", ..." : ""));
  }
  if (models.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(*keys.begin(), " has no model: it is not exported yet"));
  }
  if (models.size() > 1) {
    const std::string names = absl::StrJoin(models, ", ", [](std::string* out, const auto& model) {
      out->append(model.second.name());
    });
    return absl::FailedPreconditionError(absl::StrCat(
        *keys.begin(), " was exported as ", models.size(),
        " models (of other supernets, calibrations or recipes): name a trial, one of ", names));
  }
  return std::move(models.begin()->second);
}

absl::StatusOr<v1::ExportSubnetResponse> Controller::ExportLocked(const std::string& name) {
  v1::ExportSubnetResponse response;
  if (const absl::StatusOr<TrialId> id = ParseTrialName(name); id.ok()) {
    const auto job = registry_->jobs.find(id->job);
    const TrialEntry* trial =
        job == registry_->jobs.end() ? nullptr : job->second->fold().FindTrial(id->ordinal);
    if (trial == nullptr) return absl::NotFoundError(absl::StrCat("there is no ", name));
    *response.mutable_trial() = TrialView(*registry_, job->second->fold(), *trial);
  } else if (absl::StartsWith(name, kArchKeyPrefix)) {
    FORALL_ASSIGN_OR_RETURN(*response.mutable_trial(), TrialByKeyLocked(name));
  } else {
    FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(name));
    v1::QueryParetoFrontierRequest query;
    query.set_parent(JobName(job->fold().record().id));
    FORALL_ASSIGN_OR_RETURN(const v1::QueryParetoFrontierResponse frontier,
                            QueryFrontier(*registry_, query));
    for (const v1::FrontierMember& member : frontier.members()) {
      if (member.knee()) *response.mutable_trial() = member.trial();
    }
    if (frontier.members().empty()) {
      const JobRecord& record = job->fold().record();
      if (!job->fold().ended()) {
        return absl::FailedPreconditionError(absl::StrCat(name, " has no measured trial yet"));
      }
      return absl::FailedPreconditionError(
          absl::StrCat(name, record.state == JobState::kCancelled ? " was cancelled" : " ended",
                       " with nothing measured in full, so there is nothing to export",
                       record.error.empty() ? "" : ": ", record.error));
    }
  }
  response.set_artifact_sha256(response.trial().artifact_sha256());
  if (response.artifact_sha256().empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        response.trial().name(),
        " has no model: it is not exported yet, or its job counts costs only, for which "
        "no subnet is exported (add an accuracy or latency objective)"));
  }
  FORALL_ASSIGN_OR_RETURN(const int64_t size, options_.artifacts->Size(response.artifact_sha256()));
  response.set_size_bytes(size);
  return response;
}

void Controller::ExportSubnet(const v1::ExportSubnetRequest& request,
                              Done<v1::ExportSubnetResponse> done) {
  Read<v1::ExportSubnetResponse>(request.ByteSizeLong(), std::move(done),
                                 [this, request]() -> absl::StatusOr<v1::ExportSubnetResponse> {
                                   mu_.AssertHeld();
                                   return ExportLocked(request.name());
                                 });
}

void Controller::GetUpdate(const std::string& name, int64_t after, Done<JobUpdate> done) {
  Read<JobUpdate>(name.size(), std::move(done), [this, name, after]() -> absl::StatusOr<JobUpdate> {
    mu_.AssertHeld();
    FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(name));
    const JobFold& fold = job->fold();
    JobUpdate result;
    *result.update.mutable_search_job() = JobViewLocked(*job);
    result.ended = fold.ended();
    std::vector<const TrialEntry*> changed;
    for (const TrialEntry& trial : fold.trials()) {
      if (trial.changed > after) changed.push_back(&trial);
    }
    std::stable_sort(changed.begin(), changed.end(), [](const TrialEntry* a, const TrialEntry* b) {
      return a->changed < b->changed;
    });
    size_t count = std::min(changed.size(), kTrialsPerUpdate);
    // Trials that changed in one event are never torn apart: the cursor could not tell them.
    while (count < changed.size() && changed[count]->changed == changed[count - 1]->changed)
      ++count;
    for (size_t i = 0; i < count; ++i) {
      *result.update.add_trials() = TrialView(*registry_, fold, *changed[i]);
    }
    if (count < changed.size()) {
      result.more = true;
      result.update.mutable_search_job()->set_event_sequence(changed[count - 1]->changed);
    }
    return result;
  });
}

int64_t Controller::Subscribe(int64_t job, std::function<void()> changed) {
  MutexLock lock(&mu_);
  const int64_t id = next_subscription_++;
  subscriptions_[id] = {job, std::move(changed), {}};
  return id;
}

void Controller::NotifyOfWaitingLocked(Outbox* outbox) {
  // A job that many watch is looked at once.
  std::map<int64_t, std::string> reasons;
  for (auto& [id, subscription] : subscriptions_) {
    const auto job = registry_->jobs.find(subscription.job);
    if (job == registry_->jobs.end()) continue;
    const auto [reason, is_new] = reasons.try_emplace(subscription.job);
    if (is_new) reason->second = WaitingReasonLocked(*job->second);
    if (reason->second == subscription.waiting_reason) continue;
    subscription.waiting_reason = reason->second;
    outbox->push_back(subscription.changed);
  }
}

void Controller::Unsubscribe(int64_t subscription) {
  MutexLock lock(&mu_);
  subscriptions_.erase(subscription);
}

size_t Controller::JobSnapshot::ByteSizeLong() const {
  size_t bytes = frontier.ByteSizeLong() + ledger.ByteSizeLong();
  for (const v1::Trial& trial : trials) bytes += trial.ByteSizeLong();
  for (const v1::Worker& worker : workers) bytes += worker.ByteSizeLong();
  for (const std::vector<double>& point : random.points) bytes += sizeof(double) * point.size();
  return bytes;
}

void Controller::GetSnapshot(const std::string& name, Done<JobSnapshot> done) {
  Read<JobSnapshot>(name.size(), std::move(done), [this, name]() -> absl::StatusOr<JobSnapshot> {
    mu_.AssertHeld();
    FORALL_ASSIGN_OR_RETURN(JobController * job, FindJobLocked(name));
    const JobFold& fold = job->fold();
    JobSnapshot snapshot;
    snapshot.job = JobViewLocked(*job);
    for (const TrialEntry& trial : fold.trials()) {
      snapshot.trials.push_back(TrialView(*registry_, fold, trial));
    }
    v1::QueryParetoFrontierRequest query;
    query.set_parent(snapshot.job.name());
    FORALL_ASSIGN_OR_RETURN(snapshot.frontier, QueryFrontier(*registry_, query));
    for (const std::optional<TargetBinding>& binding : fold.bindings()) {
      if (!binding.has_value()) continue;
      const auto device = registry_->devices.find(binding->device);
      if (device != registry_->devices.end()) {
        snapshot.devices.push_back(DeviceView(device->second));
      }
    }
    snapshot.ledger = PredictionLedgerOf(fold);
    snapshot.random = FindRandomBaseline(*registry_, fold);
    snapshot.supernet_sha256 = fold.record().supernet_sha256;
    snapshot.family = fold.plan().shared_family();
    for (const auto& [ordinal, hypervolume] : fold.hypervolume_history()) {
      snapshot.hypervolume_history.emplace_back(snapshot.hypervolume_history.size() + 1,
                                                hypervolume);
    }
    for (const auto& [worker, info] : workers_)
      snapshot.workers.push_back(WorkerViewLocked(worker));
    return snapshot;
  });
}

}  // namespace forall
