// SPDX-License-Identifier: Apache-2.0
// Who works on what: open tasks, workers, leases and parked polls, as a pure state machine. No
// gRPC, no SQL, no thread, no callback: methods say what follows, the caller does it.
//
// Invariant (1): a task has at most one current lease. Grants live in memory only; what their
// tokens are made of is durable (lease_tokens.h). After a restart a worker lists its tokens in its
// first heartbeat and gets those tasks back that are still open, that nobody else holds, and that
// an earlier life really gave it.
//
// Rules:
//   - a lease lives three heartbeat intervals and every heartbeat that lists it renews it;
//   - a worker is one process at a time, its instance. Another instance may not register while that
//     one was heard of within the time that a lease lives, unless it was drained and holds nothing.
//     The one that may takes over: what the former had leased goes back to the queue, and no lease
//     that this life gave before is taken up again;
//   - a task that failed on two workers, or three times, is poison; so is one whose lease was lost
//     ten times (it may be what kills the workers);
//   - a worker that says it cannot do a task is not offered that task again until it registers
//   anew;
//   - a worker that fails three tasks in a row is quarantined until it registers anew; so is one
//     that says of sixteen in a row that they would fail everywhere;
//   - a worker has at most 64 tasks;
//   - of the jobs that have a task which the worker can do the one gets it that is first in
//     fair_order.h: by priority, then by what its tenant and it had so far. A lease costs what its
//     task is expected to take, whatever becomes of it;
//   - a task that several jobs want (ShareTask) stands among the tasks of each of them: the first
//     that gets its turn has it leased, and is charged for it;
//   - within a job exports come first (everything else waits for them), then latencies (only one
//     device can do them), then accuracies, each in order of task id.
#ifndef FORALL_SEARCH_QUEUE_LEASE_TABLE_H_
#define FORALL_SEARCH_QUEUE_LEASE_TABLE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "search/queue/fair_order.h"
#include "search/queue/lease_tokens.h"
#include "search/queue/task_needs.h"

namespace forall {

struct QueuedTask {
  int64_t id = 0;
  int64_t job = 0;
  TaskNeeds needs;
  int32_t attempts = 0;                // leases granted in earlier lives of the controller
  std::vector<std::string> failed_on;  // workers on which it failed, once per failure
  int32_t work = -1;                   // what Options.cost is asked about
};

struct Grant {
  int64_t task = 0;
  std::string token;
  absl::Time expire_time;
  int32_t previous_attempts = 0;
};

// A parked poll that is to be answered now.
struct Delivery {
  int64_t poll = 0;
  std::vector<Grant> grants;
  bool drain = false;
  bool replaced = false;  // by another poll under the same worker id
};

struct SweepResult {
  std::vector<Delivery> deliveries;  // polls whose time is up
  std::vector<int64_t>
      poisoned;                  // tasks that left the table because their lease was lost too often
  std::vector<int64_t> dropped;  // tasks of ended jobs that nobody holds any more
  int64_t expired_leases = 0;
};

// How a result ended a lease: what Restore undoes should the result not become durable.
enum class LeaseEnd { kCompleted, kFailedForGood, kFailed, kUnable };

// Tasks of a job that nobody can take.
struct StuckTask {
  int64_t task = 0;
  TaskNeeds needs;
  // Of the active workers that could take it, those that said that they cannot do it, with what
  // they said. Empty: no active worker offers what it needs.
  std::map<std::string, std::string> unable;
};

// Tasks that wait, of one kind and for one device ("": any).
struct WaitingTasks {
  TaskKind kind = TaskKind::kExport;
  std::string device;
  int64_t tasks = 0;
  double oldest_seconds = 0;  // since it was added, or its last lease ended
};

struct FailureOutcome {
  bool poisoned = false;  // the task left the table
  bool quarantined = false;
  int32_t attempts = 0;
};

// kDrained: it finished what it had leased and left.
enum class WorkerState { kActive = 1, kDraining = 2, kLost = 3, kQuarantined = 4, kDrained = 5 };

struct WorkerStatus {
  WorkerState state = WorkerState::kActive;
  std::string reason;  // why it is quarantined
  absl::Time last_seen;
  int leases = 0;
  int64_t completed = 0;
  int64_t failed = 0;
};

// Thread-compatible: the controller's lock guards it.
class LeaseTable {
 public:
  // A worker has no more tasks at a time; what it gives back, others may do meanwhile.
  static constexpr size_t kMostLeases = 64;

