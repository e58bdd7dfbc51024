// SPDX-License-Identifier: Apache-2.0
// The lease protocol, explored exhaustively: every sequence of steps up to a depth, over the real
// LeaseTable and a clock that stands still between steps, for a few workers and tasks. States that
// differ in nothing that can matter later are visited once.
//
// Beside the table runs a model of its contract: who has which task, under which token, and what
// the store knows. After each step table and model must agree, and in each new state:
//   - a task has at most one current lease, and the table's books of it agree with each other;
//   - of all tokens ever given, presented by any worker, exactly those are taken that the contract
//     names; a stale one is Aborted;
//   - of all instances of a worker exactly those may speak for it, or register, that the contract
//     names;
//   - a task that ended is never handed out, and no worker that is drained or quarantined gets any;
//   - a task that waits is not lost: a fresh worker gets it at once, and once leases have run out a
//     parked poll gets everything that is open.
//
// FORALL_LEASE_DEEPER=N goes N steps further than what takes seconds; 2 takes minutes and 1 GB.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "search/queue/lease_table.h"

namespace forall {

// Reads what LeaseTable keeps to itself.
class LeaseTablePeer {
 public:
  // Whether its books agree with each other; what is wrong, or "".
  static std::string Disagreement(const LeaseTable& table) {
    int64_t leased = 0;
    int64_t waiting = 0;
    for (const auto& [id, entry] : table.tasks_) {
      leased += entry.leased;
      std::set<int64_t> wanted = {entry.task.job};
      wanted.insert(entry.sharers.begin(), entry.sharers.end());
      if (wanted.size() != entry.sharers.size() + 1) return absl::StrCat(id, " is shared twice");
      for (const auto& [number, job] : table.jobs_) {
        const auto queue = job.waiting.find(entry.queue);
        const bool queued = queue != job.waiting.end() && queue->second.tasks.count(id) > 0;
        if (!queued) continue;
        if (entry.leased) return absl::StrCat("task ", id, " is leased and queued alike");
        if (wanted.erase(number) == 0) return absl::StrCat("job ", number, " has a stranger's");
      }
      if (!entry.leased && !wanted.empty()) return absl::StrCat("task ", id, " is not queued");
      int holders = 0;
      for (const auto& [name, worker] : table.workers_) {
        if (worker.leases.count(id) == 0) continue;
        ++holders;
        if (name != entry.worker) return absl::StrCat("task ", id, " is in a stranger's leases");
      }
      if (holders != (entry.leased ? 1 : 0)) return absl::StrCat(holders, " hold task ", id);
    }
    std::set<int64_t> in_turn;
    table.order_.FindFirst([&](int64_t job) {
      in_turn.insert(job);
      return false;
    });
    for (const auto& [id, job] : table.jobs_) {
      if (in_turn.erase(id) != (!job.held && !job.waiting.empty() ? 1U : 0U)) {
        return absl::StrCat("whether job ", id, " gets turns is in dispute");
      }
      for (const auto& [key, queue] : job.waiting) {
        if (key != NeedsKey(queue.needs)) return "a queue is not of what its tasks need";
        if (queue.tasks.empty()) return "a queue is empty";
        for (const int64_t task : queue.tasks) {
          if (table.tasks_.count(task) == 0) return absl::StrCat("task ", task, " is a ghost");
          waiting += table.tasks_.at(task).task.job == id;
        }
      }
    }
    if (!in_turn.empty()) return "a job without tasks gets turns";
    size_t leases = 0;
    size_t parked = 0;
    for (const auto& [name, worker] : table.workers_) {
      for (const auto& [id, entry] : table.tasks_) {
        if (entry.unable.count(name) != worker.unable_tasks.count(id)) {
          return absl::StrCat("whether ", name, " is unable of task ", id, " is in dispute");
        }
      }
      for (const int64_t task : worker.unable_tasks) {
        if (table.tasks_.count(task) == 0) return absl::StrCat(name, " is unable of a ghost");
      }
      leases += worker.leases.size();
      if (worker.poll == 0) continue;
      ++parked;
      const auto group = table.polls_by_offer_.find(worker.offer_key);
      if (table.polls_.count(worker.poll) == 0 || group == table.polls_by_offer_.end() ||
          group->second.count(worker.poll) == 0) {
        return absl::StrCat("the poll of ", name, " is not parked");
      }
    }
    int active = 0;
    for (const auto& [name, worker] : table.workers_) {
      active += worker.state == WorkerState::kActive;
    }
    if (table.ActiveWorkers() != active) return "active workers are miscounted";
    if (table.leased_tasks() != leased || leases != static_cast<size_t>(leased)) {
      return "leased tasks are miscounted";
    }
    if (table.waiting_tasks() != waiting) return "waiting tasks are miscounted";
    int64_t counted = 0;
    for (const WaitingTasks& tasks : table.Waiting()) counted += tasks.tasks;
    if (counted != waiting) return "waiting tasks are told otherwise than counted";
    if (table.parked_polls() != static_cast<int64_t>(parked)) return "polls are miscounted";
    return "";
  }

  // Everything that decides what happens next, times as far as they matter. Tokens are left to the
  // caller.
  static std::string Describe(const LeaseTable& table, int64_t now) {
    const int64_t life = absl::ToInt64Nanoseconds(table.lease_time());
    std::string text = Turns(table.order_);
    for (const int64_t id : table.Tasks()) {
      const LeaseTable::TaskEntry& entry = table.tasks_.at(id);
      absl::StrAppend(
          &text, "t", id, ",", entry.leased, entry.ended, entry.limbo, ",",
          entry.token.empty() ? "" : entry.worker, ",",
          !entry.token.empty() && entry.tenure == table.workers_.at(entry.worker).tenure,
          entry.leased ? std::max<int64_t>(0, entry.expires_ns - now) : 0, ",",
          absl::StrJoin(entry.task.failed_on, "+"), ",",
          absl::StrJoin(std::set<int64_t>(entry.sharers.begin(), entry.sharers.end()), "+"), ",");
      for (const auto& [worker, why] : entry.unable) absl::StrAppend(&text, worker, "+");
      absl::StrAppend(&text, ";");
    }
    for (const auto& [name, worker] : table.workers_) {
      absl::StrAppend(&text, name, ",", worker.instance, ",", worker.state, worker.draining,
                      worker.awaits_first_heartbeat, worker.failures_in_row, ",",
                      std::min(life, now - worker.seen_ns), ";");
    }
    for (const auto& [id, job] : table.jobs_) {
      if (job.held) absl::StrAppend(&text, "h", id, ";");
    }
    for (const auto& [id, poll] : table.polls_) {
      absl::StrAppend(&text, "p", poll.worker, ",", poll.max, ",",
                      std::max<int64_t>(0, poll.deadline_ns - now), ";");
    }
    absl::StrAppend(&text, "d", absl::StrJoin(table.dropped_, "+"));
    return text;
  }

