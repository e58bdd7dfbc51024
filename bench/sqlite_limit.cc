// SPDX-License-Identifier: Apache-2.0
#include "bench/sqlite_limit.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "search/store/batch_writer.h"
#include "search/store/sqlite_db.h"
#include "search/store/store_backup.h"

namespace forall {
namespace {

// One column of a row.
struct Value {
  int type = SQLITE_NULL;
  int64_t integer = 0;
  double real = 0;
  std::string bytes;  // of a text or a blob
};
using Row = std::vector<Value>;

// Rows of a result, in the order in which they are written.
enum Table { kEnds, kMeasurements, kLatencies, kEvidence, kEvents, kTables };

// A prepared statement of the loop.
class Prepared {
 public:
  static absl::StatusOr<Prepared> Make(Db* db, const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(db->handle(), sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT,
                                        &statement, nullptr);
    if (code != SQLITE_OK) return SqliteError(code, sqlite3_errmsg(db->handle()));
    return Prepared(statement);
  }
  Prepared(Prepared&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
  Prepared& operator=(Prepared&&) = delete;
  ~Prepared() { sqlite3_finalize(statement_); }

  void Bind(int index, int64_t value) { sqlite3_bind_int64(statement_, index, value); }

  // Rows of the statement, whose parameters are bound.
  absl::StatusOr<std::vector<Row>> Read() {
    std::vector<Row> rows;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement_)) == SQLITE_ROW) {
      Row& row = rows.emplace_back(sqlite3_column_count(statement_));
      for (int i = 0; i < static_cast<int>(row.size()); ++i) {
        Value& value = row[i];
        value.type = sqlite3_column_type(statement_, i);
        if (value.type == SQLITE_INTEGER) value.integer = sqlite3_column_int64(statement_, i);
        if (value.type == SQLITE_FLOAT) value.real = sqlite3_column_double(statement_, i);
        if (value.type == SQLITE_TEXT || value.type == SQLITE_BLOB) {
          const auto* const bytes = static_cast<const char*>(sqlite3_column_blob(statement_, i));
          value.bytes.assign(bytes, bytes + sqlite3_column_bytes(statement_, i));
        }
      }
    }
    sqlite3_reset(statement_);
    if (code != SQLITE_DONE) return SqliteError(code, sqlite3_errstr(code));
    return rows;
  }

  // One row written; it must stay where it is until then.
  absl::Status Write(const Row& row) {
    for (int i = 0; i < static_cast<int>(row.size()); ++i) {
      const Value& value = row[i];
      const int size = static_cast<int>(value.bytes.size());
      if (value.type == SQLITE_INTEGER) sqlite3_bind_int64(statement_, i + 1, value.integer);
      if (value.type == SQLITE_FLOAT) sqlite3_bind_double(statement_, i + 1, value.real);
      if (value.type == SQLITE_NULL) sqlite3_bind_null(statement_, i + 1);
      if (value.type == SQLITE_TEXT) {
        sqlite3_bind_text(statement_, i + 1, value.bytes.data(), size, SQLITE_STATIC);
      }
      if (value.type == SQLITE_BLOB) {
        sqlite3_bind_blob(statement_, i + 1, value.bytes.data(), size, SQLITE_STATIC);
      }
    }
    sqlite3_step(statement_);
    const int code = sqlite3_reset(statement_);
    return code == SQLITE_OK ? absl::OkStatus() : SqliteError(code, sqlite3_errstr(code));
  }

 private:
  explicit Prepared(sqlite3_stmt* statement) : statement_(statement) {}
  sqlite3_stmt* statement_;
};

std::string Insert(const char* table, int columns) {
  return absl::StrCat("INSERT INTO ", table, " VALUES (",
                      absl::StrJoin(std::vector<std::string>(columns, "?"), ", "), ")");
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
      answered_changed_.SignalAll();
    }
    for (Thread& thread : threads_) thread.Join();
  }

  // The results of all who wait, at least one call's.
  int Collect() {
    MutexLock lock(&mu_);
    while (waiting_ == 0) arrived_.Wait(&mu_);
    ++round_;
    return results_ * std::exchange(waiting_, 0);
  }
  // What was collected is durable.
  void Answer() {
    MutexLock lock(&mu_);
    answered_ = round_;
    answered_changed_.SignalAll();
  }

 private:
  void Call() {
    MutexLock lock(&mu_);
    while (!stopping_) {
      const int64_t mine = round_ + 1;  // the next to be collected
      if (waiting_++ == 0) arrived_.Signal();
      while (answered_ < mine && !stopping_) answered_changed_.Wait(&mu_);
    }
  }

  const int results_;
  Mutex mu_;
  CondVar arrived_;           // of the first that waits
  CondVar answered_changed_;  // or stopping
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t round_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t answered_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Thread> threads_;
};