  struct Options {
    Clock* clock = Clock::Real();   // not owned, must outlive
    std::vector<LifeRecord> lives;  // those that the store knows, the controller's own last
    absl::Duration heartbeat_interval = absl::Seconds(5);
    std::map<std::string, double> tenant_weights = {};  // as FairOrder's
    // Seconds, positive, that a task of that work is expected to take; asked whenever one is
    // leased.
    std::function<double(int32_t work)> cost = [](int32_t) { return 1.0; };
  };
  explicit LeaseTable(const Options& options);

  // How long from now `instance` may not register as this worker, should nothing more be heard of
  // the instance that it is; zero when it may.
  absl::Duration TakenFor(const std::string& worker, const std::string& instance) const;
  // Makes or revives a worker, which from now on is this instance; to be asked TakenFor first.
  // Leases of its former life stay until its first heartbeat, which keeps those it lists; those of
  // another instance go back at once. All workers that do not name theirs are the instance "".
  void RegisterWorker(const std::string& worker, WorkerOffer offer,
                      const std::string& instance = "");
  // Before every call of a worker, and a sign of life when it is OK. NotFound: register first.
  // FailedPrecondition: it is another instance now.
  absl::Status CheckInstance(const std::string& worker, const std::string& instance);
  // How long a lease lives without a word, and how long a silent worker counts as there.
  absl::Duration lease_time() const { return 3 * options_.heartbeat_interval; }
  // Another has taken its place: nothing of it counts before it has registered anew.
  void Expel(const std::string& worker);
  // Whether the worker is there, not quarantined, and may hold or be given a lease.
  bool IsServing(const std::string& worker) const;
  // NotFound.
  absl::Status DrainWorker(const std::string& worker);
  std::optional<WorkerStatus> FindWorker(const std::string& worker) const;
  // Forgets a worker that was not heard of for so long, and at least two lives of a lease, and has
  // no lease and no poll. Whether it did.
  bool ForgetWorker(const std::string& worker, absl::Duration silence);
  std::vector<std::string> Workers() const;
  // Workers that may be given work.
  int ActiveWorkers() const { return active_workers_; }
  // What these offer, in order of their names.
  std::vector<WorkerOffer> ActiveOffers() const;

  // Whose the job is and how much it counts; JobShare() for one of which nothing was said.
  void SetShare(int64_t job, const JobShare& share) { order_.SetShare(job, share); }
  // A task of a job that goes on becomes leasable. One that is already there stays with whoever has
  // it; what it failed on is replaced by what is given.
  void AddTask(QueuedTask task);
  // Takes a task away: it was completed, cancelled or failed for good. Its lease, if any, is lost.
  void RemoveTask(int64_t task);
  // Another job waits for the task's result: until it ends, or UnshareTask, the task is one of its
  // own as well, but for what EndJob does with those. Nothing when there is no such task.
  void ShareTask(int64_t task, int64_t job);
  void UnshareTask(int64_t task, int64_t job);
  // Every task is its own job's alone.
  void UnshareAll();
  bool IsLeased(int64_t task) const;
  // Seconds that a leased task has kept its worker: since its lease, or since the worker's last
  // result if that came later, since a worker takes several tasks and does one after the other. 0
  // for a lease that an earlier life of the controller gave.
  double SecondsHeld(int64_t task) const;
  // Of the task that a worker has had the longest, in this life of the controller; 0 without any.
  // Takes time in proportion to the tasks.
  double OldestLeaseSeconds() const;
  // Ids of all tasks in the table, ascending.
  std::vector<int64_t> Tasks() const;
  // Waiting tasks of a held job are not leased; leased ones go on.
  void HoldJob(int64_t job, bool held);
  // The job has ended: its waiting tasks leave (and are returned) whoever else wants them, leased
  // ones leave when their lease does, through SweepResult::dropped; tasks of others are not shared
  // with it any more. Its share is forgotten.
  std::vector<int64_t> EndJob(int64_t job);

