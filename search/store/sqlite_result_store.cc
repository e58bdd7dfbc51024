// SPDX-License-Identifier: Apache-2.0
#include "search/store/sqlite_result_store.h"

#include <sqlite3.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/status_macros.h"
#include "search/store/migrations.h"
#include "search/store/record_reader.h"

namespace forall {
namespace {

// Past this many times `checkpoint_pages` the writer itself finishes a checkpoint between two
// transactions: while commits keep coming, only then is the log ever wholly copied and started
// anew.
constexpr int kLogLimitFactor = 4;

// Leases of older lives than these are not taken up again.
constexpr int64_t kLivesKept = 16;

// What a probe writes: a disk that is full but for a few bytes is to count as full.
constexpr size_t kProbeBytes = size_t{64} << 10;

// The file's one true path, so that a link to it meets the same lock; absolute, so that SQLite
// takes no name for a URI.
absl::StatusOr<std::string> CanonicalPath(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the path of the store is empty");
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  const std::filesystem::path folder = absolute.parent_path();
  if (!std::filesystem::is_directory(folder, error)) {
    return absl::NotFoundError(
        absl::StrCat("store ", path, ": its folder does not exist: create ", folder.string()));
  }
  if (std::filesystem::is_directory(absolute, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat("store ", path, ": it is a folder: give the path of a file in it"));
  }
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(absolute, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  return canonical.string();
}

// Before anything is written: is it ours, can it be written, is it of our schema?
absl::Status Adopt(Db* db, int64_t max_pages) {
  if (db->read_only()) {
    return absl::FailedPreconditionError(
        "the file is read-only: give the controller's user write permission");
  }
  if (max_pages > 0) {
    FORALL_RETURN_IF_ERROR(db->Execute(absl::StrCat("PRAGMA max_page_count = ", max_pages)));
  }
  return Migrate(db, StoreMigrations());
}

absl::Status Configure(Db* db) {
  // Statements that fail are undone from a temporary file, which must not fail when the disk is
  // full.
  return db->Execute(
      "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; "
      "PRAGMA cell_size_check = ON; PRAGMA wal_autocheckpoint = 0");
}

absl::Status UseWriteAheadLog(Db* db) {
  FORALL_ASSIGN_OR_RETURN(Statement mode, db->Query("PRAGMA journal_mode = WAL"));
  FORALL_ASSIGN_OR_RETURN(const bool row, mode.Step());
  if (row && mode.Text(0) == "wal") return absl::OkStatus();
  return absl::FailedPreconditionError(
      "its file system cannot hold a write-ahead log: use a local disk");
}

absl::StatusOr<std::unique_ptr<Db>> OpenWriter(const SqliteResultStore::Options& options) {
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> db,
                          Db::Open({.path = options.path, .vfs = options.vfs}));
  FORALL_RETURN_IF_ERROR(Adopt(db.get(), options.max_pages));
  if (options.path != ":memory:") FORALL_RETURN_IF_ERROR(UseWriteAheadLog(db.get()));
  FORALL_RETURN_IF_ERROR(Configure(db.get()));
  // SQLite's 2 MiB do not hold the pages of a full commit, which would then be written twice.
  FORALL_RETURN_IF_ERROR(db->Execute("PRAGMA cache_size = -16384"));
  return db;
}

// Null in memory, where a second connection would see another database.
absl::StatusOr<std::unique_ptr<Db>> OpenBeside(const SqliteResultStore::Options& options,
                                               const std::string& pragmas) {
  if (options.path == ":memory:") return std::unique_ptr<Db>();
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> db,
                          Db::Open({.path = options.path, .vfs = options.vfs}));
  FORALL_RETURN_IF_ERROR(Configure(db.get()));
  FORALL_RETURN_IF_ERROR(db->Execute(pragmas));
  return db;
}

// Copies what it can without waiting for anybody. What it leaves, the next one copies. Returns how
// many pages of the log are copied.
absl::StatusOr<int> Checkpoint(Db* db) {
  int copied = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(db->handle(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, &copied);
  FORALL_RETURN_IF_ERROR(SqliteError(code, sqlite3_errstr(code)));
  return copied;
}

int RecordLogLength(void* wal_pages, sqlite3*, const char*, int pages) {
  *static_cast<int*>(wal_pages) = pages;
  return SQLITE_OK;
}

// A pipe or a directory would be waited for, or written into.
absl::Status CheckIsFile(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("is no regular file; name another");
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteResultStore>> SqliteResultStore::Create(Options options) {
  std::unique_ptr<FileLock> file_lock;
  if (options.path != ":memory:") {
    FORALL_ASSIGN_OR_RETURN(options.path, CanonicalPath(options.path));
  }
  const std::string lock_path = absl::StrCat(options.path, ".lock");
  bool new_lock = false;
  const auto context = [&](const absl::Status& status) {
    return WithContext(status, absl::StrCat("store ", options.path));
  };
  if (options.path != ":memory:") {
    FORALL_RETURN_IF_ERROR(context(CheckIsFile(options.path)));
    new_lock = !std::filesystem::exists(lock_path);
    auto locked = FileLock::Acquire(lock_path);
    if (!locked.ok()) return context(locked.status());
    file_lock = std::move(*locked);
  }
  auto writer = OpenWriter(options);
  if (!writer.ok()) {
    // Nothing is left beside a file that is somebody else's.
    if (new_lock && absl::IsDataLoss(writer.status())) std::filesystem::remove(lock_path);
    return context(writer.status());
  }
  auto reader = OpenBeside(options, "PRAGMA query_only = ON");
  if (!reader.ok()) return context(reader.status());
  auto checkpointer = OpenBeside(options, "");
  if (!checkpointer.ok()) return context(checkpointer.status());
  std::unique_ptr<SqliteResultStore> store(
      new SqliteResultStore(std::move(options), std::move(file_lock), std::move(*writer),
                            std::move(*reader), std::move(*checkpointer)));
  // Logs are read now, all of them.
  FORALL_RETURN_IF_ERROR(store->IndexEventsBy(&BatchWriter::RepairEventRuns));
  return store;
}

SqliteResultStore::SqliteResultStore(Options options, std::unique_ptr<FileLock> file_lock,
                                     std::unique_ptr<Db> writer_db, std::unique_ptr<Db> reader_db,
                                     std::unique_ptr<Db> checkpoint_db)
    : options_(std::move(options)),
      file_lock_(std::move(file_lock)),
      writer_{.mu = {}, .db = std::move(writer_db)},
      batch_writer_(writer_.db.get()),
      reader_{.mu = {}, .db = std::move(reader_db)},
      checkpointer_{.mu = {}, .db = std::move(checkpoint_db)},
      reads_(in_memory() ? &writer_ : &reader_) {
  sqlite3_wal_hook(writer_.db->handle(), RecordLogLength, &wal_pages_);
  writer_thread_ = Thread("store-writer", [this] { WriterLoop(); });
  if (!in_memory()) checkpoint_thread_ = Thread("store-checkpt", [this] { CheckpointLoop(); });
}

SqliteResultStore::~SqliteResultStore() { Stop(); }

absl::Status SqliteResultStore::IndexEvents() { return IndexEventsBy(&BatchWriter::IndexEvents); }

absl::Status SqliteResultStore::IndexEventsBy(absl::Status (BatchWriter::*index)()) {
  MutexLock lock(&writer_.mu);
  const auto enter = [&]() -> absl::Status {
    writer_.mu.AssertHeld();
    FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_.db.get()));
    FORALL_RETURN_IF_ERROR((batch_writer_.*index)());
    return transaction.Commit();
  };
  return WithContext(Forgetful(enter()), absl::StrCat("store ", options_.path));
}

void SqliteResultStore::Stop() {
  MutexLock stop(&stop_mu_);
  {
    MutexLock lock(&queue_mu_);
    stopping_ = true;
    queue_changed_.SignalAll();
  }
  writer_thread_.Join();
  {
    MutexLock lock(&checkpoint_mu_);
    checkpoint_stopping_ = true;
    checkpoint_changed_.SignalAll();
  }
  checkpoint_thread_.Join();
}

void SqliteResultStore::CommitAsync(StoreBatch batch, std::function<void(absl::Status)> done) {
  {
    MutexLock lock(&queue_mu_);
    if (!stopping_) {
      queue_.push_back({.batch = std::move(batch), .done = std::move(done), .result = {}});
      queue_changed_.Signal();
      return;
    }
  }
  refused_.fetch_add(1, std::memory_order_relaxed);
  done(absl::UnavailableError(absl::StrCat("store ", options_.path, " is stopped")));
}

void SqliteResultStore::WriterLoop() {
  while (true) {
    {
      MutexLock lock(&queue_mu_);
      while (queue_.empty() && !stopping_) queue_changed_.Wait(&queue_mu_);
      if (queue_.empty()) return;
    }
    std::vector<Pending> group = CommitQueued();
    // Outside every lock: a callback may queue the next batch.
    for (Pending& pending : group) {
      pending.done(WithContext(pending.result, absl::StrCat("store ", options_.path)));
    }
  }
}

std::vector<SqliteResultStore::Pending> SqliteResultStore::CommitQueued() {
  std::vector<Pending> group;
  MutexLock lock(&writer_.mu);
  const bool alone = PopDeletion(&group);
  const absl::Status status = alone ? CommitDeletion(group[0].batch) : CommitTogether(&group);
  if (!status.ok() && group.size() == 1) group[0].result = status;
  if (!status.ok() && group.size() > 1) {
    for (Pending& pending : group) pending.result = CommitAlone(pending.batch);
  }
  for (const Pending& pending : group) {
    (pending.result.ok() ? batches_ : refused_).fetch_add(1, std::memory_order_relaxed);
  }
  RequestCheckpoint();
  return group;
}

absl::Status SqliteResultStore::CommitTogether(std::vector<Pending>* group) {
  absl::StatusOr<Transaction> transaction = Transaction::Begin(writer_.db.get());
  if (!transaction.ok()) {
    // It may have taken the whole busy timeout to learn this: nobody queued waits for another one.
    while (PopQueued(group)) group->back().result = transaction.status();
    return absl::OkStatus();
  }
  const int64_t start = options_.clock->SteadyNanos();
  const int64_t window = absl::ToInt64Nanoseconds(options_.commit_window);
  while (PopQueued(group)) {
    FORALL_RETURN_IF_ERROR(Forgetful(batch_writer_.Apply(group->back().batch)));
    if (options_.clock->SteadyNanos() - start >= window) break;
  }
  FORALL_RETURN_IF_ERROR(Forgetful(transaction->Commit()));
  commits_.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status SqliteResultStore::CommitAlone(const StoreBatch& batch) {
  FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_.db.get()));
  FORALL_RETURN_IF_ERROR(Forgetful(batch_writer_.Apply(batch)));
  FORALL_RETURN_IF_ERROR(Forgetful(transaction.Commit()));
  commits_.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status SqliteResultStore::Forgetful(absl::Status status) {
  if (!status.ok()) batch_writer_.Forget();
  return status;
}

absl::Status SqliteResultStore::CommitDeletion(const StoreBatch& batch) {
  StoreBatch rest = batch;
  rest.delete_jobs.clear();
  rest.delete_supernets.clear();
  if (!rest.empty()) {
    return absl::InvalidArgumentError("a batch that deletes may hold nothing else");
  }
  // With them each deleted trial would be looked for in all tasks and measurements. What goes and
  // what refers to it is known, and the pragma does nothing within a transaction.
  FORALL_RETURN_IF_ERROR(writer_.db->Execute("PRAGMA foreign_keys = OFF"));
  const auto remove = [&]() -> absl::Status {
    writer_.mu.AssertHeld();
    FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_.db.get()));
    for (const JobDeletion& deletion : batch.delete_jobs) {
      FORALL_RETURN_IF_ERROR(batch_writer_.Delete(deletion));
    }
    for (const SupernetDeletion& deletion : batch.delete_supernets) {
      FORALL_RETURN_IF_ERROR(batch_writer_.Delete(deletion));
    }
    return transaction.Commit();
  };
  const absl::Status removed = Forgetful(remove());
  FORALL_RETURN_IF_ERROR(writer_.db->Execute("PRAGMA foreign_keys = ON"));
  FORALL_ASSIGN_OR_RETURN(const int64_t restored, writer_.db->QueryInt64("PRAGMA foreign_keys"));
  FORALL_CHECK(restored == 1) << "foreign keys stay off";
  FORALL_RETURN_IF_ERROR(removed);
  commits_.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

