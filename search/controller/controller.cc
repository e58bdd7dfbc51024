// SPDX-License-Identifier: Apache-2.0
// Life of the controller, and how rounds are committed. See controller_*.cc for the calls.
#include "search/controller/controller.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "search/controller/controller_answer.h"
#include "search/controller/job_history.h"
#include "search/controller/resource_names.h"

namespace forall {
namespace {

// Between attempts at a store that could not be written.
constexpr absl::Duration kLeastBackOff = absl::Seconds(1);
constexpr absl::Duration kMostBackOff = absl::Seconds(30);

// A published predictor has 1.5 MB, a table of five resolutions 0.1 MB.
constexpr int64_t kMostFileBytes = int64_t{16} << 20;

absl::StatusOr<std::string> ReadJobFile(const ArtifactStore& artifacts, const std::string& sha256) {
  FORALL_ASSIGN_OR_RETURN(const int64_t size, artifacts.Size(sha256));
  if (size > kMostFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat("artifact ", sha256, " has ", size,
                                                   " bytes, a predictor or table at most ",
                                                   kMostFileBytes));
  }
  FORALL_ASSIGN_OR_RETURN(const std::string path, artifacts.PathOf(sha256));
  FORALL_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  if (Sha256Hex(bytes) != sha256) {
    return absl::DataLossError(absl::StrCat("artifact ", sha256, " is damaged on disk"));
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Controller>> Controller::Create(Options options) {
  std::unique_ptr<Controller> controller(new Controller(options));
  FORALL_RETURN_IF_ERROR(controller->Load());
  if (options.background) {
    controller->background_ =
        Thread("controller", [raw = controller.get()] { raw->BackgroundLoop(); });
    controller->answering_ = Thread("answers", [raw = controller.get()] { raw->AnswerLoop(); });
  }
  return controller;
}

Controller::Controller(Options options) : options_(options) {}

Controller::~Controller() { Stop(); }

absl::Status Controller::Load() {
  FORALL_ASSIGN_OR_RETURN(epoch_, options_.store->BeginEpoch());
  FORALL_ASSIGN_OR_RETURN(std::vector<LifeRecord> lives, options_.store->LoadLives());
  if (lives.empty() || lives.back().epoch != epoch_) {
    return absl::DataLossError(absl::StrCat("the store has no secret of life ", epoch_));
  }
  page_tokens_ = std::make_unique<PageTokens>(lives);
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Registry> registry, ReadStore());
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    leases_ = std::make_unique<LeaseTable>(
        LeaseTable::Options{options_.clock, std::move(lives), options_.heartbeat_interval,
                            options_.tenant_weights, [this](int32_t work) {
                              mu_.AssertHeld();
                              return registry_->durations.Guess(work);
                            }});
    networks_ = std::make_unique<NetworkTasks>(NetworkTasks::Options{options_.clock, epoch_});
    AdoptRegistryLocked(std::move(registry));
    ResumeJobsLocked();
    KickLocked(&outbox);
  }
  Run(&outbox);
  return absl::OkStatus();
}

void Controller::AdoptRegistryLocked(std::unique_ptr<Registry> registry) {
  // Tasks that stay in the lease table go by their numbers.
  if (registry_ != nullptr) registry->durations.NumberAs(registry_->durations);
  registry_ = std::move(registry);
  open_ = CommitRound();
  samples_place_ = 0;
  unfinished_.clear();  // All are pumped when they go on.
  // Tasks that memory knew and the store does not, or not as open, are gone.
  for (const int64_t task : leases_->Tasks()) {
    const auto it = registry_->tasks.find(task);
    if (it == registry_->tasks.end() || it->second.record.state != TaskState::kOpen) {
      leases_->RemoveTask(task);
    }
  }
  leases_->UnshareAll();  // Whoever waits for what follows when the jobs go on.
  networks_->Clear();
  swept_poisoned_.clear();
  swept_dropped_.clear();
  for (const auto& [id, job] : registry_->jobs) {
    if (!job->fold().ended()) leases_->SetShare(id, job->Share());
  }
  for (QueuedTask& task : registry_->open_tasks) {
    const auto job = registry_->jobs.find(task.job);
    if (job == registry_->jobs.end() || job->second->fold().ended()) continue;
    task.work = WorkOfLocked(*registry_->tasks[task.id].wire);
    leases_->AddTask(task);
  }
  for (const EndedLease& lease : leases_to_restore_) {
    leases_->Restore(lease.task, lease.token, lease.worker, lease.end);
  }
  leases_to_restore_.clear();
  for (const auto& [id, job] : registry_->jobs) {
    leases_->HoldJob(id, job->fold().record().state == JobState::kPaused);
  }
}

void Controller::ResumeJobsLocked() {
  for (const QueuedTask& task : registry_->open_tasks) {
    const auto job = registry_->jobs.find(task.job);
    if (job == registry_->jobs.end() || !job->second->fold().ended()) continue;
    if (leases_->IsLeased(task.id)) continue;
    CloseTaskLocked(&registry_->tasks[task.id], TaskState::kCancelled, "its job has ended");
  }
  registry_->open_tasks.clear();
  for (const auto& [id, job] : registry_->jobs) {
    if (job->fold().ended()) continue;
    job->AdvanceAll();
    job->Pump();
  }
}

void Controller::QueueTasksLocked(std::vector<QueuedTask> tasks) {
  for (QueuedTask& task : tasks) {
    const auto it = registry_->tasks.find(task.id);
    if (it == registry_->tasks.end() || it->second.record.state != TaskState::kOpen) continue;
    const auto job = registry_->jobs.find(task.job);
    if (job == registry_->jobs.end()) continue;
    if (!job->second->fold().ended()) {
      const int64_t id = task.id;
      leases_->AddTask(std::move(task));
      for (const int64_t waiter : registry_->in_flight.WaitersOf(id)) {
        leases_->ShareTask(id, waiter);
      }
    } else if (!leases_->IsLeased(task.id)) {
      CloseTaskLocked(&it->second, TaskState::kCancelled, "its job has ended");
    }
  }
}

void Controller::Run(Outbox* outbox) {
  if (outbox->commit != nullptr) outbox->commit();
  for (const std::function<void()>& action : outbox->actions) action();
}

void Controller::AnswerLoop() {
  std::vector<std::function<void()>> answers;
  while (true) {
    {
      MutexLock lock(&answers_mu_);
      while (answers_.empty() && !answers_end_) answers_changed_.Wait(&answers_mu_);
      if (answers_.empty()) return;
      answers.swap(answers_);
    }
    for (const std::function<void()>& answer : answers) answer();
    answers.clear();
  }
}

bool Controller::WouldWaitLocked() const {
  return !open_.batch.empty() || !open_.answers.empty() || committing_;
}

void Controller::WhenDurableLocked(std::function<void(absl::Status)> answer, size_t bytes,
                                   Outbox* outbox) {
  CommitRound* round = nullptr;
  if (!open_.batch.empty() || !open_.answers.empty()) {
    round = &open_;
  } else if (committing_) {
    round = &committing_round_;
  }
  if (round != nullptr) {
    round->answers.push_back(std::move(answer));
    round->bytes += bytes;
  } else {
    outbox->push_back([answer = std::move(answer)] { answer(absl::OkStatus()); });
  }
}

void Controller::DeliverLocked(const std::vector<Delivery>& deliveries, Outbox* outbox) {
  for (const Delivery& delivery : deliveries) {
    const auto it = polls_.find(delivery.poll);
    if (it == polls_.end()) continue;
    v1::LeaseTasksResponse response = LeaseResponseLocked(delivery.grants, delivery.drain);
    // Two processes under one id must not chase each other's polls at the speed of the network.
    if (delivery.replaced) {
      response.mutable_retry_delay()->set_seconds(
          std::max<int64_t>(1, absl::ToInt64Seconds(options_.heartbeat_interval)));
    }
    outbox->push_back([this, done = std::move(it->second), response = std::move(response),
                       since = outbox->entered_ns]() mutable {
      ObserveGrant(since, response.tasks_size());
      done(std::move(response));
    });
    polls_.erase(it);
  }
}

void Controller::ObserveGrant(int64_t since_ns, size_t grants) {
  if (grants == 0) return;
  metrics_.leases_granted.fetch_add(static_cast<int64_t>(grants), std::memory_order_relaxed);
  metrics_.lease_grant_seconds.Observe(
      1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - since_ns));
}

