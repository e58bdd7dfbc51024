// SPDX-License-Identifier: Apache-2.0
// Where jobs, trials, tasks, events and measurements live. Writes are batches that are applied
// whole or not at all and are durable before they are answered; reads load state at start, since
// the controller serves from memory. Records are plain values: no wire message, no SQL type.
#ifndef FORALL_SEARCH_STORE_RESULT_STORE_H_
#define FORALL_SEARCH_STORE_RESULT_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace forall {

// Values are stored: never renumber.
enum class JobState {
  kRunning = 1,
  kPaused = 2,
  kFinalizing = 3,
  kSucceeded = 4,
  kCancelled = 5,
  kFailed = 6
};
enum class TrialState { kActive = 1, kMeasured = 2, kInfeasible = 3, kFailed = 4, kCancelled = 5 };
enum class TaskKind { kExport = 1, kAccuracy = 2, kLatency = 3 };
// kOpen: waiting or leased (leases live in memory, only the controller's epoch is durable).
enum class TaskState { kOpen = 1, kDone = 2, kFailed = 3, kCancelled = 4 };
enum class VerdictState { kTrusted = 1, kNoisy = 2, kRejected = 3 };
enum class FidelityLevel { kScreening = 1, kFinal = 2 };

struct JobRecord {
  int64_t id = 0;
  std::string request_id;  // "" when the caller gave none; else unique
  std::string spec;  // serialized forall.v1.SearchJobSpec, as accepted, with defaults filled in
  std::string supernet_sha256;
  JobState state = JobState::kRunning;
  std::string error;
  // Highest measurement id at submission: a warm start may read no later one.
  int64_t history_snapshot = 0;
  absl::Time create_time;
  absl::Time update_time;
  std::optional<absl::Time> end_time;
  bool operator==(const JobRecord&) const = default;
};

// What was proposed. What became of it, its job's log says.
struct TrialRecord {
  int64_t id = 0;
  int64_t job_id = 0;
  int64_t ordinal = 0;  // 1, 2, ... within its job, in order of proposal
  std::string search_space;
  int32_t revision = 0;
  std::vector<int32_t> choices;
  std::string arch_key;
  std::string graph_key;
  absl::Time create_time;
  bool operator==(const TrialRecord&) const = default;
};

struct TaskRecord {
  int64_t id = 0;
  int64_t job_id = 0;
  int64_t trial_id = 0;
  TaskKind kind = TaskKind::kExport;
  std::string payload;  // serialized forall.v1.Task without its name
  TaskState state = TaskState::kOpen;
  int32_t attempts = 0;         // leases granted so far
  std::string completed_by;     // worker id, when done
  std::string completed_token;  // lease token that completed it
  std::string
      result_fingerprint;  // SHA-256 of the accepted result: makes a repeated call recognisable
  std::string error;
  // That it had its worker, when it was done; 0: not known.
  double seconds = 0;
  bool operator==(const TaskRecord&) const = default;
};

// Who and what a number is about, without the number.
struct MeasurementKey {
  std::string subject;  // artifact_sha256 (accuracy), graph_key (latency)
  std::string metric;   // registry id
  std::string device;   // "" for metrics that no device decides
  std::string device_class;
  std::string device_fingerprint;
  std::string profile;
  std::string dataset;  // of an accuracy; of carbon_mg the grid, "386 g/kWh"
  std::string split;
  std::string recipe;
  int32_t batch = 1;
  bool operator==(const MeasurementKey&) const = default;
};

struct MeasurementRecord {
  int64_t id = 0;
  int64_t job_id = 0;  // the job and trial it was first made for
  int64_t trial_id = 0;
  int64_t task_id = 0;
  MeasurementKey key;
  double value = 0;
  double low = 0;
  double high = 0;
  std::string interval_kind;  // "prediction", "wilson", "exact"
  int64_t sample_count = 0;
  VerdictState verdict = VerdictState::kTrusted;
  std::vector<std::string> reasons;
  FidelityLevel fidelity = FidelityLevel::kScreening;
  std::string worker;
  std::string worker_build;
  std::string lease_token;
  absl::Time time;
  std::string retracted_by;  // "" while it counts
  // Latency: see forall.v1.Measurement. 0 and "" otherwise.
  double ratio = 0;
  double raw_median_ms = 0;
  double reference_median_ms = 0;
  double baseline_reference_ms = 0;
  std::string baseline_id;
  // When its raw samples were dropped; nullopt: they were not.
  std::optional<absl::Time> samples_dropped;
  bool operator==(const MeasurementRecord&) const = default;
};

// Bulky evidence beside a measurement, stored compressed and read on demand.
struct MeasurementEvidence {
  int64_t measurement_id = 0;
  std::vector<double> samples_ns;
  std::vector<double> reference_samples_ns;
  std::string top1_bitmap;  // one bit per image
  std::map<std::string, std::string> environment;
  bool operator==(const MeasurementEvidence&) const = default;
};

struct ArtifactRecord {
  std::string sha256;
  int64_t size_bytes = 0;
  absl::Time create_time;
  bool operator==(const ArtifactRecord&) const = default;
};