bool SqliteResultStore::PopDeletion(std::vector<Pending>* group) {
  MutexLock lock(&queue_mu_);
  if (queue_.empty() || !queue_.front().batch.deletes()) return false;
  group->push_back(std::move(queue_.front()));
  queue_.pop_front();
  return true;
}

bool SqliteResultStore::PopQueued(std::vector<Pending>* group) {
  if (group->size() >= static_cast<size_t>(options_.max_batches_per_commit)) return false;
  MutexLock lock(&queue_mu_);
  if (queue_.empty() || queue_.front().batch.deletes()) return false;
  group->push_back(std::move(queue_.front()));
  queue_.pop_front();
  return true;
}

void SqliteResultStore::RequestCheckpoint() {
  if (in_memory()) return;
  // The log began anew since the last copy if it is shorter than that.
  const int copied = copied_pages_.load(std::memory_order_relaxed);
  if (wal_pages_ - (copied > wal_pages_ ? 0 : copied) < options_.checkpoint_pages) return;
  if (wal_pages_ >= kLogLimitFactor * options_.checkpoint_pages) {
    // Waits for the checkpoint that is under way, so that the log's length has a bound.
    CheckpointNow();
    return;
  }
  MutexLock lock(&checkpoint_mu_);
  checkpoint_wanted_ = true;
  checkpoint_changed_.Signal();
}