void Controller::KickLocked(Outbox* outbox) {
  AdvanceWaitersLocked();
  DeliverLocked(leases_->Match(), outbox);
  if (committing_ || !broken_.ok() || read_only_.has_value()) return;
  if (open_.batch.empty() && open_.answers.empty()) return;
  committing_ = true;
  committing_round_ = std::move(open_);
  open_ = CommitRound();
  std::set<int64_t> jobs;
  for (const EventRecord& event : committing_round_.batch.append_events) jobs.insert(event.job_id);
  auto batch = std::make_shared<StoreBatch>(std::move(committing_round_.batch));
  committing_round_.batch = StoreBatch();
  // The store takes deletions alone: they follow the rest.
  auto deletions = std::make_shared<StoreBatch>();
  deletions->delete_jobs = std::exchange(batch->delete_jobs, {});
  deletions->delete_supernets = std::exchange(batch->delete_supernets, {});
  for (const JobDeletion& deletion : deletions->delete_jobs) jobs.insert(deletion.job);
  committing_jobs_.assign(jobs.begin(), jobs.end());
  commit_started_ns_ = Clock::Real()->SteadyNanos();
  outbox->commit = [this, batch, deletions] {
    options_.store->CommitAsync(std::move(*batch), [this, deletions](absl::Status status) {
      if (!status.ok() || deletions->empty()) return OnCommitted(status);
      options_.store->CommitAsync(std::move(*deletions),
                                  [this](absl::Status removed) { OnCommitted(removed, true); });
    });
  };
}

