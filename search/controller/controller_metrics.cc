// SPDX-License-Identifier: Apache-2.0
// What those who watch the controller are told.
#include <utility>

#include "search/controller/controller.h"
#include "search/controller/resource_names.h"

namespace forall {
namespace {

using Type = MetricFamily::Type;
using Labels = std::vector<std::pair<std::string, std::string>>;

const char* KindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kExport:
      return "export";
    case TaskKind::kLatency:
      return "latency";
    case TaskKind::kAccuracy:
      return "accuracy";
  }
  return "unknown";
}

const char* StateName(WorkerState state) {
  switch (state) {
    case WorkerState::kActive:
      return "active";
    case WorkerState::kDraining:
      return "draining";
    case WorkerState::kLost:
      return "lost";
    case WorkerState::kQuarantined:
      return "quarantined";
    case WorkerState::kDrained:
      return "drained";
  }
  return "unknown";
}

const char* VerdictName(VerdictState verdict) {
  switch (verdict) {
    case VerdictState::kTrusted:
      return "trusted";
    case VerdictState::kNoisy:
      return "noisy";
    case VerdictState::kRejected:
      return "rejected";
    default:
      return "none";
  }
}

// Collects families in the order in which they are first named.
class Families {
 public:
  MetricFamily* Add(const char* name, const char* help, Type type) {
    families_.push_back({name, help, type, {}});
    return &families_.back();
  }
  void AddValue(const char* name, const char* help, Type type, double value) {
    Add(name, help, type)->samples.push_back({{}, value, {}});
  }
  void AddCounter(const char* name, const char* help, const std::atomic<int64_t>& count) {
    AddValue(name, help, Type::kCounter,
             static_cast<double>(count.load(std::memory_order_relaxed)));
  }
  void AddHistogram(const char* name, const char* help, const Histogram& histogram) {
    Add(name, help, Type::kHistogram)->samples.push_back({{}, 0, histogram.Read()});
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddCounters(const ControllerMetrics& metrics, Families* families) {
  families->AddHistogram("forall_lease_grant_seconds",
                         "Time to answer a poll with tasks, from the poll's arrival or from when "
                         "the task could be leased, whichever came later.",
                         metrics.lease_grant_seconds);
  families->AddHistogram("forall_commit_seconds",
                         "Time of a group commit, from the batch's hand-over to its answer.",
                         metrics.commit_seconds);
  families->AddHistogram("forall_commit_results", "Task results in a group commit that held any.",
                         metrics.commit_results);
  families->AddCounter("forall_commits_total", "Group commits that were kept.", metrics.commits);
  families->AddCounter("forall_raw_samples_dropped_total",
                       "Latencies whose raw samples were dropped, for --keep-raw-samples.",
                       metrics.samples_dropped);
  families->AddCounter("forall_commits_failed_total",
                       "Group commits that were not kept; nothing in them was acknowledged.",
                       metrics.failed_commits);
  families->AddCounter("forall_leases_granted_total", "Leases given.", metrics.leases_granted);
  families->AddCounter("forall_leases_expired_total", "Leases that ran out.",
                       metrics.leases_expired);
  families->AddCounter("forall_tasks_completed_total", "Tasks that ended with a result.",
                       metrics.tasks_completed);
  families->AddCounter("forall_tasks_retried_total",
                       "Failures after which a task was queued again.", metrics.tasks_retried);
  families->AddCounter("forall_tasks_failed_total",
                       "Tasks that would fail everywhere: wrong model, out of memory.",
                       metrics.tasks_failed);
  families->AddCounter("forall_tasks_poisoned_total",
                       "Tasks given up because they failed, or lost their lease, too often.",
                       metrics.tasks_poisoned);
  families->AddCounter("forall_tasks_shared_total",
                       "Times that a job waited for another job's open task instead of opening "
                       "one of its own.",
                       metrics.tasks_shared);
  families->AddCounter("forall_workers_quarantined_total",
                       "Quarantines of workers that failed several tasks in a row.",
                       metrics.workers_quarantined);
}

}  // namespace

std::vector<MetricFamily> Controller::CollectMetrics() {
  Families families;
  AddCounters(metrics_, &families);
  MutexLock lock(&mu_);
  families.AddValue("forall_read_only",
                    "1 while nothing can be stored: a commit failed, and no attempt since has "
                    "succeeded.",
                    Type::kGauge, read_only_.has_value() ? 1 : 0);
  families.AddValue("forall_commit_running_seconds",
                    "How long the group commit has run that the store is at now, or 0: a disk that "
                    "hangs.",
                    Type::kGauge, CommitRunningSecondsLocked());
  families.AddValue("forall_epoch", "How often a controller was started on this store.",
                    Type::kGauge, static_cast<double>(epoch_));
  families.AddValue("forall_measurements", "Measurements that the controller knows.", Type::kGauge,
                    static_cast<double>(registry_->index.size()));
  families.AddValue("forall_tasks_leased", "Tasks that workers have now.", Type::kGauge,
                    static_cast<double>(leases_->leased_tasks()));
  families.AddValue("forall_oldest_leased_task_seconds",
                    "How long the task has been leased that a worker has had the longest.",
                    Type::kGauge, leases_->OldestLeaseSeconds());
  families.AddValue("forall_task_waiters", "Waits of jobs for tasks of other jobs now.",
                    Type::kGauge, static_cast<double>(registry_->in_flight.waits()));
  families.AddValue("forall_polls_parked", "Idle workers that wait for a task.", Type::kGauge,
                    static_cast<double>(leases_->parked_polls()));
  CollectQueueLocked(
      families.Add("forall_tasks_waiting", "Tasks that wait for a worker.", Type::kGauge), false);
  CollectQueueLocked(families.Add("forall_oldest_waiting_task_seconds",
                                  "How long the oldest waiting task has waited.", Type::kGauge),
                     true);
  std::map<std::string, int64_t> states;
  for (const char* state : {"active", "draining", "lost", "quarantined", "drained"}) {
    states[state] = 0;
  }
  for (const auto& [name, worker] : workers_) {
    const std::optional<WorkerStatus> status = leases_->FindWorker(name);
    if (status.has_value()) ++states[StateName(status->state)];
  }
  MetricFamily* family =
      families.Add("forall_workers", "Workers that registered, by state.", Type::kGauge);
  for (const auto& [state, count] : states) {
    family->samples.push_back({{{"state", state}}, static_cast<double>(count), {}});
  }
  family =
      families.Add("forall_latency_verdicts_total",
                   "Latencies by worker and verdict since the controller's start.", Type::kCounter);
  for (const auto& [key, count] : verdicts_) {
    family->samples.push_back(
        {{{"worker", WorkerName(key.first)}, {"verdict", VerdictName(key.second)}},
         static_cast<double>(count),
         {}});
  }
  MetricFamily frontier{
      "forall_job_frontier_size", "Members of a job's frontier.", Type::kGauge, {}};
  MetricFamily hypervolume{"forall_job_hypervolume",
                           "Hypervolume of a job's frontier, objectives scaled to [0, 1].",
                           Type::kGauge,
                           {}};
  MetricFamily trials{"forall_job_trials", "Trials that a job proposed.", Type::kGauge, {}};
  for (const auto& [id, job] : registry_->jobs) {
    const JobFold& fold = job->fold();
    if (fold.ended()) continue;
    const Labels labels = {{"job", JobName(id)}};
    frontier.samples.push_back({labels, static_cast<double>(fold.frontier().size()), {}});
    hypervolume.samples.push_back({labels, fold.hypervolume(), {}});
    trials.samples.push_back({labels, static_cast<double>(fold.trials().size()), {}});
  }
  std::vector<MetricFamily> all = families.Take();
  for (MetricFamily* of_jobs : {&frontier, &hypervolume, &trials}) {
    all.push_back(std::move(*of_jobs));
  }
  return all;
}

double Controller::CommitRunningSecondsLocked() const {
  if (!committing_) return 0;
  return 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - commit_started_ns_);
}

void Controller::CollectQueueLocked(MetricFamily* family, bool age) const {
  // By kind and device class.
  std::map<std::pair<TaskKind, std::string>, double> values;
  for (const WaitingTasks& waiting : leases_->Waiting()) {
    const auto device = registry_->devices.find(waiting.device);
    double& value = values[{waiting.kind,
                            device == registry_->devices.end() ? "" : device->second.device_class}];
    value =
        age ? std::max(value, waiting.oldest_seconds) : value + static_cast<double>(waiting.tasks);
  }
  for (const auto& [key, value] : values) {
    family->samples.push_back(
        {{{"kind", KindName(key.first)}, {"device_class", key.second}}, value, {}});
  }
}

}  // namespace forall