void SqliteResultStore::CheckpointLoop() {
  while (true) {
    {
      MutexLock lock(&checkpoint_mu_);
      while (!checkpoint_wanted_ && !checkpoint_stopping_) {
        checkpoint_changed_.Wait(&checkpoint_mu_);
      }
      if (checkpoint_stopping_) return;
      checkpoint_wanted_ = false;
    }
    CheckpointNow();
  }
}

void SqliteResultStore::CheckpointNow() {
  MutexLock lock(&checkpointer_.mu);
  // Nothing is lost when it fails: the log still holds every commit, and the next one tries again.
  const absl::StatusOr<int> copied = Checkpoint(checkpointer_.db.get());
  if (!copied.ok()) return;
  copied_pages_.store(*copied, std::memory_order_relaxed);
  checkpoints_.fetch_add(1, std::memory_order_relaxed);
}

absl::Status SqliteResultStore::Probe() {
  const auto probe = [&]() -> absl::Status {
    MutexLock lock(&writer_.mu);
    // Two transactions: what is written and taken back in one hardly reaches the disk. A crash
    // between them leaves a key that nothing refers to, which the next probe takes away.
    const std::string text = absl::StrCat("probe", std::string(kProbeBytes, ' '));
    for (const bool write : {true, false}) {
      FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_.db.get()));
      FORALL_RETURN_IF_ERROR(writer_.db->Run("DELETE FROM keys WHERE text = ?", text));
      if (write)
        FORALL_RETURN_IF_ERROR(writer_.db->Run("INSERT INTO keys (text) VALUES (?)", text));
      FORALL_RETURN_IF_ERROR(transaction.Commit());
    }
    return absl::OkStatus();
  };
  return WithContext(probe(), absl::StrCat("store ", options_.path));
}