void Controller::OnCommitted(const absl::Status& status, bool rest_kept) {
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    metrics_.commit_seconds.Observe(1e-9 *
                                    static_cast<double>(outbox.entered_ns - commit_started_ns_));
    CommitRound round = std::move(committing_round_);
    committing_round_ = CommitRound();
    committing_ = false;
    absl::Status told = status;
    if (!status.ok()) {
      BecomeReadOnlyLocked(status, &outbox);
      told = RefusalLocked();
      if (rest_kept) {
        told = absl::Status(
            told.code(),
            absl::StrCat(status.message(),
                         "; what was to be deleted is still there. What else was asked for at "
                         "that moment was kept, or was not: look before you repeat it"));
      }
    }
    // To each a status of its own.
    const auto tell = [&](std::vector<std::function<void(absl::Status)>>* answers) {
      for (std::function<void(absl::Status)>& answer : *answers) {
        outbox.push_back([answer = std::move(answer),
                          own = absl::Status(told.code(), told.message())]() mutable {
          answer(std::move(own));
        });
      }
    };
    tell(&round.answers);
    if (status.ok()) {
      ++metrics_.commits;
      if (!round.ended_leases.empty()) {
        metrics_.commit_results.Observe(static_cast<double>(round.ended_leases.size()));
      }
      back_off_ = absl::ZeroDuration();
      QueueTasksLocked(std::move(round.tasks));
      for (const auto& [id, subscription] : subscriptions_) {
        if (std::binary_search(committing_jobs_.begin(), committing_jobs_.end(),
                               subscription.job)) {
          outbox.push_back(subscription.changed);
        }
      }
      // A job without measurements could go on for hours while Stop waits.
      if (!stopping_) PumpUnfinishedLocked();
    } else {
      ++metrics_.failed_commits;
      FORALL_LOG(ERROR) << "nothing of a commit was kept; reading state anew error=\"" << status
                        << "\"";
      // What was collected since builds on what was lost.
      if (rest_kept) round.ended_leases.clear();  // They have ended for good.
      for (CommitRound* lost : {&round, &open_}) {
        for (EndedLease& lease : lost->ended_leases) leases_to_restore_.push_back(std::move(lease));
      }
      tell(&open_.answers);
      open_ = CommitRound();
    }
    KickLocked(&outbox);
    changed_.SignalAll();
    // Before Stop can find that nothing is being committed any more.
    if (options_.background) LeaveToAnswersThread(&outbox);
  }
  Run(&outbox);
}

void Controller::LeaveToAnswersThread(Outbox* outbox) {
  MutexLock lock(&answers_mu_);
  for (std::function<void()>& action : outbox->actions) answers_.push_back(std::move(action));
  outbox->actions.clear();
  answers_changed_.Signal();
}

void Controller::BecomeReadOnlyLocked(const absl::Status& why, Outbox* outbox) {
  broken_ = why;
  unreadable_ = false;
  if (!read_only_.has_value()) {
    read_only_ = ReadOnly{why, Now(), 0};
    // The first time at once: it may have been this one batch.
    next_attempt_ns_ = options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(back_off_);
    if (read_only_changed_ != nullptr) outbox->push_back(read_only_changed_);
  }
}

