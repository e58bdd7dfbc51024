// SPDX-License-Identifier: Apache-2.0
#include "bench/sqlite_limit.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "search/store/evidence_codec.h"
#include "search/store/sqlite_db.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/stored_value.h"

namespace forall {
namespace {

constexpr int64_t kResults = 60'000;  // at most

std::string Key(const char* what, int64_t number) {
  return absl::StrFormat("%s%063d", what, number);
}

std::map<std::string, std::string> Environment() {
  return {{"governor", "performance"},
          {"load_average", "0.42"},
          {"temperature_celsius", "51.0"},
          {"frequency_khz", "2450000"},
          {"core", "1"},
          {"warnings", "no turbo control, a virtual machine"}};
}

std::string MeasuredEvent(int64_t id) {
  return absl::StrCat(R"({"trial":)", id, R"(,"task":)", id, R"(,"target":0,"measurements":[)", id,
                      R"(],"fidelity":"screening"})");
}

std::string DecidedEvent(int64_t id) {
  return absl::StrCat(
      R"({"trial":)", id,
      R"(,"state":2,"values":[1.2512345678,23456789.0],"hypervolume":0.41234567,"frontier":12})");
}

// A job whose tasks are all open, as they are when workers complete them.
absl::Status Prepare(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<SqliteResultStore> store,
                          SqliteResultStore::Create({.path = path}));
  FORALL_RETURN_IF_ERROR(store->BeginEpoch().status());
  const absl::Time now = Clock::Real()->Now();
  StoreBatch batch;
  JobRecord job;
  job.id = 1;
  job.spec = std::string(200, 's');
  job.supernet_sha256 = Key("s", 1);
  job.create_time = job.update_time = now;
  batch.insert_jobs.push_back(job);
  for (int64_t id = 1; id <= kResults; ++id) {
    TrialRecord trial;
    trial.id = trial.ordinal = id;
    trial.job_id = 1;
    trial.search_space = "fashion_mnist";
    trial.choices = std::vector<int32_t>(20, 1);
    trial.arch_key = Key("a", id);
    trial.graph_key = Key("g", id);
    trial.artifact_sha256 = Key("o", 1);
    trial.create_time = now;
    batch.insert_trials.push_back(std::move(trial));
    TaskRecord task;
    task.id = id;
    task.job_id = 1;
    task.trial_id = id;
    task.kind = TaskKind::kLatency;
    task.payload = std::string(450, 'p');
    batch.insert_tasks.push_back(std::move(task));
  }
  FORALL_RETURN_IF_ERROR(store->Commit(std::move(batch)));
  store->Stop();
  return absl::OkStatus();
}

class Loop {
 public:
  explicit Loop(std::unique_ptr<Db> db) : db_(std::move(db)) {}