  // Whose turn it is, as far as it can matter: how far each is ahead, and of what is behind, what
  // it may make up for.
  static std::string Turns(const FairOrder& order) {
    const auto ahead = [](double start, double now) {
      return std::max(start - now, -FairOrder::kMostCredit);
    };
    std::string text;
    for (const auto& [priority, level] : order.levels_) {
      for (const auto& [name, tenant] : level.tenants) {
        // One alone goes always next.
        if (level.tenants.size() > 1) {
          const double lead = ahead(tenant.start, level.now);
          absl::StrAppend(&text, name, ",", tenant.jobs.empty() ? std::max(0.0, lead) : lead, ",");
        }
        std::map<int64_t, FairOrder::Job> jobs;
        for (const auto& [id, job] : order.jobs_) {
          if (job.share.priority == priority && job.share.tenant == name) jobs[id] = job;
        }
        for (const auto& [id, job] : jobs) {
          if (jobs.size() == 1) break;
          const double lead = ahead(job.start, tenant.now);
          absl::StrAppend(&text, "j", id, ",", job.in ? lead : std::max(0.0, lead), ";");
        }
      }
    }
    return text;
  }

  static int Losses(const LeaseTable& table) {
    int most = 0;
    for (const auto& [id, entry] : table.tasks_) most = std::max(most, entry.losses);
    return most;
  }
};

namespace {

constexpr absl::Duration kBeat = absl::Seconds(2);
constexpr absl::Duration kLife = absl::Seconds(6);  // of a lease: three heartbeats
constexpr absl::Duration kStep = absl::Seconds(3);  // how far a step moves the clock
constexpr absl::Duration kWait = kStep;             // of a poll

class SetClock : public Clock {
 public:
  absl::Time Now() override { return absl::UnixEpoch() + absl::Nanoseconds(ns); }
  int64_t SteadyNanos() override { return ns; }
  void SleepFor(absl::Duration duration) override { ns += absl::ToInt64Nanoseconds(duration); }

  int64_t ns = 0;
};

// What is explored.
struct World {
  const char* name;
  std::vector<WorkerOffer> offers;  // of worker w0, w1, ...
  std::vector<QueuedTask> tasks;    // ids and jobs count from 1
  int jobs = 1;
  int max_tasks = 1;  // of a poll
  int depth = 0;
  int instances = 1;  // processes that may be each of the workers
  int most_epochs = 3;
  std::vector<JobShare> shares = {};  // of job 1, 2, ...
  bool sharing = false;               // jobs come to want each other's tasks
};

std::string NameOf(int worker) { return absl::StrCat("w", worker); }
// The first is that of a worker that names none.
std::string InstanceName(int instance) {
  return instance == 0 ? "" : absl::StrCat("instance ", instance);
}

enum class Op {
  kRegister,
  kPoll,
  kCancelPoll,
  kHeartbeat,
  kComplete,
  kFail,
  kUnable,
  kFailForGood,
  kRelease,
  kAdvance,
  kSweep,
  kDrain,
  kCancelTask,
  kHold,
  kEndJob,
  kShare,
  kUnshare,
  kCommit,
  kLoseCommit,
  kRestart,
};
constexpr const char* kOpNames[] = {
    "register",      "poll",    "cancel poll", "heartbeat", "complete",    "fail",   "unable",
    "fail for good", "release", "advance",     "sweep",     "drain",       "cancel", "hold",
    "end job",       "share",   "unshare",     "commit",    "lose commit", "restart"};

struct Step {
  Op op = Op::kAdvance;
  int who = 0;  // worker, task, job or token
  // Of a heartbeat: which of the worker's tokens it lists; of sharing the job; else the instance.
  uint32_t mask = 0;
};

struct Token {
  int worker = 0;  // to which it was given
  int64_t task = 0;
  std::string text;
  int64_t epoch = 0;
};

struct TaskModel {
  bool in_table = true;
  bool job_ended = false;  // leased on, leaves with its lease
  int current = -1;        // token of the lease
  int holder = -1;
  int last = -1;  // token of a lease that was lost, which may be taken up again
  bool limbo = false;
  int64_t expires = 0;
  std::multiset<int> failed_on;
  std::set<int> unable;
  std::set<int64_t> sharers;
  // What the store has.
  bool stored_open = true;
  std::multiset<int> stored_failed_on;
};

struct WorkerModel {
  bool registered = false;
  int instance = 0;
  int64_t seen = 0;
  bool draining = false;
  bool quarantined = false;
  bool awaits_heartbeat = false;
  int failures_in_row = 0;
  int64_t poll = 0;
  int64_t poll_deadline = 0;
};

struct EndedInMemory {
  int token = 0;
  int worker = 0;
  LeaseEnd end = LeaseEnd::kCompleted;
};

struct State {
  explicit State(const LeaseTable::Options& options) : table(new LeaseTable(options)) {}
  State(const State& other) { *this = other; }
  State& operator=(const State& other) {
    if (this == &other) return *this;
    table.reset(new LeaseTable(*other.table));
    now = other.now;
    tokens = other.tokens;
    tasks = other.tasks;
    workers = other.workers;
    held = other.held;
    ended = other.ended;
    stored_ended = other.stored_ended;
    dirty = other.dirty;
    pending = other.pending;
    id = other.id;
    return *this;
  }
  State(State&&) = default;
  State& operator=(State&&) = default;