void Controller::BackOffLocked() {
  back_off_ = std::clamp(2 * back_off_, kLeastBackOff, kMostBackOff);
  next_attempt_ns_ = options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(back_off_);
}

absl::Status Controller::OverloadLocked(size_t request_bytes) const {
  const size_t waiting =
      open_.answers.size() + committing_round_.answers.size() + parked_reads_.size();
  const size_t bytes = open_.bytes + committing_round_.bytes + parked_bytes_;
  const bool too_many = waiting >= static_cast<size_t>(options_.max_waiting_calls);
  const bool too_large =
      bytes > 0 && request_bytes > 0 && bytes + request_bytes > options_.max_waiting_bytes;
  if (!too_many && !too_large) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the controller is overloaded: ", waiting, " calls of ", bytes >> 20,
                   " MiB wait for its disk; nothing of this call was done, repeat it in a second"));
}

absl::Status Controller::RefusalLocked() const {
  if (!read_only_.has_value()) return absl::OkStatus();
  const std::string message =
      absl::StrCat(read_only_->why.message(),
                   "; nothing of this call was kept. The controller is read-only since ",
                   absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", read_only_->since, absl::UTCTimeZone()),
                   ", tries the store every ", absl::FormatDuration(kMostBackOff),
                   " or sooner and goes on by itself: mend the disk, then repeat the call");
  if (absl::IsResourceExhausted(read_only_->why)) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

void Controller::ReleaseReadsLocked(Outbox* outbox) {
  for (std::function<void()>& read : parked_reads_) outbox->push_back(std::move(read));
  parked_reads_.clear();
  parked_bytes_ = 0;
}

bool Controller::read_only() const {
  MutexLock lock(&mu_);
  return read_only_.has_value();
}

void Controller::WatchReadOnly(std::function<void()> changed) {
  MutexLock lock(&mu_);
  read_only_changed_ = std::move(changed);
}

void Controller::PumpUnfinishedLocked() {
  for (const int64_t id : std::exchange(unfinished_, {})) {
    const auto job = registry_->jobs.find(id);
    if (job != registry_->jobs.end()) job->second->Pump();
  }
}

absl::StatusOr<std::unique_ptr<Registry>> Controller::ReadStore() {
  return LoadRegistry(
      options_.store, this,
      [this](const v1::SearchJobSpec& spec, const std::shared_ptr<const Family>& family) {
        return LoadFiles(spec, family);
      });
}

absl::StatusOr<JobFiles> Controller::LoadFiles(const v1::SearchJobSpec& spec,
                                               const std::shared_ptr<const Family>& family) {
  MutexLock lock(&files_mu_);
  JobFiles files;
  if (!spec.accuracy_predictor().empty()) {
    FORALL_ASSIGN_OR_RETURN(files.predictor, LoadPredictor(spec.accuracy_predictor(), family));
  }
  for (int i = 0; i < spec.latency_tables_size(); ++i) {
    const std::string field = absl::StrCat("spec.latency_tables[", i, "]");
    absl::StatusOr<std::shared_ptr<const CompiledTable>> table =
        LoadTable(spec.latency_tables(i), family);
    if (!table.ok()) return WithContext(table.status(), field);
    for (int j = 0; j < i; ++j) {
      if (files.tables[j]->conditions().device != (*table)->conditions().device) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": is of \"", (*table)->conditions().device, "\", as latency_tables[",
                       j, "] is; give one table for each device"));
    }
    files.tables.push_back(*std::move(table));
  }
  return files;
}

absl::StatusOr<std::shared_ptr<const AccuracyPredictor>> Controller::LoadPredictor(
    const std::string& sha256, const std::shared_ptr<const Family>& family) {
  constexpr char kField[] = "spec.accuracy_predictor";
  std::weak_ptr<const AccuracyPredictor>& known = predictors_[{sha256, family.get()}];
  if (std::shared_ptr<const AccuracyPredictor> predictor = known.lock()) return predictor;
  absl::StatusOr<std::string> bytes = ReadJobFile(*options_.artifacts, sha256);
  if (!bytes.ok()) return WithContext(bytes.status(), kField);
  FORALL_ASSIGN_OR_RETURN(std::shared_ptr<const AccuracyPredictor> predictor,
                          AccuracyPredictor::Parse(*std::move(bytes), kField, family));
  known = predictor;
  return predictor;
}

