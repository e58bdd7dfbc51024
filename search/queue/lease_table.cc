// SPDX-License-Identifier: Apache-2.0
#include "search/queue/lease_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

constexpr int kFailuresOfPoison = 3;
constexpr int kWorkersOfPoison = 2;
constexpr int kLossesOfPoison = 10;
constexpr int kFailuresOfQuarantine = 3;
constexpr int kHopelessOfQuarantine = 16;
// What one job may get in a row, by what it is expected to take.
constexpr double kMostRunSeconds = 1;

absl::Status NotRegistered(const std::string& worker) {
  return absl::NotFoundError(
      absl::StrCat("worker: ", worker, " is not registered; register first"));
}

}  // namespace

LeaseTable::LeaseTable(const Options& options)
    : options_(options),
      tokens_(std::make_shared<LeaseTokens>(options.lives)),
      order_(options.tenant_weights) {}

void LeaseTable::Seen(WorkerEntry* worker) {
  worker->seen_ns = options_.clock->SteadyNanos();
  worker->seen = options_.clock->Now();
  if (worker->state == WorkerState::kLost || worker->state == WorkerState::kDrained) {
    SetState(worker, worker->draining ? WorkerState::kDraining : WorkerState::kActive);
  }
}

absl::Duration LeaseTable::ThereFor(const WorkerEntry& entry) const {
  // It has finished and left, or is about to.
  if (entry.draining && entry.leases.empty()) return absl::ZeroDuration();
  // A parked poll is no sign of life here: that of a machine that stands still stays open.
  const int64_t silent_ns = options_.clock->SteadyNanos() - entry.seen_ns;
  return std::max(absl::ZeroDuration(), lease_time() - absl::Nanoseconds(silent_ns));
}

absl::Duration LeaseTable::TakenFor(const std::string& worker, const std::string& instance) const {
  const auto it = workers_.find(worker);
  if (it == workers_.end() || it->second.instance == instance) return absl::ZeroDuration();
  return ThereFor(it->second);
}

bool LeaseTable::IsServing(const std::string& worker) const {
  const auto it = workers_.find(worker);
  return it != workers_.end() && it->second.state != WorkerState::kQuarantined &&
         ThereFor(it->second) > absl::ZeroDuration();
}

absl::Status LeaseTable::CheckInstance(const std::string& worker, const std::string& instance) {
  const auto it = workers_.find(worker);
  if (it == workers_.end() || it->second.expelled) return NotRegistered(worker);
  if (it->second.instance == instance) {
    Seen(&it->second);
    return absl::OkStatus();
  }
  // It may have the worker back: whoever took over has gone.
  if (ThereFor(it->second) == absl::ZeroDuration()) return NotRegistered(worker);
  return absl::FailedPreconditionError(
      absl::StrCat("worker: ", worker, " is another process now, which took over while this one ",
                   "was not heard of; its leases have gone back to the queue"));
}

void LeaseTable::Expel(const std::string& worker) {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return;
  EndTenure(&it->second);
  it->second.expelled = true;
  SetState(&it->second, WorkerState::kLost);
  if (it->second.poll != 0) {
    answered_.push_back({it->second.poll, {}, false, true});
    Unpark(it->second.poll);
  }
}

void LeaseTable::EndTenure(WorkerEntry* entry) {
  ++entry->tenure;
  const std::set<int64_t> leases = entry->leases;
  for (const int64_t task : leases) {
    ++tasks_[task].losses;  // No sweep will count it.
    Unlease(&tasks_[task]);
  }
}

void LeaseTable::RegisterWorker(const std::string& worker, WorkerOffer offer,
                                const std::string& instance) {
  const auto [it, is_new] = workers_.try_emplace(worker);
  WorkerEntry& entry = it->second;
  if (entry.poll != 0) {
    answered_.push_back({entry.poll, {}, false, true});
    Unpark(entry.poll);
  }
  if (!is_new && entry.instance != instance) EndTenure(&entry);
  entry.instance = instance;
  entry.expelled = false;
  entry.offer = std::move(offer);
  entry.offer_key = OfferKey(entry.offer);
  SetState(&entry, WorkerState::kActive);
  entry.reason.clear();
  entry.failures_in_row = 0;
  entry.hopeless_in_row = 0;
  entry.draining = false;
  entry.awaits_first_heartbeat = true;
  // It may have been mended.
  for (const int64_t task : entry.unable_tasks) tasks_[task].unable.erase(worker);
  entry.unable_tasks.clear();
  for (const int64_t task : entry.leases) tasks_[task].limbo = true;
  Seen(&entry);
}