struct SupernetRecord {
  std::string id;  // "fashion_mnist"
  std::string sha256;
  std::string spec;  // family spec (JSON)
  std::string dataset;
  absl::Time create_time;
  bool operator==(const SupernetRecord&) const = default;
};

// An exported subnet: which artifact an architecture became under a recipe and a calibration.
struct ExportRecord {
  std::string supernet_sha256;
  std::string arch_key;
  std::string recipe;
  std::string calibration_id;  // as requested: dataset, images and seed decide it
  std::string artifact_sha256;
  int64_t size_bytes = 0;
  bool operator==(const ExportRecord&) const = default;
};

// What the reference network takes on a device fingerprint and profile, at one batch size, as the
// first worker found it; latencies are ratio x this.
struct BaselineRecord {
  std::string id;
  std::string device;
  std::string device_fingerprint;
  std::string profile;
  std::string reference_sha256;
  double reference_ms = 0;
  absl::Time create_time;
  bool operator==(const BaselineRecord&) const = default;
};

struct DeviceRecord {
  std::string id;
  std::string device_class;
  std::string description;
  std::string fingerprint;
  std::map<std::string, std::string> properties;
  bool operator==(const DeviceRecord&) const = default;
};

// The images that a name and a split stand for: those of the first result.
struct DatasetRecord {
  std::string name;
  std::string split;
  std::string checksum;  // data/dataset.h
  absl::Time create_time;
  int64_t images = 0;  // of the split; 0: not known yet
  bool operator==(const DatasetRecord&) const = default;
};

// A task's part of an accuracy: images [first_image, first_image + images) of the dataset's
// screening order. It waits until the whole can be joined to a measurement.
struct AccuracyPartRecord {
  int64_t task_id = 0;
  std::string artifact_sha256;
  std::string dataset;
  std::string split;
  int64_t first_image = 0;
  int64_t images = 0;
  int64_t top1_correct = 0;
  int64_t top5_correct = 0;
  std::string top1_bitmap;  // one bit per image
  std::string worker;
  std::string worker_build;
  std::string lease_token;
  absl::Time time;
  bool operator==(const AccuracyPartRecord&) const = default;
};

// A line of a job's append-only log: "submitted", "proposed", "granted", "result", "decision", ...
struct EventRecord {
  int64_t job_id = 0;
  int64_t sequence = 0;  // 1, 2, ... within its job, without gaps
  std::string kind;
  std::string payload;  // JSON
  absl::Time time;
  bool operator==(const EventRecord&) const = default;
};

inline constexpr size_t kLifeSecretBytes = 32;

// One life of the controller, from a BeginEpoch to the next.
struct LifeRecord {
  int64_t epoch = 0;
  std::string secret;        // kLifeSecretBytes at random, which nobody else has
  int64_t tasks_before = 0;  // highest task id when it began; 0: none
  bool operator==(const LifeRecord&) const = default;
};

// Takes a measurement out of the count: a faulty worker's or driver's numbers. It stays stored.
struct Retraction {
  int64_t measurement_id = 0;
  std::string by;  // who and why, not empty
};

// Takes a job away for good: its row, trials, tasks, waiting accuracy parts and events. What was
// measured for it stays, as of no job, trial or task, and so do exports, artifacts and all that is
// of no job. Ids of what went are not free again.
struct JobDeletion {
  int64_t job = 0;
  absl::Time time;
};

// Takes a supernet away for good: its row and, where no other supernet is the same file, its
// exports, and these measurements with their latencies and evidence. The caller knows that nothing
// refers to them. Ids of measurements are not free again.
struct SupernetDeletion {
  std::string id;
  std::string sha256;
  bool exports = true;
  std::vector<int64_t> measurements;
  absl::Time time;
};

// Takes the raw samples of a latency away for good; all else of it, and of its evidence, stays.
struct SampleDrop {
  int64_t measurement_id = 0;
  absl::Time time;
};

// One batch: everything in it is applied in one transaction, inserts before updates. Ids are chosen
// by the caller, positive and above those of LoadIds(); 0 is "none".
struct StoreBatch {
  std::vector<JobRecord> insert_jobs;
  std::vector<JobRecord> update_jobs;  // state, error, times
  std::vector<TrialRecord> insert_trials;
  std::vector<TaskRecord> insert_tasks;
  // Attempts, state, completion, seconds. A task that is no longer open in the store refuses every
  // update: the whole batch fails with Aborted.
  std::vector<TaskRecord> update_tasks;
  // A second measurement of the same task, metric and condition is refused: AlreadyExists.
  std::vector<MeasurementRecord> insert_measurements;
  std::vector<MeasurementEvidence> insert_evidence;
  std::vector<ArtifactRecord> insert_artifacts;  // an existing hash is left as it is
  std::vector<SupernetRecord> insert_supernets;  // an existing (id, sha256) is left as it is
  std::vector<ExportRecord> insert_exports;      // an existing key is left as it is
  std::vector<BaselineRecord> insert_baselines;
  // An existing (name, split) is left as it is, but learns how many images it has.
  std::vector<DatasetRecord> insert_datasets;
  // (name, split) of some that are forgotten, before others are inserted. One that is not there is
  // none.
  std::vector<std::pair<std::string, std::string>> delete_datasets;
  // AlreadyExists: a task has one part.
  std::vector<AccuracyPartRecord> insert_parts;
  // Task ids of parts that a measurement of this batch has taken up. One that is not there is none.
  std::vector<int64_t> delete_parts;
  std::vector<DeviceRecord> upsert_devices;
  std::vector<EventRecord> append_events;
  std::vector<Retraction> retractions;
  // InvalidArgument beside anything else. FailedPrecondition: a task of the job is open. Takes time
  // in proportion to all measurements and to what goes: half a second for a job of 10,000 trials
  // beside a million measurements, in which nothing else is committed.
  std::vector<JobDeletion> delete_jobs;
  // After delete_jobs; InvalidArgument beside anything else, too. NotFound: there is no such
  // supernet. Some 7 microseconds a measurement, in which nothing else is committed.
  std::vector<SupernetDeletion> delete_supernets;
  // What is no latency, or not there, is passed over. Some 20 microseconds each.
  std::vector<SampleDrop> drop_samples;