absl::StatusOr<std::shared_ptr<const CompiledTable>> Controller::LoadTable(
    const std::string& sha256, const std::shared_ptr<const Family>& family) {
  std::weak_ptr<const CompiledTable>& known = tables_[{sha256, family.get()}];
  if (std::shared_ptr<const CompiledTable> table = known.lock()) return table;
  FORALL_ASSIGN_OR_RETURN(const std::string bytes, ReadJobFile(*options_.artifacts, sha256));
  absl::StatusOr<LatencyTable> table = ParseLatencyTable(bytes);
  if (!table.ok()) {
    return WithContext(table.status(), "is no latency table (forall table import makes one)");
  }
  FORALL_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledTable> compiled,
                          CompiledTable::Compile(*std::move(table), family));
  known = compiled;
  return compiled;
}

bool Controller::Reload() {
  // As at a start: what is in no run yet is looked through for every job. A disk that is still full
  // only makes reading slower.
  options_.store->IndexEvents().IgnoreError();
  absl::StatusOr<std::unique_ptr<Registry>> registry = ReadStore();
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    if (registry.ok()) {
      broken_ = absl::OkStatus();
      AdoptRegistryLocked(*std::move(registry));
      // What a commit was told to have failed with may be there: watchers look for themselves.
      for (const auto& [watch, subscription] : subscriptions_) {
        outbox.push_back(subscription.changed);
      }
    } else {
      FORALL_LOG(ERROR) << "the store cannot be read error=\"" << registry.status() << "\"";
      unreadable_ = true;
      BackOffLocked();
    }
    ReleaseReadsLocked(&outbox);
    KickLocked(&outbox);
  }
  Run(&outbox);
  return registry.ok();
}

void Controller::TryStore() {
  const absl::Status written = options_.store->Probe();
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    if (stopping_) return;
    ++read_only_->attempts;
    if (written.ok()) {
      FORALL_LOG(INFO) << "the store can be written again attempts=" << read_only_->attempts;
      read_only_.reset();
      // Should the next commit fail all the same, the store is tried less and less often.
      BackOffLocked();
      if (read_only_changed_ != nullptr) outbox.push_back(read_only_changed_);
      SweepLocked(&outbox);
      ResumeJobsLocked();
      KickLocked(&outbox);
    } else {
      FORALL_LOG(WARNING) << "the store still cannot be written attempts=" << read_only_->attempts
                          << " error=\"" << written << "\"";
      read_only_->why = written;
      BackOffLocked();
    }
  }
  Run(&outbox);
}

void Controller::SweepLocked(Outbox* outbox) {
  const SweepResult swept = leases_->Sweep();
  metrics_.leases_expired += swept.expired_leases;
  metrics_.tasks_poisoned += static_cast<int64_t>(swept.poisoned.size());
  DeliverLocked(swept.deliveries, outbox);
  const std::string why = "its lease was lost too often: it may be what kills the workers";
  for (const int64_t id : swept.poisoned) {
    if (NetworkTasks::IsNetworkTask(id)) {
      networks_->Failed(id, "", "", why);
    } else {
      swept_poisoned_.push_back(id);
    }
  }
  networks_->Expire(leases_.get());
  swept_dropped_.insert(swept_dropped_.end(), swept.dropped.begin(), swept.dropped.end());
  if (read_only_.has_value()) return;
  for (const int64_t id : std::exchange(swept_poisoned_, {})) {
    TaskEntry& task = registry_->tasks[id];
    const auto job = registry_->jobs.find(task.record.job_id);
    CloseTaskLocked(&task, TaskState::kFailed, why);
    if (job != registry_->jobs.end()) {
      job->second->OnFailed(id, "", v1::TaskFailure::TRANSIENT, why, true);
    }
  }
  for (const int64_t id : std::exchange(swept_dropped_, {})) {
    CloseTaskLocked(&registry_->tasks[id], TaskState::kCancelled, "its job has ended");
  }
  // A job whose time is up has nobody else to tell it.
  for (const auto& [id, job] : registry_->jobs) {
    if (!job->fold().ended() && job->fold().active().empty()) job->Pump();
  }
}