  absl::Status Start() {
    FORALL_RETURN_IF_ERROR(
        db_->Execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = "
                     "MEMORY; PRAGMA journal_mode = WAL"));
    // What all results share.
    for (const char* text : {"", "w", "latency_ms", "bench", "prediction", "build", "fp32"}) {
      FORALL_RETURN_IF_ERROR(db_->Run("INSERT OR IGNORE INTO keys (text) VALUES (?)", text));
    }
    FORALL_ASSIGN_OR_RETURN(key_, db_->QueryInt64("SELECT id FROM keys WHERE text = 'bench'"));
    FORALL_RETURN_IF_ERROR(
        db_->Run("INSERT INTO conditions (device, device_class, device_fingerprint, profile, "
                 "dataset, split, recipe, batch) VALUES (?1, ?1, ?1, ?1, ?1, ?1, ?1, 1)",
                 key_));
    FORALL_ASSIGN_OR_RETURN(Statement rows, db_->Query("SELECT graph FROM trials ORDER BY id"));
    FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
      graphs_.push_back(rows.Int64(0));
      return absl::OkStatus();
    }));
    FORALL_ASSIGN_OR_RETURN(artifact_, db_->QueryInt64("SELECT artifact FROM trials WHERE id = 1"));
    FORALL_ASSIGN_OR_RETURN(nothing_, CompressBytes(""));
    FORALL_ASSIGN_OR_RETURN(environment_, CompressBytes(ToStoredMap(Environment())));
    return absl::OkStatus();
  }

  absl::Status Commit(int results) {
    FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(db_.get()));
    for (int i = 0; i < results; ++i) FORALL_RETURN_IF_ERROR(Store(++stored_));
    return transaction.Commit();
  }

  int64_t stored() const { return stored_; }

 private:
  absl::Status Store(int64_t id) {
    const int64_t now = ToStoredTime(Clock::Real()->Now());
    const std::string token = absl::StrCat("1-", id);
    const std::string fingerprint = Key("f", id);
    FORALL_RETURN_IF_ERROR(
        db_->Run("INSERT INTO task_ends (task, state, attempts, completed_by, completed_token, "
                 "result_fingerprint, error, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                 id, TaskState::kDone, 1, key_, token, fingerprint, "", 1.5));
    FORALL_RETURN_IF_ERROR(db_->Run(
        "INSERT INTO measurements (id, job, trial, task, subject, metric, condition, value, low, "
        "high, interval_kind, sample_count, verdict, reasons, fidelity, worker, worker_build, "
        "lease_token, time, retracted_by) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        id, 1, id, id, graphs_[id - 1], key_, 1, 1.25, 1.24, 1.26, key_, 64, 1, "[]", 1, key_, key_,
        token, now, ""));
    FORALL_RETURN_IF_ERROR(
        db_->Run("INSERT INTO latencies (measurement, ratio, raw_median_ms, reference_median_ms, "
                 "baseline_reference_ms, baseline) VALUES (?, ?, ?, ?, ?, ?)",
                 id, 1.25, 1.27, 1.02, 1.0, key_));
    FORALL_RETURN_IF_ERROR(db_->Run(
        "INSERT INTO evidence (measurement, samples, reference_samples, top1_bitmap, environment) "
        "VALUES (?, ?, ?, ?, ?)",
        id, Blob{nothing_}, Blob{nothing_}, Blob{nothing_}, Blob{environment_}));
    FORALL_RETURN_IF_ERROR(AppendEvent("measured", MeasuredEvent(id), now));
    FORALL_RETURN_IF_ERROR(AppendEvent("decided", DecidedEvent(id), now));
    return db_->Run(
        "UPDATE trials SET artifact = ?, state = ?, error = ?, reused = ?, end_time = ? "
        "WHERE id = ?",
        artifact_, TrialState::kMeasured, "", 0, now, id);
  }

  absl::Status AppendEvent(const char* kind, const std::string& payload, int64_t now) {
    return db_->Run("INSERT INTO job_events (job, seq, kind, payload, time) VALUES (1, ?, ?, ?, ?)",
                    ++sequence_, kind, payload, now);
  }

  const std::unique_ptr<Db> db_;
  int64_t key_ = 0;
  std::vector<int64_t> graphs_;  // of the trials
  int64_t artifact_ = 0;
  int64_t stored_ = 0;
  int64_t sequence_ = 0;
  std::string nothing_;
  std::string environment_;
};

// What Loop writes for the same number, as the controller hands it to its store.
void AddResult(int64_t id, StoreBatch* batch) {
  const absl::Time now = Clock::Real()->Now();
  const std::string token = absl::StrCat("1-", id);
  TaskRecord task;
  task.id = id;
  task.job_id = 1;
  task.trial_id = id;
  task.kind = TaskKind::kLatency;
  task.state = TaskState::kDone;
  task.attempts = 1;
  task.completed_by = "bench";
  task.completed_token = token;
  task.result_fingerprint = Key("f", id);
  task.seconds = 1.5;
  batch->update_tasks.push_back(std::move(task));
  MeasurementRecord measurement;
  measurement.id = measurement.trial_id = measurement.task_id = id;
  measurement.job_id = 1;
  measurement.key = {Key("g", id), "latency_ms", "bench", "bench", "fp", "p", "", "", "fp32", 1};
  measurement.value = 1.25;
  measurement.low = 1.24;
  measurement.high = 1.26;
  measurement.interval_kind = "prediction";
  measurement.sample_count = 64;
  measurement.worker = "bench";
  measurement.worker_build = "build";
  measurement.lease_token = token;
  measurement.time = now;
  measurement.ratio = 1.25;
  measurement.raw_median_ms = 1.27;
  measurement.reference_median_ms = 1.02;
  measurement.baseline_reference_ms = 1;
  measurement.baseline_id = "bench";
  batch->insert_measurements.push_back(std::move(measurement));
  batch->insert_evidence.push_back({id, {}, {}, "", Environment()});
  batch->append_events.push_back({1, 2 * id - 1, "measured", MeasuredEvent(id), now});
  batch->append_events.push_back({1, 2 * id, "decided", DecidedEvent(id), now});
  TrialRecord trial;
  trial.id = trial.ordinal = id;
  trial.job_id = 1;
  trial.artifact_sha256 = Key("o", 1);
  trial.state = TrialState::kMeasured;
  trial.end_time = now;
  batch->update_trials.push_back(std::move(trial));
}

// The next batch is made while the one before it is stored, as the controller does it.
absl::StatusOr<double> TimeStore(SqliteResultStore* store, const SqliteLimitOptions& options) {
  const int64_t start = Clock::Real()->SteadyNanos();
  const int64_t end = start + static_cast<int64_t>(options.seconds * 1e9);
  int64_t stored = 0;
  std::optional<std::future<absl::Status>> before;
  const int full = options.callers * options.results_per_call;
  while (Clock::Real()->SteadyNanos() < end && stored + full <= kResults) {
    StoreBatch batch;
    for (int i = 0; i < full; ++i) AddResult(++stored, &batch);
    if (before.has_value()) FORALL_RETURN_IF_ERROR(before->get());
    const auto promise = std::make_shared<std::promise<absl::Status>>();
    before = promise->get_future();
    store->CommitAsync(std::move(batch),
                       [promise](absl::Status status) { promise->set_value(std::move(status)); });
  }
  if (before.has_value()) FORALL_RETURN_IF_ERROR(before->get());
  return static_cast<double>(stored) /
         (1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start));
}