  std::unique_ptr<LeaseTable> table;
  int64_t now = 0;
  std::vector<Token> tokens;
  std::vector<TaskModel> tasks;
  std::vector<WorkerModel> workers;
  std::vector<bool> held;          // by job
  std::vector<bool> ended;         // by job, as memory knows it
  std::vector<bool> stored_ended;  // as the store does
  bool dirty = false;              // there is something to commit
  std::vector<EndedInMemory> pending;
  int id = 0;  // among those visited
};

class Explorer {
 public:
  explicit Explorer(const World& world) : world_(world) {}

  // Returns what went wrong and how it came about, or "".
  std::string Run() {
    State first(TableOptions(1));
    SetShares(first.table.get());
    for (const QueuedTask& task : world_.tasks) first.table->AddTask(task);
    first.tasks.resize(world_.tasks.size());
    first.workers.resize(world_.offers.size());
    first.held.resize(world_.jobs + 1);
    first.ended.resize(world_.jobs + 1);
    first.stored_ended.resize(world_.jobs + 1);
    Visit(&first, -1, Step());
    std::vector<State> level;
    level.push_back(std::move(first));
    for (int depth = 0; depth < world_.depth && !level.empty(); ++depth) {
      std::vector<State> next;
      const bool last = depth + 1 == world_.depth;
      for (const State& state : level) {
        for (const Step& step : StepsOf(state)) {
          State after = state;
          clock_.ns = after.now;
          Apply(step, &after);
          ++transitions_;
          if (!error_.empty()) return Report(state.id, step);
          if (!Visit(&after, state.id, step)) continue;
          CheckState(after);
          if (!error_.empty()) return Report(state.id, step);
          if (!last) next.push_back(std::move(after));
        }
      }
      level = std::move(next);
    }
    return "";
  }

  int64_t states() const { return static_cast<int64_t>(seen_.size()); }
  int64_t transitions() const { return transitions_; }

 private:
  void SetShares(LeaseTable* table) const {
    for (size_t i = 0; i < world_.shares.size(); ++i) {
      table->SetShare(static_cast<int64_t>(i) + 1, world_.shares[i]);
    }
  }
  // Of a task that somebody wants.
  int32_t PriorityOf(const State& state, int64_t task) const {
    int32_t highest = std::numeric_limits<int32_t>::min();
    for (const int64_t job : WantedBy(state, task)) {
      const auto place = static_cast<size_t>(job) - 1;
      const int32_t priority = place < world_.shares.size() ? world_.shares[place].priority : 0;
      highest = std::max(highest, priority);
    }
    return highest;
  }

  // All lives are of one store.
  LeaseTable::Options TableOptions(int64_t epoch) {
    LeaseTable::Options options{&clock_, {}, kBeat};
    for (int64_t life = 1; life <= epoch; ++life) {
      options.lives.push_back({life, absl::StrCat("secret ", life), 100});
    }
    return options;
  }

  template <typename... Parts>
  void Wrong(const Parts&... parts) {
    if (error_.empty()) error_ = absl::StrCat(parts...);
  }

  std::string Say(const Step& step) const {
    return absl::StrCat(kOpNames[static_cast<int>(step.op)], " ", step.who,
                        step.mask == 0 ? "" : absl::StrCat(" mask ", step.mask));
  }

  std::string Report(int parent, const Step& step) const {
    std::vector<std::string> steps = {Say(step)};
    for (int at = parent; at > 0; at = origins_[at].first)
      steps.push_back(Say(origins_[at].second));
    std::reverse(steps.begin(), steps.end());
    return absl::StrCat(world_.name, ": ", error_, "\n  after: ", absl::StrJoin(steps, ", "));
  }

  // Whether nobody was here before.
  bool Visit(State* state, int parent, const Step& step) {
    Prune(state);
    if (!seen_.insert(absl::Hash<std::string>()(Canonical(*state))).second) return false;
    state->id = static_cast<int>(origins_.size());
    origins_.emplace_back(parent, step);
    return true;
  }

  // What a token is worth: tokens of one worker, task and worth are as good as each other.
  char WorthOf(const State& state, int token) const {
    const TaskModel& task = state.tasks[state.tokens[token].task - 1];
    if (task.current == token) return 'C';
    for (const EndedInMemory& ended : state.pending) {
      if (ended.token == token) return 'P';
    }
    if (task.last == token) return 'L';
    return state.tokens[token].epoch < state.table->epoch() ? 'O' : 'S';
  }

  // Forgets tokens that say nothing that another one does not.
  void Prune(State* state) const {
    std::set<std::string> known;
    std::vector<int> number(state->tokens.size(), -1);
    std::vector<Token> kept;
    for (size_t i = 0; i < state->tokens.size(); ++i) {
      const Token& token = state->tokens[i];
      const char worth = WorthOf(*state, static_cast<int>(i));
      const bool fresh =
          known.insert(absl::StrCat(token.worker, ",", token.task, ",", std::string(1, worth)))
              .second;
      if (!fresh && (worth == 'O' || worth == 'S')) continue;
      number[i] = static_cast<int>(kept.size());
      kept.push_back(token);
    }
    const auto renumber = [&](int* token) { *token = *token < 0 ? -1 : number[*token]; };
    for (TaskModel& task : state->tasks) {
      renumber(&task.current);
      renumber(&task.last);
    }
    for (EndedInMemory& ended : state->pending) renumber(&ended.token);
    state->tokens = std::move(kept);
  }

  std::string Canonical(const State& state) const {
    std::string text = LeaseTablePeer::Describe(*state.table, state.now);
    absl::StrAppend(&text, "|", std::min<int64_t>(state.table->epoch(), world_.most_epochs), "|");
    std::vector<std::string> tokens;
    for (size_t i = 0; i < state.tokens.size(); ++i) {
      const Token& token = state.tokens[i];
      tokens.push_back(absl::StrCat(token.worker, ",", token.task, ",",
                                    token.epoch < state.table->epoch(), ",",
                                    std::string(1, WorthOf(state, static_cast<int>(i)))));
    }
    std::sort(tokens.begin(), tokens.end());
    absl::StrAppend(&text, absl::StrJoin(tokens, ";"), "|");
    for (const TaskModel& task : state.tasks) {
      absl::StrAppend(&text, task.stored_open, ",", absl::StrJoin(task.stored_failed_on, "+"), ";");
    }
    for (size_t job = 1; job < state.ended.size(); ++job) {
      absl::StrAppend(&text, state.ended[job], state.stored_ended[job], state.held[job], ";");
    }
    absl::StrAppend(&text, state.dirty, "|");
    for (const EndedInMemory& ended : state.pending) {
      absl::StrAppend(&text, state.tokens[ended.token].task, ",", ended.worker, ",", ended.end,
                      ";");
    }
    return text;
  }