void Controller::Tick() {
  bool reload = false;
  bool due = false;
  bool wait = false;
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    if (stopping_) return;
    due = read_only_.has_value() && options_.clock->SteadyNanos() >= next_attempt_ns_;
    reload = !broken_.ok() && (!unreadable_ || due);
    wait = !broken_.ok() && !reload;
    if (broken_.ok()) {
      SweepLocked(&outbox);
      DropOldSamplesLocked();
      NotifyOfWaitingLocked(&outbox);
      KickLocked(&outbox);
    }
  }
  Run(&outbox);
  if (wait || (reload && !Reload())) return;
  if (due) TryStore();
}

void Controller::BackgroundLoop() {
  const absl::Duration pause =
      std::clamp(options_.heartbeat_interval / 5, absl::Milliseconds(20), absl::Seconds(1));
  while (true) {
    {
      MutexLock lock(&mu_);
      const int64_t due = Clock::Real()->SteadyNanos() + absl::ToInt64Nanoseconds(pause);
      const bool was_broken = !broken_.ok();
      // A commit that was not kept is seen to at once; other commits are no reason to look through
      // all leases.
      while (!stopping_ && (was_broken || broken_.ok())) {
        const int64_t left = due - Clock::Real()->SteadyNanos();
        if (left <= 0) break;
        changed_.WaitWithTimeout(&mu_, absl::Nanoseconds(left));
      }
      if (stopping_) return;
    }
    Tick();
  }
}

void Controller::Stop() {
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    changed_.SignalAll();
    if (leases_ != nullptr) DeliverLocked(leases_->ReleasePolls(), &outbox);
    // Watchers look once more and learn that it is over.
    for (const auto& [id, subscription] : subscriptions_) outbox.push_back(subscription.changed);
    ReleaseReadsLocked(&outbox);
  }
  Run(&outbox);
  background_.Join();
  {
    MutexLock lock(&mu_);
    while (committing_ || (!read_only_.has_value() && !open_.batch.empty())) changed_.Wait(&mu_);
    subscriptions_.clear();
  }
  {
    MutexLock lock(&answers_mu_);
    answers_end_ = true;
    answers_changed_.Signal();
  }
  answering_.Join();
}

absl::Time Controller::Now() { return options_.clock->Now(); }
int64_t Controller::SteadyNanos() { return options_.clock->SteadyNanos(); }

int64_t Controller::NewTrialId() {
  mu_.AssertHeld();
  return ++registry_->ids.trial;
}

StoreBatch* Controller::batch() {
  mu_.AssertHeld();
  return &open_.batch;
}

const MeasurementIndex& Controller::index() const {
  mu_.AssertHeld();
  return registry_->index;
}

int Controller::ActiveWorkers() const {
  mu_.AssertHeld();
  return leases_->ActiveWorkers();
}

std::vector<KnownSubnet> Controller::History(const JobFold& fold) const {
  mu_.AssertHeld();
  return FindHistory(*registry_, fold);
}

std::vector<TargetBinding> Controller::DevicesForLocked(const LatencyTarget& target) const {
  // By device: the first worker in order of name stands for it.
  std::map<std::string, TargetBinding> found;
  for (const auto& [name, worker] : workers_) {
    const std::optional<WorkerStatus> status = leases_->FindWorker(name);
    const v1::Worker& resource = worker.resource;
    if (!status.has_value() || status->state != WorkerState::kActive || !worker.takes_latency)
      continue;
    if (!target.device.empty() && target.device != resource.device().name()) continue;
    if (!target.device_class.empty() && target.device_class != resource.device().device_class())
      continue;
    if (!target.profile.empty() && target.profile != resource.profile().hash()) continue;
    const bool measures =
        std::all_of(target.metrics.begin(), target.metrics.end(),
                    [&offered = worker.metrics](const std::string& metric) {
                      return std::count(offered.begin(), offered.end(), metric) > 0;
                    });
    if (!measures) continue;
    const absl::StatusOr<std::string> device = ParseDeviceName(resource.device().name());
    if (!device.ok()) continue;
    found.try_emplace(*device, TargetBinding{*device, resource.device().fingerprint(),
                                             resource.profile().hash()});
  }
  std::vector<TargetBinding> bindings;
  for (auto& [device, binding] : found) bindings.push_back(std::move(binding));
  return bindings;
}