void Remove(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path + suffix);
}

// Threads that hand over a call's results and wait for them, as often as they can.
class Callers {
 public:
  Callers(int callers, int results) : results_(results) {
    for (int i = 0; i < callers; ++i) {
      threads_.emplace_back("caller", [this] { Call(); });
    }
  }
  ~Callers() {
    {
      MutexLock lock(&mu_);
      stopping_ = true;
      changed_.SignalAll();
    }
    for (Thread& thread : threads_) thread.Join();
  }

  // The results of all who wait, at least one call's.
  int Collect() {
    MutexLock lock(&mu_);
    while (waiting_ == 0) changed_.Wait(&mu_);
    ++round_;
    return results_ * std::exchange(waiting_, 0);
  }
  // What was collected is durable.
  void Answer() {
    MutexLock lock(&mu_);
    answered_ = round_;
    changed_.SignalAll();
  }

 private:
  void Call() {
    MutexLock lock(&mu_);
    while (!stopping_) {
      ++waiting_;
      const int64_t mine = round_ + 1;  // the next to be collected
      changed_.SignalAll();
      while (answered_ < mine && !stopping_) changed_.Wait(&mu_);
    }
  }

  const int results_;
  Mutex mu_;
  CondVar changed_;
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t round_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t answered_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Thread> threads_;
};

absl::Status CommitForCallers(const SqliteLimitOptions& options, Loop* loop) {
  const int64_t end = Clock::Real()->SteadyNanos() + static_cast<int64_t>(options.seconds * 1e9);
  const int full = options.callers * options.results_per_call;
  Callers callers(options.callers, options.results_per_call);
  while (Clock::Real()->SteadyNanos() < end && loop->stored() + full <= kResults) {
    FORALL_RETURN_IF_ERROR(loop->Commit(callers.Collect()));
    callers.Answer();
  }
  return absl::OkStatus();
}

absl::StatusOr<double> WithLoop(const SqliteLimitOptions& options,
                                const std::function<absl::Status(Loop*)>& run) {
  const std::string path = options.folder + "/sqlite_limit.db";
  FORALL_RETURN_IF_ERROR(Prepare(path));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> db, Db::Open({.path = path}));
  Loop loop(std::move(db));
  FORALL_RETURN_IF_ERROR(loop.Start());
  const int64_t start = Clock::Real()->SteadyNanos();
  FORALL_RETURN_IF_ERROR(run(&loop));
  const double seconds = 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start);
  Remove(path);
  return static_cast<double>(loop.stored()) / seconds;
}

}  // namespace

absl::StatusOr<double> MeasureStoreLimit(const SqliteLimitOptions& options) {
  const std::string path = options.folder + "/store_limit.db";
  FORALL_RETURN_IF_ERROR(Prepare(path));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<SqliteResultStore> store,
                          SqliteResultStore::Create({.path = path}));
  const absl::StatusOr<double> rate = TimeStore(store.get(), options);
  store->Stop();
  store.reset();
  Remove(path);
  return rate;
}

absl::StatusOr<double> MeasureSqliteLimit(const SqliteLimitOptions& options) {
  return WithLoop(options, [&](Loop* loop) { return CommitForCallers(options, loop); });
}

absl::StatusOr<double> MeasureFullBatches(const SqliteLimitOptions& options) {
  return WithLoop(options, [&](Loop* loop) -> absl::Status {
    const int64_t end = Clock::Real()->SteadyNanos() + static_cast<int64_t>(options.seconds * 1e9);
    const int full = options.callers * options.results_per_call;
    while (Clock::Real()->SteadyNanos() < end && loop->stored() + full <= kResults) {
      FORALL_RETURN_IF_ERROR(loop->Commit(full));
    }
    return absl::OkStatus();
  });
}

}  // namespace forall