absl::Status LeaseTable::DrainWorker(const std::string& worker) {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) {
    return absl::NotFoundError(absl::StrCat("there is no worker ", worker));
  }
  it->second.draining = true;
  // One that is not there drains when it comes back.
  if (it->second.state == WorkerState::kLost || it->second.state == WorkerState::kDrained) {
    return absl::OkStatus();
  }
  SetState(&it->second, WorkerState::kDraining);
  if (it->second.poll != 0) {
    answered_.push_back({it->second.poll, {}, true});
    Unpark(it->second.poll);
  }
  return absl::OkStatus();
}

std::optional<WorkerStatus> LeaseTable::FindWorker(const std::string& worker) const {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return std::nullopt;
  const WorkerEntry& entry = it->second;
  return WorkerStatus{entry.state,     entry.reason,
                      entry.seen,      static_cast<int>(entry.leases.size()),
                      entry.completed, entry.failed};
}

bool LeaseTable::ForgetWorker(const std::string& worker, absl::Duration silence) {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return false;
  WorkerEntry& entry = it->second;
  const int64_t silent_ns = options_.clock->SteadyNanos() - entry.seen_ns;
  if (absl::Nanoseconds(silent_ns) < std::max(silence, 2 * lease_time()) || !entry.leases.empty() ||
      entry.poll != 0) {
    return false;
  }
  for (const int64_t task : entry.unable_tasks) tasks_[task].unable.erase(worker);
  SetState(&entry, WorkerState::kLost);
  workers_.erase(it);
  return true;
}

std::vector<std::string> LeaseTable::Workers() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : workers_) names.push_back(name);
  return names;
}

void LeaseTable::SetState(WorkerEntry* worker, WorkerState state) {
  active_workers_ += (state == WorkerState::kActive) - (worker->state == WorkerState::kActive);
  worker->state = state;
}

std::vector<WorkerOffer> LeaseTable::ActiveOffers() const {
  std::vector<WorkerOffer> offers;
  for (const auto& [name, entry] : workers_) {
    if (entry.state == WorkerState::kActive) offers.push_back(entry.offer);
  }
  return offers;
}

void LeaseTable::AddTask(QueuedTask task) {
  // Its job goes on after all: the commit that ended it was not kept.
  dropped_.erase(std::remove(dropped_.begin(), dropped_.end(), task.id), dropped_.end());
  const auto [it, inserted] = tasks_.try_emplace(task.id);
  if (!inserted) {
    // Read anew from the store, which knows what was kept.
    it->second.ended = false;
    it->second.task.failed_on = std::move(task.failed_on);
    return;
  }
  it->second.queue = NeedsKey(task.needs);
  it->second.task = std::move(task);
  Enqueue(&it->second);
}

void LeaseTable::Enqueue(TaskEntry* entry) {
  entry->queued_ns = options_.clock->SteadyNanos();
  waiting_count_ += PutInto(entry->task.job, *entry);
  for (const int64_t job : entry->sharers) PutInto(job, *entry);
}

bool LeaseTable::PutInto(int64_t job, const TaskEntry& entry) {
  const auto [queue, is_new] = jobs_[job].waiting.try_emplace(entry.queue);
  if (is_new) queue->second.needs = entry.task.needs;
  const bool inserted = queue->second.tasks.insert(entry.task.id).second;
  Reorder(job);
  return inserted;
}

void LeaseTable::Reorder(int64_t job) {
  const auto it = jobs_.find(job);
  if (it != jobs_.end() && !it->second.held && !it->second.waiting.empty()) {
    order_.Enter(job);
  } else {
    order_.Leave(job);
  }
}

void LeaseTable::Dequeue(TaskEntry* entry) {
  waiting_count_ -= TakeFrom(entry->task.job, *entry);
  for (const int64_t job : entry->sharers) TakeFrom(job, *entry);
}

