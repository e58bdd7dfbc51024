// SPDX-License-Identifier: Apache-2.0
// The result store in one SQLite file (or in memory): write-ahead log, full sync, one writer
// thread.
//
// Group commit: the writer takes what is queued, applies batch after batch in one transaction until
// `commit_window` has passed, and syncs once for all of them. While it syncs, the next batches
// queue up, so a busy store shares its syncs and an idle one adds no wait. When one of the batches
// is refused, or the common transaction fails, all is taken back and each batch is tried alone: a
// refused one leaves its neighbours alone, and only then is its caller told.
//
// Reads have a connection of their own and do not wait for writers. A third connection copies the
// write-ahead log back into the file, so that no commit pays for it.
#ifndef FORALL_SEARCH_STORE_SQLITE_RESULT_STORE_H_
#define FORALL_SEARCH_STORE_SQLITE_RESULT_STORE_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "search/store/batch_writer.h"
#include "search/store/file_lock.h"
#include "search/store/result_store.h"
#include "search/store/sqlite_db.h"

namespace forall {

// Thread-safe.
class SqliteResultStore : public ResultStore {
 public:
  struct Options {
    // A file in an existing folder, made when it is missing; ":memory:" keeps everything in memory.
    std::string path;
    // A transaction takes no further batch once it is this old ...
    absl::Duration commit_window = absl::Milliseconds(2);
    // ... or holds this many.
    int max_batches_per_commit = 256;
    // Pages of 4 KiB of the write-ahead log, not copied yet, that ask for a checkpoint. What a busy
    // page holds is written once for all of them. The log itself has five times as many at most,
    // but for a commit.
    int checkpoint_pages = 4000;
    // Largest file, in pages; beyond it writes are ResourceExhausted. 0: as large as the disk
    // allows.
    int64_t max_pages = 0;
    // SQLite's name of a file system layer; "" is the default. For fault injection.
    std::string vfs = {};
    Clock* clock = Clock::Real();
  };

  // What happened since Create.
  struct Counters {
    int64_t commits = 0;      // transactions made durable
    int64_t batches = 0;      // batches that they held
    int64_t refused = 0;      // batches that were not kept
    int64_t checkpoints = 0;  // the write-ahead log was copied back, or part of it
  };

  // Opens, migrates an older schema, and holds the file for this process alone (by FILE.lock).
  // FailedPrecondition: in use, read-only, another program's database, or a newer schema. NotFound:
  // no such folder. InvalidArgument: not a path of a file. DataLoss: not a database, or damaged.
  // PermissionDenied. Every message names the file.
  static absl::StatusOr<std::unique_ptr<SqliteResultStore>> Create(Options options);
  ~SqliteResultStore() override;

  // Answers what is queued, then refuses: later batches get Unavailable, on the caller's thread.
  // Reads go on. Idempotent.
  void Stop();

  void CommitAsync(StoreBatch batch, std::function<void(absl::Status)> done) override;
  absl::Status Probe() override;
  absl::Status IndexEvents() override;
  absl::StatusOr<int64_t> BeginEpoch() override;
  absl::StatusOr<std::vector<LifeRecord>> LoadLives() override;
  absl::StatusOr<StoreIds> LoadIds() override;
  absl::StatusOr<std::vector<JobRecord>> LoadJobs() override;
  absl::StatusOr<std::vector<TrialRecord>> LoadTrials(int64_t job_id) override;
  absl::StatusOr<std::vector<TaskRecord>> LoadTasks(int64_t job_id) override;
  absl::StatusOr<std::vector<EventRecord>> LoadEvents(int64_t job_id, int64_t after,
                                                      int64_t limit) override;
  absl::StatusOr<std::vector<MeasurementRecord>> LoadMeasurements() override;
  absl::StatusOr<MeasurementEvidence> LoadEvidence(int64_t measurement_id) override;
  absl::StatusOr<std::vector<ArtifactRecord>> LoadArtifacts() override;
  absl::StatusOr<std::vector<SupernetRecord>> LoadSupernets() override;
  absl::StatusOr<std::vector<ExportRecord>> LoadExports() override;
  absl::StatusOr<std::vector<BaselineRecord>> LoadBaselines() override;
  absl::StatusOr<std::vector<DatasetRecord>> LoadDatasets() override;
  absl::StatusOr<std::vector<AccuracyPartRecord>> LoadParts() override;
  absl::StatusOr<std::vector<DeviceRecord>> LoadDevices() override;

