// SPDX-License-Identifier: Apache-2.0
// Applies a StoreBatch to the database: the SQL that writes.
#ifndef FORALL_SEARCH_STORE_BATCH_WRITER_H_
#define FORALL_SEARCH_STORE_BATCH_WRITER_H_

#include "absl/status/status.h"
#include "search/store/interner.h"
#include "search/store/result_store.h"
#include "search/store/sqlite_db.h"

namespace forall {

// Thread-compatible.
class BatchWriter {
 public:
  explicit BatchWriter(Db* db) : db_(db), interner_(db) {}

  // Inside a transaction of the caller, whole or not at all: a refused batch leaves no trace, and
  // the transaction goes on, unless the error made SQLite end it (db->in_transaction() tells).
  // Errors as of ResultStore::CommitAsync.
  absl::Status Apply(const StoreBatch& batch);

  // Call when the transaction did not commit.
  void Forget() { interner_.Forget(); }

 private:
  absl::Status ApplyAll(const StoreBatch& batch);
  absl::Status ApplyInserts(const StoreBatch& batch);
  absl::Status ApplyUpdates(const StoreBatch& batch);
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
  absl::Status Update(const JobRecord& job);
  absl::Status Update(const TrialRecord& trial);
  absl::Status Update(const TaskRecord& task);
  absl::Status Update(const DeviceRecord& device);
  absl::Status Update(const Retraction& retraction);

  Db* const db_;
  Interner interner_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_BATCH_WRITER_H_