absl::StatusOr<int64_t> SqliteResultStore::BeginEpoch() {
  const auto begin = [&]() -> absl::StatusOr<int64_t> {
    MutexLock lock(&writer_.mu);
    FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(writer_.db.get()));
    FORALL_RETURN_IF_ERROR(writer_.db->Run("UPDATE controller SET epoch = epoch + 1"));
    FORALL_ASSIGN_OR_RETURN(const int64_t epoch,
                            writer_.db->QueryInt64("SELECT epoch FROM controller"));
    if (epoch < 1) {
      return absl::DataLossError(
          absl::StrCat("the controller was started ", epoch - 1, " times: restore a backup"));
    }
    const std::string secret = SecretBytes(kLifeSecretBytes);
    FORALL_RETURN_IF_ERROR(writer_.db->Run("DELETE FROM lives WHERE epoch <= ? OR epoch >= ?",
                                           epoch - kLivesKept, epoch));
    FORALL_ASSIGN_OR_RETURN(const StoreIds ids, ReadIds(writer_.db.get()));
    FORALL_RETURN_IF_ERROR(
        writer_.db->Run("INSERT INTO lives (epoch, secret, tasks_before) VALUES (?, ?, ?)", epoch,
                        Blob{secret}, ids.task));
    FORALL_RETURN_IF_ERROR(transaction.Commit());
    return epoch;
  };
  absl::StatusOr<int64_t> epoch = begin();
  if (!epoch.ok()) return WithContext(epoch.status(), absl::StrCat("store ", options_.path));
  return epoch;
}