bool LeaseTable::TakeFrom(int64_t job, const TaskEntry& entry) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return false;
  const auto queue = it->second.waiting.find(entry.queue);
  if (queue == it->second.waiting.end()) return false;
  const bool erased = queue->second.tasks.erase(entry.task.id) > 0;
  if (queue->second.tasks.empty()) it->second.waiting.erase(queue);
  if (it->second.waiting.empty() && !it->second.held) jobs_.erase(it);
  Reorder(job);
  return erased;
}

void LeaseTable::ShareTask(int64_t task, int64_t job) {
  const auto it = tasks_.find(task);
  if (it == tasks_.end() || it->second.task.job == job) return;
  std::vector<int64_t>& sharers = it->second.sharers;
  if (std::find(sharers.begin(), sharers.end(), job) != sharers.end()) return;
  sharers.push_back(job);
  if (!it->second.leased) PutInto(job, it->second);
}

void LeaseTable::UnshareTask(int64_t task, int64_t job) {
  const auto it = tasks_.find(task);
  if (it == tasks_.end() || std::erase(it->second.sharers, job) == 0) return;
  if (!it->second.leased) TakeFrom(job, it->second);
}

void LeaseTable::UnshareAll() {
  for (auto& [id, entry] : tasks_) {
    for (const int64_t job : std::exchange(entry.sharers, {})) {
      if (!entry.leased) TakeFrom(job, entry);
    }
  }
}

void LeaseTable::RemoveTask(int64_t task) { Erase(task); }

void LeaseTable::Erase(int64_t task) {
  const auto it = tasks_.find(task);
  if (it == tasks_.end()) return;
  if (it->second.leased) {
    workers_[it->second.worker].leases.erase(task);
    --leased_count_;
  } else {
    Dequeue(&it->second);
  }
  Forget(it);
}

void LeaseTable::Forget(absl::flat_hash_map<int64_t, TaskEntry>::iterator it) {
  for (const auto& [worker, why] : it->second.unable) {
    workers_[worker].unable_tasks.erase(it->first);
  }
  tasks_.erase(it);
}

bool LeaseTable::IsLeased(int64_t task) const {
  const auto it = tasks_.find(task);
  return it != tasks_.end() && it->second.leased;
}

double LeaseTable::SecondsHeld(int64_t task) const {
  const auto it = tasks_.find(task);
  if (it == tasks_.end() || !it->second.leased || it->second.granted_ns < 0) return 0;
  const auto worker = workers_.find(it->second.worker);
  const int64_t since = std::max(it->second.granted_ns, worker->second.result_ns);
  return 1e-9 * static_cast<double>(options_.clock->SteadyNanos() - since);
}

double LeaseTable::OldestLeaseSeconds() const {
  const int64_t now = options_.clock->SteadyNanos();
  int64_t oldest = now;
  for (const auto& [id, entry] : tasks_) {
    if (entry.leased) oldest = std::min(oldest, entry.leased_ns);
  }
  return 1e-9 * static_cast<double>(now - oldest);
}