  std::vector<int> TokensOf(const State& state, int worker) const {
    std::vector<int> tokens;
    for (size_t i = 0; i < state.tokens.size(); ++i) {
      if (state.tokens[i].worker == worker) tokens.push_back(static_cast<int>(i));
    }
    return tokens;
  }

  std::vector<Step> StepsOf(const State& state) const {
    std::vector<Step> steps = {{Op::kAdvance}, {Op::kSweep}};
    for (int w = 0; w < static_cast<int>(state.workers.size()); ++w) {
      const WorkerModel& worker = state.workers[w];
      for (int instance = 0; instance < world_.instances; ++instance) {
        if (TakenFor(state, w, instance) > 0) continue;
        steps.push_back({Op::kRegister, w, static_cast<uint32_t>(instance)});
      }
      if (!worker.registered) continue;
      steps.push_back({Op::kPoll, w});
      if (worker.poll != 0) steps.push_back({Op::kCancelPoll, w});
      if (!worker.draining) steps.push_back({Op::kDrain, w});
      const size_t subsets = size_t{1} << TokensOf(state, w).size();
      for (uint32_t mask = 0; mask < subsets; ++mask) steps.push_back({Op::kHeartbeat, w, mask});
    }
    for (int token = 0; token < static_cast<int>(state.tokens.size()); ++token) {
      const int worker = state.tokens[token].worker;
      if (!state.workers[worker].registered) continue;
      steps.push_back({Op::kComplete, token});
      steps.push_back({Op::kRelease, token});
      if (!Takes(state, state.tokens[token].task, token, worker)) continue;
      steps.push_back({Op::kFail, token});
      steps.push_back({Op::kUnable, token});
      steps.push_back({Op::kFailForGood, token});
    }
    for (int task = 1; task <= static_cast<int>(state.tasks.size()); ++task) {
      if (state.tasks[task - 1].in_table) steps.push_back({Op::kCancelTask, task});
    }
    for (int job = 1; job <= world_.jobs; ++job) {
      if (state.ended[job]) continue;
      steps.push_back({Op::kHold, job});
      steps.push_back({Op::kEndJob, job});
    }
    for (int task = 1; world_.sharing && task <= static_cast<int>(state.tasks.size()); ++task) {
      const TaskModel& entry = state.tasks[task - 1];
      for (int job = 1; entry.in_table && job <= world_.jobs; ++job) {
        if (state.ended[job] || world_.tasks[task - 1].job == job) continue;
        steps.push_back({entry.sharers.count(job) == 0 ? Op::kShare : Op::kUnshare, task,
                         static_cast<uint32_t>(job)});
      }
    }
    if (state.dirty) {
      steps.push_back({Op::kCommit});
      steps.push_back({Op::kLoseCommit});
    }
    if (state.table->epoch() < world_.most_epochs) steps.push_back({Op::kRestart});
    return steps;
  }

  // The contract: for how long this instance may not be the worker.
  int64_t TakenFor(const State& state, int w, int instance) const {
    const WorkerModel& worker = state.workers[w];
    if (!worker.registered || worker.instance == instance) return 0;
    const bool holds = std::any_of(state.tasks.begin(), state.tasks.end(),
                                   [w](const TaskModel& task) { return task.holder == w; });
    if (worker.draining && !holds) return 0;
    return std::max<int64_t>(0, worker.seen + absl::ToInt64Nanoseconds(kLife) - state.now);
  }

  // The worker speaks up, as it does before each of its calls.
  void Speak(State* state, int w) {
    WorkerModel& worker = state->workers[w];
    const absl::Status status =
        state->table->CheckInstance(NameOf(w), InstanceName(worker.instance));
    if (!status.ok()) Wrong("worker ", w, " may not speak: ", status.ToString());
    worker.seen = state->now;
  }

  // The contract: whether this worker may end (or renew) the task's lease with this token.
  bool Takes(const State& state, int64_t task, int token, int worker) const {
    const TaskModel& model = state.tasks[task - 1];
    if (!model.in_table) return false;
    if (model.current >= 0) return model.current == token && model.holder == worker;
    if (state.workers[worker].quarantined || !Offers(worker, task)) return false;
    const Token& given = state.tokens[token];
    if (given.worker != worker) return false;
    if (model.last == token) return true;
    return given.epoch < state.table->epoch();
  }

  bool Offers(int worker, int64_t task) const {
    return Satisfies(world_.offers[worker], world_.tasks[task - 1].needs);
  }

  bool Grantable(const State& state, int worker, int64_t task) const {
    const TaskModel& model = state.tasks[task - 1];
    return model.in_table && model.current < 0 && !model.job_ended && Wanted(state, task) &&
           Offers(worker, task) && model.unable.count(worker) == 0;
  }

  // Jobs that want the task and are not held.
  std::vector<int64_t> WantedBy(const State& state, int64_t task) const {
    std::vector<int64_t> jobs = {world_.tasks[task - 1].job};
    jobs.insert(jobs.end(), state.tasks[task - 1].sharers.begin(),
                state.tasks[task - 1].sharers.end());
    std::erase_if(jobs, [&](int64_t job) { return state.held[job]; });
    return jobs;
  }
  bool Wanted(const State& state, int64_t task) const { return !WantedBy(state, task).empty(); }

  int GrantableTo(const State& state, int worker) const {
    const WorkerModel& model = state.workers[worker];
    if (!model.registered || model.draining || model.quarantined) return 0;
    int count = 0;
    for (size_t task = 1; task <= state.tasks.size(); ++task) {
      count += Grantable(state, worker, static_cast<int64_t>(task));
    }
    return count;
  }