template <typename T>
absl::StatusOr<T> SqliteResultStore::Read(absl::FunctionRef<absl::StatusOr<T>(Db*)> read) {
  MutexLock lock(&reads_->mu);
  absl::StatusOr<T> result = read(reads_->db.get());
  if (!result.ok()) return WithContext(result.status(), absl::StrCat("store ", options_.path));
  return result;
}

absl::StatusOr<std::vector<LifeRecord>> SqliteResultStore::LoadLives() {
  return Read<std::vector<LifeRecord>>(ReadLives);
}
absl::StatusOr<StoreIds> SqliteResultStore::LoadIds() { return Read<StoreIds>(ReadIds); }
absl::StatusOr<std::vector<JobRecord>> SqliteResultStore::LoadJobs() {
  return Read<std::vector<JobRecord>>(ReadJobs);
}
absl::StatusOr<std::vector<TrialRecord>> SqliteResultStore::LoadTrials(int64_t job_id) {
  return Read<std::vector<TrialRecord>>([&](Db* db) { return ReadTrials(db, job_id); });
}
absl::StatusOr<std::vector<TaskRecord>> SqliteResultStore::LoadTasks(int64_t job_id) {
  return Read<std::vector<TaskRecord>>([&](Db* db) { return ReadTasks(db, job_id); });
}
absl::StatusOr<std::vector<EventRecord>> SqliteResultStore::LoadEvents(int64_t job_id,
                                                                       int64_t after,
                                                                       int64_t limit) {
  return Read<std::vector<EventRecord>>(
      [&](Db* db) { return ReadEvents(db, job_id, after, limit); });
}
absl::StatusOr<std::vector<MeasurementRecord>> SqliteResultStore::LoadMeasurements() {
  return Read<std::vector<MeasurementRecord>>(ReadMeasurements);
}
absl::StatusOr<MeasurementEvidence> SqliteResultStore::LoadEvidence(int64_t measurement_id) {
  return Read<MeasurementEvidence>([&](Db* db) { return ReadEvidence(db, measurement_id); });
}
absl::StatusOr<std::vector<ArtifactRecord>> SqliteResultStore::LoadArtifacts() {
  return Read<std::vector<ArtifactRecord>>(ReadArtifacts);
}
absl::StatusOr<std::vector<SupernetRecord>> SqliteResultStore::LoadSupernets() {
  return Read<std::vector<SupernetRecord>>(ReadSupernets);
}
absl::StatusOr<std::vector<ExportRecord>> SqliteResultStore::LoadExports() {
  return Read<std::vector<ExportRecord>>(ReadExports);
}
absl::StatusOr<std::vector<DatasetRecord>> SqliteResultStore::LoadDatasets() {
  return Read<std::vector<DatasetRecord>>(ReadDatasets);
}

absl::StatusOr<std::vector<AccuracyPartRecord>> SqliteResultStore::LoadParts() {
  return Read<std::vector<AccuracyPartRecord>>(ReadParts);
}

absl::StatusOr<std::vector<BaselineRecord>> SqliteResultStore::LoadBaselines() {
  return Read<std::vector<BaselineRecord>>(ReadBaselines);
}
absl::StatusOr<std::vector<DeviceRecord>> SqliteResultStore::LoadDevices() {
  return Read<std::vector<DeviceRecord>>(ReadDevices);
}

SqliteResultStore::Counters SqliteResultStore::counters() const {
  return {.commits = commits_.load(std::memory_order_relaxed),
          .batches = batches_.load(std::memory_order_relaxed),
          .refused = refused_.load(std::memory_order_relaxed),
          .checkpoints = checkpoints_.load(std::memory_order_relaxed)};
}

}  // namespace forall
