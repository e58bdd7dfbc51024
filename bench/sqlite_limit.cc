// SPDX-License-Identifier: Apache-2.0
#include "bench/sqlite_limit.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/status_macros.h"
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
    FORALL_ASSIGN_OR_RETURN(
        environment_,
        CompressBytes(ToStoredMap({{"governor", "performance"},
                                   {"load_average", "0.42"},
                                   {"temperature_celsius", "51.0"},
                                   {"frequency_khz", "2450000"},
                                   {"core", "1"},
                                   {"warnings", "no turbo control, a virtual machine"}})));
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
        db_->Run("UPDATE tasks SET state = ?, attempts = ?, completed_by = ?, completed_token = ?, "
                 "result_fingerprint = ?, error = ?, seconds = ? WHERE id = ? AND state = ?",
                 TaskState::kDone, 1, key_, token, fingerprint, "", 1.5, id, TaskState::kOpen));
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
    const std::string measured =
        absl::StrCat(R"({"trial":)", id, R"(,"task":)", id, R"(,"target":0,"measurements":[)", id,
                     R"(],"fidelity":"screening"})");
    FORALL_RETURN_IF_ERROR(AppendEvent("measured", measured, now));
    const std::string decided = absl::StrCat(
        R"({"trial":)", id,
        R"(,"state":2,"values":[1.2512345678,23456789.0],"hypervolume":0.41234567,"frontier":12})");
    FORALL_RETURN_IF_ERROR(AppendEvent("decided", decided, now));
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

}  // namespace

absl::StatusOr<double> MeasureSqliteLimit(const SqliteLimitOptions& options) {
  const std::string path = options.folder + "/sqlite_limit.db";
  FORALL_RETURN_IF_ERROR(Prepare(path));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> db, Db::Open({.path = path}));
  Loop loop(std::move(db));
  FORALL_RETURN_IF_ERROR(loop.Start());
  const int64_t start = Clock::Real()->SteadyNanos();
  const int64_t end = start + static_cast<int64_t>(options.seconds * 1e9);
  while (Clock::Real()->SteadyNanos() < end &&
         loop.stored() + options.results_per_commit <= kResults) {
    FORALL_RETURN_IF_ERROR(loop.Commit(options.results_per_commit));
  }
  const double seconds = 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start);
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path + suffix);
  return static_cast<double>(loop.stored()) / seconds;
}

}  // namespace forall