  void Hold(State* state, int64_t task, int token, int worker) {
    TaskModel& model = state->tasks[task - 1];
    model.current = token;
    model.holder = worker;
    model.last = -1;
    model.limbo = false;
    model.expires = state->now + absl::ToInt64Nanoseconds(kLife);
  }

  // The lease is lost, or given up (then `last` is -1).
  void Lose(State* state, int64_t task, int last) {
    TaskModel& model = state->tasks[task - 1];
    model.current = -1;
    model.holder = -1;
    model.limbo = false;
    model.last = last;
    if (model.job_ended) {
      Leave(state, task);
      state->dirty = true;  // its record is closed
    }
  }

  static void Leave(State* state, int64_t task) {
    TaskModel& model = state->tasks[task - 1];
    model.in_table = false;
    model.current = -1;
    model.holder = -1;
    model.last = -1;
    model.sharers.clear();
  }

  void Grants(State* state, int worker, const std::vector<Grant>& grants, int expected) {
    const WorkerModel& model = state->workers[worker];
    if (!model.registered || model.draining || model.quarantined) {
      if (!grants.empty()) Wrong("a worker that may get nothing got a task");
    }
    if (static_cast<int>(grants.size()) != expected) {
      Wrong("worker ", worker, " got ", grants.size(), " tasks instead of ", expected);
    }
    for (const Grant& grant : grants) {
      if (!Grantable(*state, worker, grant.task)) {
        Wrong("task ", grant.task, " was given to worker ", worker, ", which may not have it");
      }
      for (size_t other = 1; other <= state->tasks.size(); ++other) {
        const auto task = static_cast<int64_t>(other);
        if (Grantable(*state, worker, task) &&
            PriorityOf(*state, task) > PriorityOf(*state, grant.task)) {
          Wrong("task ", grant.task, " went before task ", task, " of higher priority");
        }
      }
      for (const Token& token : state->tokens) {
        if (token.text == grant.token) Wrong("token ", grant.token, " was given twice");
      }
      state->tokens.push_back({worker, grant.task, grant.token, state->table->epoch()});
      Hold(state, grant.task, static_cast<int>(state->tokens.size()) - 1, worker);
    }
  }

  int WorkerOfPoll(const State& state, int64_t poll) const {
    for (size_t w = 0; w < state.workers.size(); ++w) {
      if (state.workers[w].poll == poll) return static_cast<int>(w);
    }
    return -1;
  }

  // As the controller does after every call.
  void Match(State* state) {
    for (const Delivery& delivery : state->table->Match()) {
      const int worker = WorkerOfPoll(*state, delivery.poll);
      if (worker < 0) {
        if (!delivery.grants.empty()) Wrong("a poll that is over got a task");
        continue;
      }
      state->workers[worker].poll = 0;
      Grants(state, worker, delivery.grants,
             std::min(world_.max_tasks, GrantableTo(*state, worker)));
    }
    for (size_t w = 0; w < state->workers.size(); ++w) {
      if (state->workers[w].poll != 0 && GrantableTo(*state, static_cast<int>(w)) > 0) {
        Wrong("worker ", w, " is parked beside a task that it could do");
      }
    }
  }

  // CheckLease against the contract; whether it was taken.
  bool CheckToken(State* state, int token, int worker) {
    const Token given = state->tokens[token];
    const bool takes = Takes(*state, given.task, token, worker);
    const absl::Status status = state->table->CheckLease(given.task, given.text, NameOf(worker));
    if (status.ok() != takes || (!takes && !absl::IsAborted(status))) {
      Wrong("token ", given.text, " of task ", given.task, " by worker ", worker, ": ",
            status.ToString(), takes ? ", though it is current" : ", though it is not current");
    }
    if (takes) Hold(state, given.task, token, worker);
    return takes;
  }

  void EndInMemory(State* state, int token, int worker, LeaseEnd end) {
    state->pending.push_back({token, worker, end});
    state->dirty = true;
  }

  void Fail(State* state, int token, bool unable) {
    const Token given = state->tokens[token];
    const int worker = given.worker;
    const FailureOutcome outcome = state->table->Fail(given.task, unable, "why");
    WorkerModel& who = state->workers[worker];
    TaskModel& task = state->tasks[given.task - 1];
    if (++who.failures_in_row >= 3) {
      who.quarantined = true;
      who.poll = 0;
    }
    if (outcome.quarantined != (who.failures_in_row >= 3)) Wrong("quarantine differs");
    if (unable) {
      task.unable.insert(worker);
    } else {
      task.failed_on.insert(worker);
    }
    const std::set<int> on(task.failed_on.begin(), task.failed_on.end());
    const bool poisoned = task.failed_on.size() >= 3 || on.size() >= 2;
    if (outcome.poisoned != poisoned) Wrong("poison differs");
    if (poisoned) {
      Leave(state, given.task);
    } else {
      Lose(state, given.task, -1);
    }
    EndInMemory(state, token, worker, unable ? LeaseEnd::kUnable : LeaseEnd::kFailed);
  }

  void Heartbeat(State* state, int worker, uint32_t mask) {
    Speak(state, worker);
    std::vector<std::pair<int64_t, std::string>> held;
    std::vector<std::string> lost;
    const std::vector<int> tokens = TokensOf(*state, worker);
    for (size_t i = 0; i < tokens.size(); ++i) {
      if ((mask >> i & 1) == 0) continue;
      const Token& token = state->tokens[tokens[i]];
      held.emplace_back(token.task, token.text);
      if (Takes(*state, token.task, tokens[i], worker)) {
        Hold(state, token.task, tokens[i], worker);
      } else {
        lost.push_back(token.text);
      }
    }
    const auto reply = state->table->Heartbeat(NameOf(worker), held);
    WorkerModel& model = state->workers[worker];
    if (!reply.ok()) return Wrong("heartbeat: ", reply.status().ToString());
    if (reply->lost_tokens != lost) {
      Wrong("lost tokens: ", absl::StrJoin(reply->lost_tokens, ","), " instead of ",
            absl::StrJoin(lost, ","));
    }
    if (reply->drain != (model.draining && !model.quarantined)) Wrong("drain differs");
    if (!model.awaits_heartbeat) return;
    model.awaits_heartbeat = false;
    for (size_t task = 1; task <= state->tasks.size(); ++task) {
      const TaskModel& entry = state->tasks[task - 1];
      if (entry.holder == worker && entry.limbo)
        Lose(state, static_cast<int64_t>(task), entry.current);
    }
  }