void Remove(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
}

}  // namespace

struct SqliteLimit::Result {
  int64_t job = 0;
  std::array<std::vector<Row>, kTables> rows;
};

SqliteLimit::SqliteLimit(std::string db, std::string copy)
    : db_(std::move(db)), copy_(std::move(copy)) {}

SqliteLimit::~SqliteLimit() { Remove(copy_); }

absl::StatusOr<std::unique_ptr<SqliteLimit>> SqliteLimit::Begin(const std::string& db) {
  const std::string copy = db + ".before";
  FORALL_RETURN_IF_ERROR(
      BackUpStore({.db = db, .artifacts = "", .file = copy, .with_artifacts = false}).status());
  return std::unique_ptr<SqliteLimit>(new SqliteLimit(db, copy));
}

absl::Status SqliteLimit::Load(int64_t most) {
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> db, Db::Open({.path = copy_}));
  FORALL_RETURN_IF_ERROR(
      db->Execute(absl::StrCat("ATTACH '", absl::StrReplaceAll(db_, {{"'", "''"}}), "' AS after")));
  // What results share, made by the first of them.
  FORALL_RETURN_IF_ERROR(db->Execute(
      "INSERT INTO keys SELECT * FROM after.keys WHERE id > (SELECT max(id) FROM main.keys); "
      "INSERT OR IGNORE INTO conditions SELECT * FROM after.conditions; "
      "INSERT OR IGNORE INTO baselines SELECT * FROM after.baselines"));
  FORALL_ASSIGN_OR_RETURN(const int64_t last,
                          db->QueryInt64("SELECT coalesce(max(id), 0) FROM main.measurements"));
  FORALL_ASSIGN_OR_RETURN(const int64_t last_event,
                          db->QueryInt64("SELECT coalesce(max(id), 0) FROM main.job_events"));
  std::vector<Prepared> read;
  for (const char* sql :
       {"SELECT * FROM after.task_ends WHERE task = ?",
        "SELECT * FROM after.measurements WHERE id > ?1 AND task NOT IN (SELECT task FROM "
        "main.task_ends) ORDER BY id LIMIT ?2",
        "SELECT * FROM after.latencies WHERE measurement = ?",
        "SELECT * FROM after.evidence WHERE measurement = ?",
        "SELECT * FROM after.job_events WHERE id > ?1 ORDER BY id LIMIT 2 * ?2"}) {
    FORALL_ASSIGN_OR_RETURN(Prepared statement, Prepared::Make(db.get(), sql));
    read.push_back(std::move(statement));
  }
  // Columns 0 to 3 of a measurement are its number, job, trial and task.
  read[kMeasurements].Bind(1, last);
  read[kMeasurements].Bind(2, most);
  FORALL_ASSIGN_OR_RETURN(std::vector<Row> measurements, read[kMeasurements].Read());
  std::map<int64_t, std::vector<size_t>> of_job;
  for (Row& row : measurements) {
    Result result;
    result.job = row[1].integer;
    const std::array<std::pair<Table, int64_t>, 3> others = {
        {{kEnds, row[3].integer}, {kLatencies, row[0].integer}, {kEvidence, row[0].integer}}};
    for (const auto& [table, key] : others) {
      read[table].Bind(1, key);
      FORALL_ASSIGN_OR_RETURN(result.rows[table], read[table].Read());
    }
    result.rows[kMeasurements].push_back(std::move(row));
    of_job[result.job].push_back(results_.size());
    results_.push_back(std::move(result));
  }
  // A result's are those of its job to the next decision.
  read[kEvents].Bind(1, last_event);
  read[kEvents].Bind(2, most);
  FORALL_ASSIGN_OR_RETURN(std::vector<Row> events, read[kEvents].Read());
  std::map<int64_t, size_t> decided;
  for (Row& row : events) {
    const int64_t job = row[1].integer;  // after its number
    const size_t at = decided[job];
    decided[job] += row[3].bytes == "decided";
    if (at < of_job[job].size()) {
      results_[of_job[job][at]].rows[kEvents].push_back(std::move(row));
    }
  }
  if (results_.empty()) return absl::NotFoundError("no latency was stored since");
  return absl::OkStatus();
}