  bool empty() const;
  // Whether it deletes jobs or supernets.
  bool deletes() const { return !delete_jobs.empty() || !delete_supernets.empty(); }
};

struct StoreIds {
  int64_t job = 0;
  int64_t trial = 0;
  int64_t task = 0;
  int64_t measurement = 0;
  bool operator==(const StoreIds&) const = default;
};

// Thread-safe.
class ResultStore {
 public:
  virtual ~ResultStore() = default;

  // Calls `done` on the store's own thread once the batch is durable or refused. Batches are
  // applied in the order of the calls; several may share one commit. `done` must not block.
  // AlreadyExists: an id, request_id, ordinal or sequence is taken. Aborted: see update_tasks.
  // NotFound: an update of a record that is not there. InvalidArgument: a reference to a record
  // that is not there, a gap in a job's event sequence, NaN. ResourceExhausted: disk full.
  // FailedPrecondition: read-only. Unavailable: I/O error, or the store is stopped. DataLoss: the
  // store is damaged. After any of them nothing of the batch was kept, and other batches are not
  // touched. (After Unavailable by a failed sync, a crash of the machine at that very moment may
  // still keep the batch, whole.)
  virtual void CommitAsync(StoreBatch batch, std::function<void(absl::Status)> done) = 0;
  // Waits for it. Not from `done`.
  absl::Status Commit(StoreBatch batch);

  // Writes something that leaves no trace and makes that durable, as a commit would: whether the
  // store can be written (again). Errors as CommitAsync's. Waits for the disk.
  virtual absl::Status Probe() = 0;

  // Makes the logs of all jobs quick to read; call before reading many. Without it they are read as
  // well. Errors as CommitAsync's. Waits for the disk.
  virtual absl::Status IndexEvents() = 0;

  // Starts a new life of the controller: increments the durable epoch and returns it. The life gets
  // a record with a secret of its own, in the same transaction.
  virtual absl::StatusOr<int64_t> BeginEpoch() = 0;
  // Those that may have given leases which are still good: the last 16, in order of epoch. A store
  // that was copied by a backup has none of before.
  virtual absl::StatusOr<std::vector<LifeRecord>> LoadLives() = 0;

  // Highest ids ever in use; 0 where there were none.
  virtual absl::StatusOr<StoreIds> LoadIds() = 0;
  virtual absl::StatusOr<std::vector<JobRecord>> LoadJobs() = 0;
  // In order of ordinal; empty when there is no such job.
  virtual absl::StatusOr<std::vector<TrialRecord>> LoadTrials(int64_t job_id) = 0;
  virtual absl::StatusOr<std::vector<TaskRecord>> LoadTasks(int64_t job_id) = 0;
  // Of sequence > `after`, in order, at most `limit`.
  virtual absl::StatusOr<std::vector<EventRecord>> LoadEvents(int64_t job_id, int64_t after,
                                                              int64_t limit) = 0;
  // In order of id.
  virtual absl::StatusOr<std::vector<MeasurementRecord>> LoadMeasurements() = 0;
  // NotFound when there is none. Without samples once they were dropped, which the record says.
  virtual absl::StatusOr<MeasurementEvidence> LoadEvidence(int64_t measurement_id) = 0;
  virtual absl::StatusOr<std::vector<ArtifactRecord>> LoadArtifacts() = 0;
  virtual absl::StatusOr<std::vector<SupernetRecord>> LoadSupernets() = 0;
  virtual absl::StatusOr<std::vector<ExportRecord>> LoadExports() = 0;
  virtual absl::StatusOr<std::vector<BaselineRecord>> LoadBaselines() = 0;
  virtual absl::StatusOr<std::vector<DatasetRecord>> LoadDatasets() = 0;
  // In order of task.
  virtual absl::StatusOr<std::vector<AccuracyPartRecord>> LoadParts() = 0;
  virtual absl::StatusOr<std::vector<DeviceRecord>> LoadDevices() = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_RESULT_STORE_H_
