// SPDX-License-Identifier: Apache-2.0
// Reads records from the database: the SQL that reads. Contracts as of ResultStore's Load methods;
// rows that no forall can have written are DataLoss.
#ifndef FORALL_SEARCH_STORE_RECORD_READER_H_
#define FORALL_SEARCH_STORE_RECORD_READER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "search/store/result_store.h"
#include "search/store/sqlite_db.h"

namespace forall {

absl::StatusOr<StoreIds> ReadIds(Db* db);
absl::StatusOr<std::vector<JobRecord>> ReadJobs(Db* db);
absl::StatusOr<std::vector<TrialRecord>> ReadTrials(Db* db, int64_t job_id);
absl::StatusOr<std::vector<TaskRecord>> ReadTasks(Db* db, int64_t job_id);
absl::StatusOr<std::vector<EventRecord>> ReadEvents(Db* db, int64_t job_id, int64_t after,
                                                    int64_t limit);
absl::StatusOr<std::vector<MeasurementRecord>> ReadMeasurements(Db* db);
absl::StatusOr<MeasurementEvidence> ReadEvidence(Db* db, int64_t measurement_id);
absl::StatusOr<std::vector<ArtifactRecord>> ReadArtifacts(Db* db);
absl::StatusOr<std::vector<SupernetRecord>> ReadSupernets(Db* db);
absl::StatusOr<std::vector<ExportRecord>> ReadExports(Db* db);
absl::StatusOr<std::vector<BaselineRecord>> ReadBaselines(Db* db);
absl::StatusOr<std::vector<DatasetRecord>> ReadDatasets(Db* db);
absl::StatusOr<std::vector<AccuracyPartRecord>> ReadParts(Db* db);
absl::StatusOr<std::vector<DeviceRecord>> ReadDevices(Db* db);
absl::StatusOr<std::vector<LifeRecord>> ReadLives(Db* db);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_RECORD_READER_H_