absl::StatusOr<double> SqliteLimit::Measure(const SqliteLimitOptions& options) const {
  std::vector<Result> results = results_;
  if (options.order == SqliteLimitOrder::kByJob) {
    std::stable_sort(results.begin(), results.end(),
                     [](const Result& a, const Result& b) { return a.job < b.job; });
    // Numbers rise in the order of writing, as they did: column 0 of each of these.
    for (const Table table : {kMeasurements, kLatencies, kEvidence, kEvents}) {
      std::vector<int64_t> numbers;
      const auto each = [&](const std::function<void(Value*)>& visit) {
        for (Result& result : results) {
          for (Row& row : result.rows[table]) visit(&row[0]);
        }
      };
      each([&](Value* value) { numbers.push_back(value->integer); });
      std::sort(numbers.begin(), numbers.end());
      each([&, next = size_t{0}](Value* value) mutable { value->integer = numbers[next++]; });
    }
  }
  const std::string path = copy_ + ".written";
  std::filesystem::copy_file(copy_, path, std::filesystem::copy_options::overwrite_existing);
  absl::StatusOr<double> rate = absl::InternalError("");
  {
    FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> db, Db::Open({.path = path}));
    // As the store sets it, but for its checkpoints, which have a thread of their own.
    FORALL_RETURN_IF_ERROR(db->Execute(
        absl::StrCat("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = "
                     "MEMORY; PRAGMA journal_mode = WAL; PRAGMA cache_size = -16384; PRAGMA "
                     "wal_autocheckpoint = ",
                     options.checkpoint_pages)));
    std::vector<Prepared> write;
    for (const auto& [table, name] :
         std::initializer_list<std::pair<Table, const char*>>{{kEnds, "task_ends"},
                                                              {kMeasurements, "measurements"},
                                                              {kLatencies, "latencies"},
                                                              {kEvidence, "evidence"},
                                                              {kEvents, "job_events"}}) {
      const auto columns = static_cast<int>(results[0].rows[table].at(0).size());
      FORALL_ASSIGN_OR_RETURN(Prepared statement, Prepared::Make(db.get(), Insert(name, columns)));
      write.push_back(std::move(statement));
    }
    size_t stored = 0;
    FORALL_ASSIGN_OR_RETURN(int64_t indexed_event,
                            db->QueryInt64("SELECT indexed_event FROM controller"));
    int64_t last_event = indexed_event;
    BatchWriter index(db.get());
    const auto commit = [&](int count) -> absl::Status {
      FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(db.get()));
      for (const size_t end = stored + count; stored < end; ++stored) {
        for (int table = 0; table < kTables; ++table) {
          for (const Row& row : results[stored].rows[table]) {
            FORALL_RETURN_IF_ERROR(write[table].Write(row));
          }
        }
        for (const Row& row : results[stored].rows[kEvents]) last_event = row[0].integer;
      }
      // As the store does it.
      if (last_event - indexed_event >= kMostEventsUnindexed) {
        index.Forget();
        FORALL_RETURN_IF_ERROR(index.IndexEvents());
        indexed_event = last_event;
      }
      return transaction.Commit();
    };
    const int full = options.callers * options.results_per_call;
    const int64_t start = Clock::Real()->SteadyNanos();
    const int64_t end = start + static_cast<int64_t>(options.seconds * 1e9);
    const auto go_on = [&] {
      return Clock::Real()->SteadyNanos() < end && stored + full <= results.size();
    };
    if (options.callers_wait) {
      Callers threads(options.callers, options.results_per_call);
      while (go_on()) {
        FORALL_RETURN_IF_ERROR(commit(threads.Collect()));
        threads.Answer();
      }
    } else {
      while (go_on()) FORALL_RETURN_IF_ERROR(commit(full));
    }
    rate = static_cast<double>(stored) /
           (1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start));
  }
  Remove(path);
  return rate;
}

}  // namespace forall