  void Sweep(State* state) {
    int64_t expired = 0;
    for (size_t task = 1; task <= state->tasks.size(); ++task) {
      const TaskModel& entry = state->tasks[task - 1];
      if (entry.current < 0 || entry.expires > state->now) continue;
      ++expired;
      Lose(state, static_cast<int64_t>(task), entry.current);
    }
    for (WorkerModel& worker : state->workers) {
      if (worker.poll != 0 && worker.poll_deadline <= state->now) worker.poll = 0;
    }
    const SweepResult swept = state->table->Sweep();
    if (swept.expired_leases != expired) Wrong("swept ", swept.expired_leases, " of ", expired);
    if (!swept.poisoned.empty()) Wrong("poisoned by losses before there were ten");
    for (const int64_t task : swept.dropped) {
      if (state->tasks[task - 1].in_table) Wrong("task ", task, " was dropped");
    }
  }

  void Register(State* state, int w, int instance) {
    state->table->RegisterWorker(NameOf(w), world_.offers[w], InstanceName(instance));
    WorkerModel& worker = state->workers[w];
    const bool takeover = worker.registered && worker.instance != instance;
    for (size_t task = 1; takeover && task <= state->tasks.size(); ++task) {
      TaskModel& entry = state->tasks[task - 1];
      if (entry.holder == w) Lose(state, static_cast<int64_t>(task), -1);
      if (entry.last >= 0 && state->tokens[entry.last].worker == w) entry.last = -1;
    }
    worker = WorkerModel();
    worker.registered = true;
    worker.instance = instance;
    worker.seen = state->now;
    worker.awaits_heartbeat = true;
    for (TaskModel& task : state->tasks) {
      task.unable.erase(w);
      if (task.holder == w) task.limbo = true;
    }
  }

  void Poll(State* state, int w) {
    Speak(state, w);
    WorkerModel& worker = state->workers[w];
    const int expected = std::min(world_.max_tasks, GrantableTo(*state, w));
    const auto grants = state->table->Lease(NameOf(w), world_.max_tasks);
    if (worker.quarantined) {
      if (!absl::IsFailedPrecondition(grants.status())) Wrong("a quarantined worker may poll");
      return;
    }
    if (!grants.ok()) return Wrong("poll: ", grants.status().ToString());
    Grants(state, w, *grants, expected);
    if (!grants->empty() || worker.draining) return;
    worker.poll = state->table->Park(NameOf(w), world_.max_tasks, kWait);
    worker.poll_deadline = state->now + absl::ToInt64Nanoseconds(kWait);
  }

  void EndJob(State* state, int job) {
    std::vector<int64_t> left;
    for (size_t task = 1; task <= state->tasks.size(); ++task) {
      TaskModel& entry = state->tasks[task - 1];
      entry.sharers.erase(job);
      if (world_.tasks[task - 1].job != job || !entry.in_table) continue;
      if (entry.current >= 0) {
        entry.job_ended = true;
      } else {
        left.push_back(static_cast<int64_t>(task));
        Leave(state, static_cast<int64_t>(task));
      }
    }
    if (state->table->EndJob(job) != left) Wrong("other tasks left with their job");
    state->ended[job] = true;
    state->held[job] = false;
    state->dirty = true;
  }

  static void Commit(State* state) {
    for (TaskModel& task : state->tasks) {
      task.stored_open = task.in_table;
      task.stored_failed_on = task.failed_on;
    }
    state->stored_ended = state->ended;
    state->pending.clear();
    state->dirty = false;
  }

  QueuedTask StoredTask(const State& state, size_t task) const {
    QueuedTask queued = world_.tasks[task - 1];
    for (const int worker : state.tasks[task - 1].stored_failed_on) {
      queued.failed_on.push_back(NameOf(worker));
    }
    return queued;
  }

  // As the controller reads everything anew after a commit that was not kept.
  void LoseCommit(State* state) {
    state->ended = state->stored_ended;
    SetShares(state->table.get());
    state->table->UnshareAll();
    for (size_t task = 1; task <= state->tasks.size(); ++task) {
      TaskModel& entry = state->tasks[task - 1];
      entry.sharers.clear();
      if (!entry.stored_open || state->ended[world_.tasks[task - 1].job]) continue;
      state->table->AddTask(StoredTask(*state, task));
      entry.failed_on = entry.stored_failed_on;
      entry.job_ended = false;
      if (entry.in_table) continue;
      entry.in_table = true;
      entry.unable.clear();
      entry.last = -1;
    }
    for (const EndedInMemory& ended : state->pending) {
      const Token& token = state->tokens[ended.token];
      state->table->Restore(token.task, token.text, NameOf(ended.worker), ended.end);
      TaskModel& entry = state->tasks[token.task - 1];
      WorkerModel& worker = state->workers[ended.worker];
      if (!entry.in_table || entry.current >= 0) continue;
      if (ended.end == LeaseEnd::kFailed || ended.end == LeaseEnd::kUnable) {
        worker.failures_in_row = std::max(0, worker.failures_in_row - 1);
        if (worker.failures_in_row < 3) worker.quarantined = false;
      }
      if (ended.end == LeaseEnd::kUnable) entry.unable.erase(ended.worker);
      Hold(state, token.task, ended.token, ended.worker);
    }
    for (int job = 1; job <= world_.jobs; ++job) state->table->HoldJob(job, state->held[job]);
    state->pending.clear();
    state->dirty = false;
  }