  // Up to `max` tasks for the worker, as long as it has no more than kMostLeases, or none, in the
  // order of FairOrder; tasks that together take no longer than a second are given out of one job.
  // NotFound: register first. FailedPrecondition: quarantined.
  absl::StatusOr<std::vector<Grant>> Lease(const std::string& worker, int max);
  // Parks a poll until Match finds it work or Sweep finds its time up. A newer poll of one worker
  // answers the older (through the next Match).
  int64_t Park(const std::string& worker, int max, absl::Duration wait);
  void CancelPoll(int64_t poll);
  // Gives waiting tasks to parked polls, oldest first; only as many are answered as get work.
  std::vector<Delivery> Match();
  // Answers every parked poll, for shutting down.
  std::vector<Delivery> ReleasePolls();

  struct HeartbeatReply {
    std::vector<std::string> lost_tokens;
    bool drain = false;
  };
  // NotFound: register first.
  absl::StatusOr<HeartbeatReply> Heartbeat(
      const std::string& worker, const std::vector<std::pair<int64_t, std::string>>& held);

  // OK when `token` is the task's current lease and the worker's. One that an earlier life gave the
  // worker for the task, or one of the worker's own that ran out, is taken up again when nobody has
  // taken the task, unless the worker is quarantined. Aborted otherwise.
  absl::Status CheckLease(int64_t task, absl::string_view token, const std::string& worker);
  // After CheckLease. The task leaves the table and counts for the worker.
  void Complete(int64_t task);
  // After CheckLease: the failure is the task's own (it would fail everywhere); it leaves the
  // table.
  FailureOutcome FailForGood(int64_t task, const std::string& message);
  // After CheckLease: it may pass elsewhere. `unable`: the worker lacks what it needs.
  FailureOutcome Fail(int64_t task, bool unable, const std::string& message);
  // Puts a lease back whose end did not become durable, and takes back what that end had counted
  // against task and worker, quarantine included. Nothing happens when the task is not open,
  // somebody else has it, or the worker is not known.
  void Restore(int64_t task, const std::string& token, const std::string& worker, LeaseEnd end);
  // Gives a leased task back. Aborted: the lease is not current.
  absl::Status Release(int64_t task, absl::string_view token, const std::string& worker);

  // Ends what has run out. Call about once per second.
  SweepResult Sweep();

  // The first waiting task of the job, by its needs, that no active worker can take; nullopt when
  // there is none, or when the job's tasks are held.
  std::optional<StuckTask> FindStuck(int64_t job) const;

  // Of all jobs, held ones included; no two alike in kind and device. Takes time in proportion to
  // the waiting tasks.
  std::vector<WaitingTasks> Waiting() const;
  int64_t waiting_tasks() const { return waiting_count_; }
  int64_t leased_tasks() const { return leased_count_; }
  int64_t parked_polls() const { return static_cast<int64_t>(polls_.size()); }
  int64_t epoch() const { return tokens_->life(); }

 private:
  friend class LeaseTablePeer;  // lease_table_model_test.cc reads all of it