std::vector<int64_t> LeaseTable::Tasks() const {
  std::vector<int64_t> ids;
  for (const auto& [id, entry] : tasks_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

void LeaseTable::HoldJob(int64_t job, bool held) {
  const auto it = jobs_.find(job);
  if (held) {
    jobs_[job].held = true;
  } else if (it != jobs_.end()) {
    it->second.held = false;
    if (it->second.waiting.empty()) jobs_.erase(it);
  }
  Reorder(job);
}

std::vector<int64_t> LeaseTable::EndJob(int64_t job) {
  std::vector<int64_t> left;
  const auto part = [job](TaskEntry* entry) {
    if (entry->task.job != job) std::erase(entry->sharers, job);
    return entry->task.job == job;
  };
  if (const auto it = jobs_.find(job); it != jobs_.end()) {
    for (const auto& [key, queue] : it->second.waiting) {
      for (const int64_t task : queue.tasks) {
        if (part(&tasks_.at(task))) left.push_back(task);
      }
    }
  }
  for (const auto& [name, worker] : workers_) {
    for (const int64_t task : worker.leases) {
      TaskEntry& entry = tasks_.at(task);
      if (part(&entry)) entry.ended = true;
    }
  }
  std::sort(left.begin(), left.end());
  for (const int64_t task : left) Erase(task);
  jobs_.erase(job);
  order_.Forget(job);
  return left;
}

void LeaseTable::GiveTo(TaskEntry* entry, const std::string& worker, WorkerEntry* worker_entry,
                        std::string token) {
  Dequeue(entry);
  entry->leased = true;
  entry->limbo = false;
  entry->leased_ns = options_.clock->SteadyNanos();
  entry->granted_ns = -1;
  entry->worker = worker;
  entry->tenure = worker_entry->tenure;
  entry->token = std::move(token);
  entry->expires_ns = options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(lease_time());
  worker_entry->leases.insert(entry->task.id);
  ++leased_count_;
}

bool LeaseTable::Unlease(TaskEntry* entry) {
  workers_[entry->worker].leases.erase(entry->task.id);
  --leased_count_;
  entry->leased = false;
  entry->limbo = false;
  if (entry->ended) {
    const int64_t task = entry->task.id;
    dropped_.push_back(task);
    Forget(tasks_.find(task));
    return true;
  }
  Enqueue(entry);
  return false;
}

int64_t LeaseTable::FindIn(const JobQueues& queues, const std::string& worker,
                           const WorkerEntry& entry, bool* excluded) const {
  for (const auto& [key, queue] : queues.waiting) {
    if (!Satisfies(entry.offer, queue.needs)) continue;
    for (const int64_t task : queue.tasks) {
      if (tasks_.at(task).unable.count(worker) == 0) return task;
      *excluded = true;
    }
  }
  return 0;
}

std::vector<Grant> LeaseTable::Take(const std::string& worker, WorkerEntry* entry, int max,
                                    bool* excluded) {
  std::vector<Grant> grants;
  if (entry->leases.size() >= kMostLeases) {
    *excluded = true;
    return grants;
  }
  max = std::min(max, static_cast<int>(kMostLeases - entry->leases.size()));
  while (static_cast<int>(grants.size()) < max) {
    int64_t task = 0;
    const int64_t job = order_.FindFirst([&](int64_t candidate) {
      task = FindIn(jobs_.at(candidate), worker, *entry, excluded);
      return task != 0;
    });
    if (task == 0) break;
    // More of them where they take hardly any time: what is near in the store is stored at once.
    for (double run = 0; task != 0 && static_cast<int>(grants.size()) < max;) {
      TaskEntry& taken = tasks_[task];
      const double cost = options_.cost(taken.task.work);
      if (run > 0 && run + cost > kMostRunSeconds) break;
      run += cost;
      order_.Charge(job, cost);
      GiveTo(&taken, worker, entry, tokens_->Make(next_token_++, task, worker));
      taken.granted_ns = options_.clock->SteadyNanos();
      grants.push_back(
          {task, taken.token, options_.clock->Now() + lease_time(), taken.task.attempts++});
      const auto more = jobs_.find(job);
      task = more == jobs_.end() ? 0 : FindIn(more->second, worker, *entry, excluded);
    }
  }
  return grants;
}

absl::StatusOr<std::vector<Grant>> LeaseTable::Lease(const std::string& worker, int max) {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return NotRegistered(worker);
  Seen(&it->second);
  if (it->second.state == WorkerState::kQuarantined) {
    return absl::FailedPreconditionError(absl::StrCat(
        worker, " is quarantined: ", it->second.reason, "; mend it and start it again"));
  }
  if (it->second.state == WorkerState::kDraining) return std::vector<Grant>();
  bool excluded = false;
  return Take(worker, &it->second, max, &excluded);
}

int64_t LeaseTable::Park(const std::string& worker, int max, absl::Duration wait) {
  WorkerEntry& entry = workers_[worker];
  if (entry.poll != 0) {
    answered_.push_back({entry.poll, {}, false, true});
    Unpark(entry.poll);
  }
  const int64_t poll = next_poll_++;
  polls_[poll] = {worker, max, options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(wait)};
  polls_by_offer_[entry.offer_key].insert(poll);
  entry.poll = poll;
  return poll;
}

void LeaseTable::Unpark(int64_t poll) {
  const auto it = polls_.find(poll);
  if (it == polls_.end()) return;
  WorkerEntry& worker = workers_[it->second.worker];
  const auto group = polls_by_offer_.find(worker.offer_key);
  if (group != polls_by_offer_.end()) {
    group->second.erase(poll);
    if (group->second.empty()) polls_by_offer_.erase(group);
  }
  if (worker.poll == poll) worker.poll = 0;
  polls_.erase(it);
}

void LeaseTable::CancelPoll(int64_t poll) { Unpark(poll); }

std::vector<Delivery> LeaseTable::Match() {
  std::vector<Delivery> deliveries = std::move(answered_);
  answered_.clear();
  if (waiting_count_ == 0 || polls_.empty()) return deliveries;
  std::vector<Delivery> served;
  for (const auto& [offer, polls] : polls_by_offer_) {
    for (const int64_t poll : polls) {
      const Poll& parked = polls_[poll];
      bool excluded = false;
      std::vector<Grant> grants =
          Take(parked.worker, &workers_[parked.worker], parked.max, &excluded);
      if (!grants.empty()) {
        served.push_back({poll, std::move(grants), false});
      } else if (!excluded) {
        break;  // Nothing for any worker of this kind.
      }
    }
  }
  for (Delivery& delivery : served) {
    Unpark(delivery.poll);
    deliveries.push_back(std::move(delivery));
  }
  return deliveries;
}

std::vector<Delivery> LeaseTable::ReleasePolls() {
  std::vector<Delivery> deliveries = std::move(answered_);
  answered_.clear();
  while (!polls_.empty()) {
    const int64_t poll = polls_.begin()->first;
    deliveries.push_back({poll, {}, false});
    Unpark(poll);
  }
  return deliveries;
}

bool LeaseTable::MayAdopt(const TaskEntry& entry, const std::string& worker,
                          const WorkerEntry& worker_entry, absl::string_view token) const {
  if (entry.leased || worker_entry.state == WorkerState::kQuarantined ||
      !Satisfies(worker_entry.offer, entry.task.needs)) {
    return false;
  }
  // Of this life it is known who had it.
  if (!token.empty() && token == entry.token && worker == entry.worker &&
      worker_entry.tenure == entry.tenure) {
    return true;
  }
  return tokens_->GivenEarlier(token, entry.task.id, worker);
}

absl::StatusOr<LeaseTable::HeartbeatReply> LeaseTable::Heartbeat(
    const std::string& worker, const std::vector<std::pair<int64_t, std::string>>& held) {
  const auto it = workers_.find(worker);
  if (it == workers_.end()) return NotRegistered(worker);
  WorkerEntry& entry = it->second;
  Seen(&entry);
  HeartbeatReply reply;
  reply.drain = entry.state == WorkerState::kDraining;
  for (const auto& [task, token] : held) {
    const absl::Status current = CheckLease(task, token, worker);
    if (!current.ok()) reply.lost_tokens.push_back(token);
  }
  if (entry.awaits_first_heartbeat) {
    entry.awaits_first_heartbeat = false;
    const std::set<int64_t> leases = entry.leases;
    for (const int64_t task : leases) {
      if (tasks_[task].limbo) Unlease(&tasks_[task]);
    }
  }
  return reply;
}

absl::Status LeaseTable::CheckLease(int64_t task, absl::string_view token,
                                    const std::string& worker) {
  const auto worker_it = workers_.find(worker);
  if (worker_it == workers_.end()) return NotRegistered(worker);
  const auto it = tasks_.find(task);
  if (it == tasks_.end()) {
    return absl::AbortedError(absl::StrCat("task ", task, " is not open any more"));
  }
  TaskEntry& entry = it->second;
  if (entry.leased && entry.token == token && entry.worker == worker) {
    entry.limbo = false;
    entry.expires_ns = options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(lease_time());
    return absl::OkStatus();
  }
  if (MayAdopt(entry, worker, worker_it->second, token)) {
    GiveTo(&entry, worker, &worker_it->second, std::string(token));
    return absl::OkStatus();
  }
  return absl::AbortedError(absl::StrCat("lease ", token, " of task ", task,
                                         " is not current: it ran out or went to another worker"));
}

void LeaseTable::Complete(int64_t task) {
  const auto it = tasks_.find(task);
  if (it == tasks_.end()) return;
  WorkerEntry& worker = workers_[it->second.worker];
  ++worker.completed;
  worker.failures_in_row = 0;
  worker.hopeless_in_row = 0;
  worker.result_ns = options_.clock->SteadyNanos();
  Erase(task);
}

FailureOutcome LeaseTable::FailForGood(int64_t task, const std::string& message) {
  FailureOutcome outcome;
  const auto it = tasks_.find(task);
  if (it == tasks_.end()) return outcome;
  outcome.attempts = it->second.task.attempts;
  WorkerEntry& worker = workers_[it->second.worker];
  ++worker.failed;
  worker.result_ns = options_.clock->SteadyNanos();
  // A device may well be too small for sixteen subnets; what needs no device is done anywhere.
  if (it->second.task.needs.kind != TaskKind::kLatency &&
      ++worker.hopeless_in_row >= kHopelessOfQuarantine) {
    outcome.quarantined = true;
    Quarantine(
        &worker,
        absl::StrCat("it says of ", kHopelessOfQuarantine,
                     " tasks in a row that they would fail everywhere, of the last: ", message));
  }
  Erase(task);
  return outcome;
}

void LeaseTable::Quarantine(WorkerEntry* worker, std::string reason) {
  SetState(worker, WorkerState::kQuarantined);
  worker->reason = std::move(reason);
  if (worker->poll == 0) return;
  answered_.push_back({worker->poll, {}, false});
  Unpark(worker->poll);
}

FailureOutcome LeaseTable::Fail(int64_t task, bool unable, const std::string& message) {
  FailureOutcome outcome;
  const auto it = tasks_.find(task);
  if (it == tasks_.end()) return outcome;
  TaskEntry& entry = it->second;
  const std::string worker = entry.worker;
  WorkerEntry& worker_entry = workers_[worker];
  outcome.attempts = entry.task.attempts;
  worker_entry.result_ns = options_.clock->SteadyNanos();
  ++worker_entry.failed;
  if (++worker_entry.failures_in_row >= kFailuresOfQuarantine) {
    outcome.quarantined = true;
    Quarantine(&worker_entry, absl::StrCat(kFailuresOfQuarantine,
                                           " tasks failed in a row, the last with: ", message));
  }
  if (unable) {
    entry.unable[worker] = message;
    worker_entry.unable_tasks.insert(task);
  } else {
    entry.task.failed_on.push_back(worker);
  }
  const std::set<std::string> workers(entry.task.failed_on.begin(), entry.task.failed_on.end());
  outcome.poisoned = static_cast<int>(entry.task.failed_on.size()) >= kFailuresOfPoison ||
                     static_cast<int>(workers.size()) >= kWorkersOfPoison;
  if (outcome.poisoned) {
    Erase(task);
  } else {
    entry.token.clear();  // Given up, not lost: it is not taken up again.
    Unlease(&entry);
  }
  return outcome;
}

void LeaseTable::Restore(int64_t task, const std::string& token, const std::string& worker,
                         LeaseEnd end) {
  const auto worker_it = workers_.find(worker);
  const auto it = tasks_.find(task);
  if (worker_it == workers_.end() || it == tasks_.end() || it->second.leased) return;
  WorkerEntry& entry = worker_it->second;
  if (end == LeaseEnd::kCompleted) {
    entry.completed = std::max<int64_t>(0, entry.completed - 1);
  } else {
    entry.failed = std::max<int64_t>(0, entry.failed - 1);
  }
  const bool hopeless =
      end == LeaseEnd::kFailedForGood && it->second.task.needs.kind != TaskKind::kLatency;
  const bool failed = end == LeaseEnd::kFailed || end == LeaseEnd::kUnable;
  if (hopeless) entry.hopeless_in_row = std::max(0, entry.hopeless_in_row - 1);
  if (failed) entry.failures_in_row = std::max(0, entry.failures_in_row - 1);
  if ((hopeless || failed) && entry.state == WorkerState::kQuarantined &&
      entry.failures_in_row < kFailuresOfQuarantine &&
      entry.hopeless_in_row < kHopelessOfQuarantine) {
    SetState(&entry, entry.draining ? WorkerState::kDraining : WorkerState::kActive);
    entry.reason.clear();
  }
  if (end == LeaseEnd::kUnable) {
    it->second.unable.erase(worker);
    entry.unable_tasks.erase(task);
  }
  GiveTo(&it->second, worker, &entry, token);
}

absl::Status LeaseTable::Release(int64_t task, absl::string_view token, const std::string& worker) {
  const absl::Status current = CheckLease(task, token, worker);
  if (!current.ok()) return current;
  tasks_[task].token.clear();
  Unlease(&tasks_[task]);
  return absl::OkStatus();
}

std::optional<StuckTask> LeaseTable::FindStuck(int64_t job) const {
  const auto queues = jobs_.find(job);
  if (queues == jobs_.end() || queues->second.held) return std::nullopt;
  for (const auto& [key, waiting] : queues->second.waiting) {
    // The workers are looked through once for all of the queue.
    const TaskNeeds& needs = waiting.needs;
    size_t able = 0;
    for (const auto& [name, worker] : workers_) {
      able += worker.state == WorkerState::kActive && Satisfies(worker.offer, needs);
    }
    for (const int64_t id : waiting.tasks) {
      const TaskEntry& entry = tasks_.at(id);
      if (entry.unable.size() < able) continue;
      StuckTask stuck{id, needs, {}};
      for (const auto& [name, why] : entry.unable) {
        const auto worker = workers_.find(name);
        if (worker != workers_.end() && worker->second.state == WorkerState::kActive &&
            Satisfies(worker->second.offer, needs)) {
          stuck.unable.emplace(name, why);
        }
      }
      if (stuck.unable.size() == able) return stuck;
    }
  }
  return std::nullopt;
}

std::vector<WaitingTasks> LeaseTable::Waiting() const {
  std::map<std::pair<TaskKind, std::string>, WaitingTasks> found;
  const int64_t now = options_.clock->SteadyNanos();
  for (const auto& [id, job] : jobs_) {
    for (const auto& [key, queue] : job.waiting) {
      WaitingTasks* waiting = nullptr;
      for (const int64_t task : queue.tasks) {
        const TaskEntry& entry = tasks_.at(task);
        if (entry.task.job != id) continue;  // Shared with it: counted with its own job.
        if (waiting == nullptr) waiting = &found[{queue.needs.kind, queue.needs.device}];
        ++waiting->tasks;
        waiting->oldest_seconds =
            std::max(waiting->oldest_seconds, 1e-9 * static_cast<double>(now - entry.queued_ns));
      }
      if (waiting == nullptr) continue;
      waiting->kind = queue.needs.kind;
      waiting->device = queue.needs.device;
    }
  }
  std::vector<WaitingTasks> all;
  for (auto& [key, waiting] : found) all.push_back(std::move(waiting));
  return all;
}

SweepResult LeaseTable::Sweep() {
  SweepResult result;
  const int64_t now = options_.clock->SteadyNanos();
  std::vector<int64_t> expired;
  // Far fewer are leased than wait.
  for (const auto& [name, worker] : workers_) {
    for (const int64_t task : worker.leases) {
      if (tasks_[task].expires_ns <= now) expired.push_back(task);
    }
  }
  // Before its leases are taken away: whether it had any left says if it went as it should.
  const int64_t silence = absl::ToInt64Nanoseconds(lease_time());
  for (auto& [name, worker] : workers_) {
    const bool reachable =
        worker.state == WorkerState::kActive || worker.state == WorkerState::kDraining;
    // A parked poll is a sign of life.
    if (reachable && worker.poll == 0 && worker.seen_ns + silence <= now) {
      const bool finished = worker.state == WorkerState::kDraining && worker.leases.empty();
      SetState(&worker, finished ? WorkerState::kDrained : WorkerState::kLost);
    }
  }
  std::sort(expired.begin(), expired.end());
  for (const int64_t task : expired) {
    TaskEntry& entry = tasks_[task];
    ++result.expired_leases;
    if (++entry.losses >= kLossesOfPoison && !entry.ended) {
      Erase(task);
      result.poisoned.push_back(task);
    } else {
      Unlease(&entry);
    }
  }
  std::vector<int64_t> late;
  for (const auto& [id, poll] : polls_) {
    if (poll.deadline_ns <= now) late.push_back(id);
  }
  for (const int64_t poll : late) {
    result.deliveries.push_back({poll, {}, false});
    Unpark(poll);
  }
  result.dropped = std::move(dropped_);
  dropped_.clear();
  return result;
}

}  // namespace forall