std::optional<TargetBinding> Controller::FindDevice(const LatencyTarget& target) const {
  mu_.AssertHeld();
  std::vector<TargetBinding> found = DevicesForLocked(target);
  if (found.size() != 1) return std::nullopt;
  return std::move(found[0]);
}

AwaitedTask Controller::AddTask(int64_t job, int64_t trial_id, TaskKind kind, const v1::Task& wire,
                                const TaskNeeds& needs) {
  mu_.AssertHeld();
  const uint64_t hash = WorkHash(wire);
  if (const int64_t other = FindInFlightLocked(hash, job, wire, needs.device_fingerprint);
      other != 0) {
    registry_->in_flight.Wait(other, job);
    leases_->ShareTask(other, job);
    ++metrics_.tasks_shared;
    return {other, false};
  }
  TaskRecord record;
  record.id = ++registry_->ids.task;
  record.job_id = job;
  record.trial_id = trial_id;
  record.kind = kind;
  record.payload = wire.SerializeAsString();
  const int64_t id = record.id;
  open_.batch.insert_tasks.push_back(record);
  open_.tasks.push_back({id, job, needs, 0, {}, WorkOfLocked(wire)});
  record.payload.clear();
  registry_->tasks[id] = {std::move(record), std::make_unique<v1::Task>(wire), hash};
  registry_->in_flight.Add(id, hash);
  return {id, true};
}

int64_t Controller::FindInFlightLocked(uint64_t hash, int64_t job, const v1::Task& wire,
                                       const std::string& fingerprint) const {
  for (const int64_t id : registry_->in_flight.Of(hash)) {
    const TaskEntry& task = registry_->tasks.at(id);
    if (task.record.job_id == job) continue;
    // A job waits for a task once: what tells it that the task is over names no trial.
    const absl::Span<const int64_t> waiters = registry_->in_flight.WaitersOf(id);
    if (std::find(waiters.begin(), waiters.end(), job) != waiters.end()) continue;
    const JobFold& owner = registry_->jobs.at(task.record.job_id)->fold();
    if (StandsFor(*task.wire, FingerprintOf(owner, *task.wire), wire, fingerprint,
                  registry_->index.AllImages(wire.dataset(), wire.split()))) {
      return id;
    }
  }
  return 0;
}

void Controller::LeaveTask(int64_t task, int64_t job) {
  mu_.AssertHeld();
  registry_->in_flight.Leave(task, job);
  leases_->UnshareTask(task, job);
}

void Controller::AdvanceWaitersLocked() {
  // What is not stored is read anew, and everybody goes on from there.
  if (!broken_.ok() || read_only_.has_value()) return;
  while (registry_->in_flight.has_over()) {
    for (const auto& [id, tasks] : registry_->in_flight.TakeOver()) {
      const auto job = registry_->jobs.find(id);
      if (job != registry_->jobs.end() && !job->second->fold().ended()) {
        job->second->OnShared(tasks);
      }
    }
  }
}

int32_t Controller::WorkOfLocked(const v1::Task& wire) {
  return registry_->durations.NumberOf(
      Work::Of(wire, ImagesOf(wire, registry_->index.AllImages(wire.dataset(), wire.split()))));
}

void Controller::CloseTaskLocked(TaskEntry* task, TaskState state, const std::string& error) {
  if (task->record.state != TaskState::kOpen) return;
  task->record.state = state;
  task->record.error = error;
  task->wire.reset();
  registry_->in_flight.Remove(task->record.id, task->hash);
  open_.batch.update_tasks.push_back(task->record);
}

void Controller::CancelTask(int64_t task) {
  mu_.AssertHeld();
  leases_->RemoveTask(task);
  const auto it = registry_->tasks.find(task);
  if (it != registry_->tasks.end())
    CloseTaskLocked(&it->second, TaskState::kCancelled, "not wanted any more");
}

void Controller::PumpAgain(int64_t job) {
  mu_.AssertHeld();
  unfinished_.insert(job);
}

void Controller::JobStateChanged(int64_t job, JobState state) {
  mu_.AssertHeld();
  if (state == JobState::kRunning || state == JobState::kPaused) {
    leases_->HoldJob(job, state == JobState::kPaused);
    return;
  }
  if (state == JobState::kFinalizing) return;
  for (const int64_t task : leases_->EndJob(job)) {
    CloseTaskLocked(&registry_->tasks[task], TaskState::kCancelled, "its job has ended");
  }
}

}  // namespace forall