  struct TaskEntry {
    QueuedTask task;
    std::vector<int64_t> sharers;  // other jobs that want it
    std::string queue;             // key within its job
    bool leased = false;
    bool ended = false;  // its job has ended: it leaves when its lease does
    std::string worker;  // of the current lease
    std::string token;   // of the current or the last lease
    int64_t tenure = 0;  // of the worker at that time
    int64_t queued_ns = 0;
    int64_t expires_ns = 0;
    int64_t leased_ns = 0;    // since when its worker has it
    int64_t granted_ns = -1;  // -1: the lease was taken up from an earlier life
    bool limbo = false;       // of the worker's former life, until its first heartbeat
    int losses = 0;
    std::map<std::string, std::string> unable;  // worker -> what it said
  };
  struct WorkerEntry {
    std::string instance;
    int64_t tenure = 0;  // grows when another instance takes over
    bool expelled = false;
    WorkerOffer offer;
    std::string offer_key;
    WorkerState state = WorkerState::kLost;  // see SetState
    std::string reason;
    int64_t seen_ns = 0;
    int64_t result_ns = 0;  // of its last result
    absl::Time seen;
    bool awaits_first_heartbeat = false;
    bool draining = false;  // also while it is lost
    int failures_in_row = 0;
    int hopeless_in_row = 0;  // tasks of no device that it failed for good
    int64_t completed = 0;
    int64_t failed = 0;
    int64_t poll = 0;  // parked, or 0
    std::set<int64_t> leases;
    std::set<int64_t> unable_tasks;  // that have it in their `unable`
  };
  // Tasks that all need the same.
  struct Queue {
    TaskNeeds needs;
    std::set<int64_t> tasks;
  };
  struct JobQueues {
    bool held = false;
    std::map<std::string, Queue> waiting;  // keys sort by kind, see NeedsKey
  };
  struct Poll {
    std::string worker;
    int max = 1;
    int64_t deadline_ns = 0;
  };

  // How long from now the worker counts as there when nothing more is heard of it.
  absl::Duration ThereFor(const WorkerEntry& entry) const;
  void SetState(WorkerEntry* worker, WorkerState state);
  void Quarantine(WorkerEntry* worker, std::string reason);
  // Another instance takes over.
  void EndTenure(WorkerEntry* entry);
  void Enqueue(TaskEntry* entry);
  void Dequeue(TaskEntry* entry);
  // In and out of the queues of one job; whether it was not there, or was.
  bool PutInto(int64_t job, const TaskEntry& entry);
  bool TakeFrom(int64_t job, const TaskEntry& entry);
  // Whether the job is in order_ follows from its queues.
  void Reorder(int64_t job);
  // The task goes back to its queue, or leaves when its job has ended. True when it left.
  bool Unlease(TaskEntry* entry);
  void GiveTo(TaskEntry* entry, const std::string& worker, WorkerEntry* worker_entry,
              std::string token);
  void Erase(int64_t task);
  // Of a task that is in no queue and no worker's leases.
  void Forget(absl::flat_hash_map<int64_t, TaskEntry>::iterator it);
  bool MayAdopt(const TaskEntry& entry, const std::string& worker, const WorkerEntry& worker_entry,
                absl::string_view token) const;
  // `excluded` is set when a task was skipped for this worker alone.
  std::vector<Grant> Take(const std::string& worker, WorkerEntry* entry, int max, bool* excluded);
  // The task, or 0.
  int64_t FindIn(const JobQueues& queues, const std::string& worker, const WorkerEntry& entry,
                 bool* excluded) const;
  void Seen(WorkerEntry* worker);
  void Unpark(int64_t poll);

  const Options options_;
  // Of copies, too, which may therefore not be used at once.
  const std::shared_ptr<LeaseTokens> tokens_;
  int64_t next_token_ = 1;
  int64_t next_poll_ = 1;
  int active_workers_ = 0;
  int64_t waiting_count_ = 0;
  int64_t leased_count_ = 0;
  absl::flat_hash_map<int64_t, TaskEntry> tasks_;
  std::map<std::string, WorkerEntry> workers_;
  std::map<int64_t, JobQueues> jobs_;  // with waiting tasks, or held
  FairOrder order_;                    // of those with waiting tasks that are not held
  std::map<int64_t, Poll> polls_;
  // Parked polls by what their workers offer, oldest first: one look serves all of a kind.
  std::map<std::string, std::set<int64_t>> polls_by_offer_;
  std::vector<Delivery> answered_;  // polls replaced by newer ones
  std::vector<int64_t> dropped_;    // for the next Sweep
};

}  // namespace forall

#endif  // FORALL_SEARCH_QUEUE_LEASE_TABLE_H_