  void Restart(State* state) {
    state->table.reset(new LeaseTable(TableOptions(state->table->epoch() + 1)));
    state->ended = state->stored_ended;
    SetShares(state->table.get());
    for (size_t task = 1; task <= state->tasks.size(); ++task) {
      TaskModel entry;
      entry.stored_open = state->tasks[task - 1].stored_open;
      entry.stored_failed_on = state->tasks[task - 1].stored_failed_on;
      entry.failed_on = entry.stored_failed_on;
      entry.in_table = entry.stored_open && !state->ended[world_.tasks[task - 1].job];
      state->tasks[task - 1] = entry;
      if (entry.in_table) state->table->AddTask(StoredTask(*state, task));
    }
    for (int job = 1; job <= world_.jobs; ++job) state->table->HoldJob(job, state->held[job]);
    for (WorkerModel& worker : state->workers) worker = WorkerModel();
    state->pending.clear();
    state->dirty = false;
  }

  void Apply(const Step& step, State* state) {
    const int who = step.who;
    switch (step.op) {
      case Op::kRegister:
        Register(state, who, static_cast<int>(step.mask));
        break;
      case Op::kPoll:
        Poll(state, who);
        break;
      case Op::kCancelPoll:
        state->table->CancelPoll(state->workers[who].poll);
        state->workers[who].poll = 0;
        break;
      case Op::kHeartbeat:
        Heartbeat(state, who, step.mask);
        break;
      case Op::kComplete:
      case Op::kFailForGood: {
        const Token token = state->tokens[who];
        Speak(state, token.worker);
        if (!CheckToken(state, who, token.worker)) break;
        const bool completed = step.op == Op::kComplete;
        if (completed) {
          state->table->Complete(token.task);
          state->workers[token.worker].failures_in_row = 0;
        } else {
          state->table->FailForGood(token.task, "no");
        }
        Leave(state, token.task);
        EndInMemory(state, who, token.worker,
                    completed ? LeaseEnd::kCompleted : LeaseEnd::kFailedForGood);
        break;
      }
      case Op::kFail:
      case Op::kUnable:
        Speak(state, state->tokens[who].worker);
        if (CheckToken(state, who, state->tokens[who].worker)) {
          Fail(state, who, step.op == Op::kUnable);
        }
        break;
      case Op::kRelease: {
        const Token token = state->tokens[who];
        Speak(state, token.worker);
        const bool takes = Takes(*state, token.task, who, token.worker);
        const absl::Status status =
            state->table->Release(token.task, token.text, NameOf(token.worker));
        if (status.ok() != takes || (!takes && !absl::IsAborted(status))) {
          Wrong("release: ", status.ToString());
        }
        if (takes) Lose(state, token.task, -1);
        break;
      }
      case Op::kAdvance:
        state->now += absl::ToInt64Nanoseconds(kStep);
        clock_.ns = state->now;
        break;
      case Op::kSweep:
        Sweep(state);
        break;
      case Op::kDrain:
        if (!state->table->DrainWorker(NameOf(who)).ok()) Wrong("drain");
        state->workers[who].quarantined = false;  // It is to leave, and gets nothing.
        state->workers[who].draining = true;
        state->workers[who].poll = 0;
        break;
      case Op::kCancelTask:
        state->table->RemoveTask(who);
        Leave(state, who);
        state->dirty = true;
        break;
      case Op::kHold:
        state->held[who] = !state->held[who];
        state->table->HoldJob(who, state->held[who]);
        break;
      case Op::kEndJob:
        EndJob(state, who);
        break;
      case Op::kShare:
        state->table->ShareTask(who, step.mask);
        state->tasks[who - 1].sharers.insert(step.mask);
        break;
      case Op::kUnshare:
        state->table->UnshareTask(who, step.mask);
        state->tasks[who - 1].sharers.erase(step.mask);
        break;
      case Op::kCommit:
        Commit(state);
        break;
      case Op::kLoseCommit:
        LoseCommit(state);
        break;
      case Op::kRestart:
        Restart(state);
        break;
    }
    Match(state);
  }

  void CheckState(const State& state) {
    const std::string books = LeaseTablePeer::Disagreement(*state.table);
    if (!books.empty()) return Wrong(books);
    if (LeaseTablePeer::Losses(*state.table) >= 9) return Wrong("the depth lets leases poison");
    int64_t waiting = 0;
    int64_t leased = 0;
    int64_t parked = 0;
    for (size_t task = 1; task <= state.tasks.size(); ++task) {
      const TaskModel& entry = state.tasks[task - 1];
      leased += entry.current >= 0;
      waiting += entry.in_table && entry.current < 0;
      if (state.table->IsLeased(static_cast<int64_t>(task)) != (entry.current >= 0)) {
        Wrong("task ", task, entry.current >= 0 ? " lost its lease" : " has a lease");
      }
    }
    for (const WorkerModel& worker : state.workers) parked += worker.poll != 0;
    if (state.table->leased_tasks() != leased || state.table->waiting_tasks() != waiting ||
        state.table->parked_polls() != parked) {
      Wrong("counted ", state.table->waiting_tasks(), " waiting, ", state.table->leased_tasks(),
            " leased, ", state.table->parked_polls(), " parked instead of ", waiting, ", ", leased,
            ", ", parked);
    }
    CheckInstances(state);
    CheckTokens(state);
    CheckNothingIsLost(state);
  }

  void CheckInstances(const State& state) {
    for (int w = 0; w < static_cast<int>(state.workers.size()); ++w) {
      const WorkerModel& worker = state.workers[w];
      for (int instance = 0; instance < world_.instances; ++instance) {
        const int64_t taken = TakenFor(state, w, instance);
        if (state.table->TakenFor(NameOf(w), InstanceName(instance)) != absl::Nanoseconds(taken)) {
          Wrong("instance ", instance, " of worker ", w, " is kept out for another time");
        }
        if (worker.registered && worker.instance == instance) continue;
        const absl::Status status = state.table->CheckInstance(NameOf(w), InstanceName(instance));
        if (taken > 0 ? !absl::IsFailedPrecondition(status) : !absl::IsNotFound(status)) {
          Wrong("instance ", instance, " spoke for worker ", w, ": ", status.ToString());
        }
      }
    }
  }

  void CheckTokens(const State& state) {
    for (int token = 0; token < static_cast<int>(state.tokens.size()); ++token) {
      for (int worker = 0; worker < static_cast<int>(state.workers.size()); ++worker) {
        if (!state.workers[worker].registered) continue;
        State probe = state;
        clock_.ns = probe.now;
        CheckToken(&probe, token, worker);
      }
    }
  }

