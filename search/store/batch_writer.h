// SPDX-License-Identifier: Apache-2.0
// Applies a StoreBatch to the database: the SQL that writes.
#ifndef FORALL_SEARCH_STORE_BATCH_WRITER_H_
#define FORALL_SEARCH_STORE_BATCH_WRITER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "search/store/interner.h"
#include "search/store/result_store.h"
#include "search/store/sqlite_db.h"

namespace forall {

// Whoever looks for a job's events looks through so many that are in no run, at most, in half a
// millisecond.
inline constexpr int64_t kMostEventsUnindexed = 4096;

// Thread-compatible.
class BatchWriter {
 public:
  explicit BatchWriter(Db* db) : db_(db), interner_(db) {}

  // Inside a transaction of the caller, which is to be rolled back after an error: a part of the
  // batch may have been written. Errors as of ResultStore::CommitAsync.
  absl::Status Apply(const StoreBatch& batch);

  // The same of StoreBatch::delete_jobs and delete_supernets, which Apply leaves alone; with
  // foreign keys off, which would take time in proportion to trials times measurements.
  absl::Status Delete(const JobDeletion& deletion);
  absl::Status Delete(const SupernetDeletion& deletion);

  // Within a transaction: enters all events in event_runs. Apply does it by the thousands, and
  // whoever reads the logs of all jobs before that.
  absl::Status IndexEvents();
  // The same at a start; makes event_runs anew where events are in none that should be, in a store
  // that somebody has repaired. Takes time in proportion to all events.
  absl::Status RepairEventRuns();

  // Call when the transaction did not commit.
  void Forget();

 private:
  template <typename Record>
  absl::Status InsertAll(const std::vector<Record>& records);
  template <typename Record>
  absl::Status UpdateAll(const std::vector<Record>& records);
  absl::Status Insert(const JobRecord& job);
  absl::Status Insert(const TrialRecord& trial);
  absl::Status Insert(const TaskRecord& task);
  absl::Status Insert(const MeasurementRecord& measurement);
  absl::Status InsertLatency(const MeasurementRecord& measurement);
  absl::Status Insert(const MeasurementEvidence& evidence);
  absl::Status Insert(const ArtifactRecord& artifact);
  absl::Status Insert(const SupernetRecord& supernet);
  absl::Status Insert(const ExportRecord& entry);
  absl::Status Insert(const BaselineRecord& baseline);
  absl::Status Insert(const DatasetRecord& dataset);
  absl::Status Insert(const AccuracyPartRecord& part);
  absl::Status Insert(const EventRecord& event);
  absl::Status LoadEventNumbers();
  // Number of the job's last event, 0 before the first.
  absl::StatusOr<int64_t*> LastEvent(int64_t job);
  int64_t* RememberLastEvent(int64_t job, int64_t sequence);
  absl::Status Update(const JobRecord& job);
  absl::Status Update(const TaskRecord& task);
  // NotFound; Aborted when it has ended before.
  absl::Status End(const TaskRecord& task);
  absl::Status WhyNotOpen(int64_t task);
  absl::Status Update(const DeviceRecord& device);
  absl::Status Update(const Retraction& retraction);
  absl::Status Update(const SampleDrop& drop);

  Db* const db_;
  Interner interner_;
  absl::flat_hash_map<int64_t, int64_t> last_events_;  // by job, its sequence
  // Ids of the last event there ever was and of the last in event_runs, once they are known.
  struct EventNumbers {
    int64_t last = 0;
    int64_t indexed = 0;
  };
  std::optional<EventNumbers> events_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_BATCH_WRITER_H_