  Counters counters() const;

 private:
  struct Pending {
    StoreBatch batch;
    std::function<void(absl::Status)> done;
    absl::Status result;
  };
  // A connection and the lock that lends it to one thread at a time.
  struct Connection {
    Mutex mu;
    std::unique_ptr<Db> db ABSL_GUARDED_BY(mu);
  };

  SqliteResultStore(Options options, std::unique_ptr<FileLock> file_lock,
                    std::unique_ptr<Db> writer_db, std::unique_ptr<Db> reader_db,
                    std::unique_ptr<Db> checkpoint_db);

  // In a transaction of its own.
  absl::Status IndexEventsBy(absl::Status (BatchWriter::*index)());
  void WriterLoop();
  void CheckpointLoop();
  // One transaction of what is queued. Empty when there was nothing.
  std::vector<Pending> CommitQueued();
  // An error: nothing of the group was kept.
  absl::Status CommitTogether(std::vector<Pending>* group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_.mu);
  absl::Status CommitAlone(const StoreBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_.mu);
  absl::Status CommitDeletion(const StoreBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_.mu);
  // After an error a rollback follows, which takes rows back that the writer remembers.
  absl::Status Forgetful(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_.mu);
  // Deletions are committed alone; false when what is queued first is none.
  bool PopDeletion(std::vector<Pending>* group);
  bool PopQueued(std::vector<Pending>* group);
  void RequestCheckpoint() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_.mu);
  void CheckpointNow() ABSL_LOCKS_EXCLUDED(checkpointer_.mu);
  bool in_memory() const { return options_.path == ":memory:"; }

  template <typename T>
  absl::StatusOr<T> Read(absl::FunctionRef<absl::StatusOr<T>(Db*)> read);

  const Options options_;
  const std::unique_ptr<FileLock> file_lock_;  // outlives the connections

  // Order of locks: writer_.mu before checkpointer_.mu, queue_mu_ or checkpoint_mu_.
  Connection writer_;
  BatchWriter batch_writer_ ABSL_GUARDED_BY(writer_.mu);
  Connection reader_;
  Connection checkpointer_;
  // In memory there is but one connection, and reads share it.
  Connection* const reads_;

  Mutex queue_mu_ ABSL_ACQUIRED_AFTER(writer_.mu);
  CondVar queue_changed_;
  std::deque<Pending> queue_ ABSL_GUARDED_BY(queue_mu_);
  bool stopping_ ABSL_GUARDED_BY(queue_mu_) = false;

  Mutex checkpoint_mu_ ABSL_ACQUIRED_AFTER(writer_.mu);
  CondVar checkpoint_changed_;
  bool checkpoint_wanted_ ABSL_GUARDED_BY(checkpoint_mu_) = false;
  bool checkpoint_stopping_ ABSL_GUARDED_BY(checkpoint_mu_) = false;

  // Length of the write-ahead log after the last commit; SQLite's hook writes it.
  int wal_pages_ ABSL_GUARDED_BY(writer_.mu) = 0;

  std::atomic<int64_t> commits_ = 0;
  std::atomic<int64_t> batches_ = 0;
  std::atomic<int64_t> refused_ = 0;
  std::atomic<int64_t> checkpoints_ = 0;
  std::atomic<int> copied_pages_ = 0;  // of the log, by the last checkpoint

  Mutex stop_mu_;
  Thread writer_thread_ ABSL_GUARDED_BY(stop_mu_);
  Thread checkpoint_thread_ ABSL_GUARDED_BY(stop_mu_);
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_SQLITE_RESULT_STORE_H_