  void CheckNothingIsLost(const State& state) {
    WorkerOffer all = world_.offers[0];
    const int most = static_cast<int>(state.tasks.size());
    std::set<int64_t> open;
    std::set<int64_t> waiting;
    for (size_t task = 1; task <= state.tasks.size(); ++task) {
      const TaskModel& entry = state.tasks[task - 1];
      if (entry.in_table && !entry.job_ended) open.insert(static_cast<int64_t>(task));
      if (entry.in_table && entry.current < 0 && Wanted(state, static_cast<int64_t>(task))) {
        waiting.insert(static_cast<int64_t>(task));
      }
    }
    clock_.ns = state.now;
    LeaseTable now = *state.table;
    now.RegisterWorker("fresh", all);
    const auto grants = now.Lease("fresh", most);
    if (!grants.ok()) return Wrong("a fresh worker: ", grants.status().ToString());
    std::set<int64_t> got;
    for (const Grant& grant : *grants) {
      got.insert(grant.task);
      if (!now.CheckLease(grant.task, grant.token, "fresh").ok()) Wrong("a fresh lease is stale");
      now.Complete(grant.task);
      if (!absl::IsAborted(now.CheckLease(grant.task, grant.token, "fresh"))) {
        Wrong("a completed task takes a second result");
      }
    }
    if (got != waiting) Wrong("a fresh worker got other tasks than those that wait");

    LeaseTable later = *state.table;
    for (const WorkerModel& worker : state.workers) later.CancelPoll(worker.poll);
    for (int job = 1; job <= world_.jobs; ++job) later.HoldJob(job, false);
    clock_.ns = state.now + absl::ToInt64Nanoseconds(kLife);
    later.Sweep();
    later.RegisterWorker("fresh", all);
    later.Park("fresh", most, absl::Minutes(1));
    got.clear();
    for (const Delivery& delivery : later.Match()) {
      for (const Grant& grant : delivery.grants) got.insert(grant.task);
    }
    if (got != open) Wrong("a task was lost: once leases ran out not everything is handed out");
    clock_.ns = state.now;
  }

  const World world_;
  SetClock clock_;
  absl::flat_hash_set<size_t> seen_;
  std::vector<std::pair<int, Step>> origins_;  // of each state: from which, by what
  int64_t transitions_ = 0;
  std::string error_;
};

WorkerOffer Offer(std::vector<TaskKind> kinds = {}) {
  WorkerOffer offer;
  offer.device = "pc";
  offer.device_fingerprint = "f";
  offer.profile = "p";
  offer.datasets = {"d"};
  offer.kinds = std::move(kinds);
  return offer;
}

QueuedTask Task(int64_t id, int64_t job, TaskKind kind) {
  QueuedTask task;
  task.id = id;
  task.job = job;
  task.needs.kind = kind;
  return task;
}

int Depth(int usual) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  --usual;  // What a sanitizer could find shows in shorter lives.
#endif
  const char* const asked = std::getenv("FORALL_LEASE_DEEPER");
  int deeper = 0;
  return asked != nullptr && absl::SimpleAtoi(asked, &deeper) ? usual + deeper : usual;
}

void Explore(const World& world) {
  Explorer explorer(world);
  const std::string wrong = explorer.Run();
  EXPECT_EQ(wrong, "");
  std::cout << world.name << ": depth " << world.depth << ", " << explorer.states() << " states, "
            << explorer.transitions() << " transitions\n";
  // A model whose steps do nothing would find nothing wrong.
  EXPECT_GT(explorer.states(), 100);
}

TEST(LeaseTableModelTest, TwoWorkersAndOneTask) {
  Explore({"one task", {Offer(), Offer()}, {Task(1, 1, TaskKind::kAccuracy)}, 1, 1, Depth(9)});
}

TEST(LeaseTableModelTest, TwoWorkersAndTwoTasksOfTwoJobs) {
  Explore({"two jobs",
           {Offer(), Offer()},
           {Task(1, 1, TaskKind::kAccuracy), Task(2, 2, TaskKind::kLatency)},
           2,
           1,
           Depth(7)});
}

TEST(LeaseTableModelTest, JobsOfUnlikePriorityAndTenant) {
  Explore({"three jobs of two priorities",
           {Offer(), Offer({TaskKind::kAccuracy})},
           {Task(1, 1, TaskKind::kAccuracy), Task(2, 2, TaskKind::kAccuracy),
            Task(3, 3, TaskKind::kLatency)},
           3,
           2,
           Depth(5),
           1,
           3,
           {{.tenant = "a", .weight = 3}, {.tenant = "b"}, {.priority = 1, .tenant = "a"}}});
}

TEST(LeaseTableModelTest, TasksThatSeveralJobsWant) {
  Explore({"two jobs that share",
           {Offer(), Offer({TaskKind::kAccuracy})},
           {Task(1, 1, TaskKind::kAccuracy), Task(2, 2, TaskKind::kAccuracy)},
           3,
           1,
           Depth(5),
           1,
           2,
           {{.tenant = "a"}, {.tenant = "b"}, {.priority = 1, .tenant = "a"}},
           true});
}

TEST(LeaseTableModelTest, ThreeInstancesOfOneWorker) {
  Explore({"one worker of three instances",
           {Offer()},
           {Task(1, 1, TaskKind::kAccuracy)},
           1,
           1,
           Depth(9),
           3});
}

TEST(LeaseTableModelTest, TwoWorkersOfTwoInstancesEach) {
  Explore({"two workers of two instances",
           {Offer(), Offer()},
           {Task(1, 1, TaskKind::kAccuracy), Task(2, 1, TaskKind::kAccuracy)},
           1,
           1,
           Depth(6),
           2});
}

TEST(LeaseTableModelTest, UnlikeWorkersThatTakeTwoOfThreeTasks) {
  Explore({"three tasks",
           {Offer(), Offer({TaskKind::kAccuracy})},
           {Task(1, 1, TaskKind::kExport), Task(2, 1, TaskKind::kAccuracy),
            Task(3, 1, TaskKind::kAccuracy)},
           1,
           2,
           Depth(6)});
}

}  // namespace
}  // namespace forall
