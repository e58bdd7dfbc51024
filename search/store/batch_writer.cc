// SPDX-License-Identifier: Apache-2.0
#include "search/store/batch_writer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "search/store/evidence_codec.h"
#include "search/store/stored_value.h"

namespace forall {
namespace {

// Bounds memory. A miss costs a look-up, and one through the events that are in no run.
constexpr size_t kMostJobsRemembered = 10'000;
// Bounds memory where a whole store is indexed.
constexpr int64_t kMostEventsIndexedAtOnce = 100'000;

// 0 is "none" in records, NULL in the database, where references are checked.
std::optional<int64_t> Reference(int64_t id) {
  return id == 0 ? std::nullopt : std::optional<int64_t>(id);
}

absl::Status CheckId(int64_t id) {
  if (id > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("ids are positive");
}

absl::Status NotThere() { return absl::NotFoundError("there is none to update"); }

// For messages.
std::string NameOf(const JobRecord& job) { return absl::StrCat("job ", job.id); }
std::string NameOf(const TrialRecord& trial) { return absl::StrCat("trial ", trial.id); }
std::string NameOf(const TaskRecord& task) { return absl::StrCat("task ", task.id); }
std::string NameOf(const MeasurementRecord& m) { return absl::StrCat("measurement ", m.id); }
std::string NameOf(const MeasurementEvidence& evidence) {
  return absl::StrCat("evidence of measurement ", evidence.measurement_id);
}
std::string NameOf(const ArtifactRecord& artifact) {
  return absl::StrCat("artifact ", artifact.sha256);
}
std::string NameOf(const SupernetRecord& supernet) {
  return absl::StrCat("supernet ", supernet.id);
}
std::string NameOf(const ExportRecord& entry) { return absl::StrCat("export of ", entry.arch_key); }
std::string NameOf(const BaselineRecord& baseline) {
  return absl::StrCat("baseline ", baseline.id);
}
std::string NameOf(const DatasetRecord& dataset) { return absl::StrCat("dataset ", dataset.name); }
std::string NameOf(const AccuracyPartRecord& part) {
  return absl::StrCat("accuracy part of task ", part.task_id);
}
std::string NameOf(const EventRecord& event) {
  return absl::StrCat("event ", event.sequence, " of job ", event.job_id);
}
std::string NameOf(const DeviceRecord& device) { return absl::StrCat("device ", device.id); }
std::string NameOf(const Retraction& retraction) {
  return absl::StrCat("retraction of measurement ", retraction.measurement_id);
}
std::string NameOf(const SampleDrop& drop) {
  return absl::StrCat("samples of measurement ", drop.measurement_id);
}

}  // namespace

template <typename Record>
absl::Status BatchWriter::InsertAll(const std::vector<Record>& records) {
  for (const Record& record : records) {
    if (const absl::Status status = Insert(record); !status.ok()) {
      return WithContext(status, NameOf(record));
    }
  }
  return absl::OkStatus();
}

template <typename Record>
absl::Status BatchWriter::UpdateAll(const std::vector<Record>& records) {
  for (const Record& record : records) {
    if (const absl::Status status = Update(record); !status.ok()) {
      return WithContext(status, NameOf(record));
    }
  }
  return absl::OkStatus();
}

absl::Status BatchWriter::Apply(const StoreBatch& batch) {
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_jobs));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_trials));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_tasks));
  // Before the measurements: a late result is refused because its task is closed (Aborted), not
  // because the task has its measurement already.
  FORALL_RETURN_IF_ERROR(UpdateAll(batch.update_tasks));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_measurements));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_evidence));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_artifacts));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_supernets));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_exports));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_baselines));
  for (const auto& [name, split] : batch.delete_datasets) {
    FORALL_RETURN_IF_ERROR(
        db_->Run("DELETE FROM datasets WHERE name = ? AND split = ?", name, split));
  }
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_datasets));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.insert_parts));
  FORALL_RETURN_IF_ERROR(InsertAll(batch.append_events));
  if (events_.has_value() && events_->last - events_->indexed >= kMostEventsUnindexed) {
    FORALL_RETURN_IF_ERROR(IndexEvents());
  }
  FORALL_RETURN_IF_ERROR(UpdateAll(batch.update_jobs));
  FORALL_RETURN_IF_ERROR(UpdateAll(batch.upsert_devices));
  for (const int64_t task : batch.delete_parts) {
    FORALL_RETURN_IF_ERROR(db_->Run("DELETE FROM accuracy_parts WHERE task = ?", task));
  }
  FORALL_RETURN_IF_ERROR(UpdateAll(batch.retractions));
  return UpdateAll(batch.drop_samples);
}

absl::Status BatchWriter::Delete(const JobDeletion& deletion) {
  const int64_t job = deletion.job;
  const auto run = [&]() -> absl::Status {
    {
      FORALL_ASSIGN_OR_RETURN(Statement find, db_->Query("SELECT 1 FROM jobs WHERE id = ?", job));
      FORALL_ASSIGN_OR_RETURN(const bool found, find.Step());
      if (!found) return absl::NotFoundError("there is none to delete");
    }
    {
      FORALL_ASSIGN_OR_RETURN(
          Statement find, db_->Query("SELECT id FROM tasks WHERE job = ? AND "
                                     "NOT EXISTS (SELECT 1 FROM task_ends WHERE task = tasks.id)",
                                     job));
      FORALL_ASSIGN_OR_RETURN(const bool open, find.Step());
      if (open) {
        return absl::FailedPreconditionError(absl::StrCat("its task ", find.Int64(0), " is open"));
      }
    }
    FORALL_RETURN_IF_ERROR(db_->Run(
        "INSERT INTO deleted_jobs (id, delete_time, last_trial, last_task) VALUES (?1, ?2, "
        "(SELECT coalesce(max(id), 0) FROM trials WHERE job = ?1), "
        "(SELECT coalesce(max(id), 0) FROM tasks WHERE job = ?1))",
        job, ToStoredTime(deletion.time)));
    FORALL_RETURN_IF_ERROR(IndexEvents());
    // Of other jobs, too: an accuracy that was joined is of the task that came last.
    for (const char* sql :
         {"UPDATE measurements SET task = NULL "
          "WHERE task IN (SELECT id FROM tasks WHERE job = ?)",
          "UPDATE measurements SET job = NULL, trial = NULL WHERE job = ?",
          "DELETE FROM accuracy_parts WHERE task IN (SELECT id FROM tasks WHERE job = ?)",
          "DELETE FROM task_ends WHERE task IN (SELECT id FROM tasks WHERE job = ?)",
          "DELETE FROM tasks WHERE job = ?", "DELETE FROM trials WHERE job = ?",
          // The log last: it may go once its job is gone.
          "DELETE FROM jobs WHERE id = ?"}) {
      FORALL_RETURN_IF_ERROR(db_->Run(sql, job));
    }
    FORALL_ASSIGN_OR_RETURN(const int64_t* const events, LastEvent(job));
    FORALL_RETURN_IF_ERROR(
        db_->Run("DELETE FROM job_events WHERE id IN (SELECT value FROM event_runs, "
                 "json_each('[' || iif(json_valid('[' || events || ']'), events, '') || ']') "
                 "WHERE job = ?)",
                 job));
    if (db_->changes() != *events) {
      return absl::DataLossError(absl::StrCat("of ", *events, " events ", db_->changes(),
                                              " are found: forall-controller check says more"));
    }
    FORALL_RETURN_IF_ERROR(db_->Run("DELETE FROM event_runs WHERE job = ?", job));
    last_events_.erase(job);
    return absl::OkStatus();
  };
  return WithContext(run(), absl::StrCat("deletion of job ", job));
}

absl::Status BatchWriter::Delete(const SupernetDeletion& deletion) {
  const auto run = [&]() -> absl::Status {
    FORALL_ASSIGN_OR_RETURN(const int64_t hash, interner_.KeyId(deletion.sha256));
    FORALL_RETURN_IF_ERROR(
        db_->Run("DELETE FROM supernets WHERE id = ? AND hash = ?", deletion.id, hash));
    if (db_->changes() != 1) return absl::NotFoundError("there is none to delete");
    FORALL_RETURN_IF_ERROR(db_->Run(
        "INSERT INTO deleted_supernets (id, hash, delete_time, last_measurement) VALUES (?, ?, ?, "
        "(SELECT coalesce(max(id), 0) FROM measurements))",
        deletion.id, hash, ToStoredTime(deletion.time)));
    if (deletion.exports) {
      FORALL_RETURN_IF_ERROR(db_->Run("DELETE FROM exports WHERE supernet = ?", hash));
    }
    for (const int64_t id : deletion.measurements) {
      FORALL_RETURN_IF_ERROR(db_->Run("DELETE FROM evidence WHERE measurement = ?", id));
      FORALL_RETURN_IF_ERROR(db_->Run("DELETE FROM latencies WHERE measurement = ?", id));
      FORALL_RETURN_IF_ERROR(db_->Run("DELETE FROM measurements WHERE id = ?", id));
    }
    return absl::OkStatus();
  };
  return WithContext(run(), absl::StrCat("deletion of supernet ", deletion.id));
}

void BatchWriter::Forget() {
  interner_.Forget();
  last_events_.clear();
  events_.reset();
}

absl::Status BatchWriter::Insert(const JobRecord& job) {
  FORALL_RETURN_IF_ERROR(CheckId(job.id));
  FORALL_ASSIGN_OR_RETURN(const int64_t supernet, interner_.KeyId(job.supernet_sha256));
  FORALL_RETURN_IF_ERROR(db_->Run(
      "INSERT INTO jobs (id, request_id, spec, supernet, state, error, history_snapshot, "
      "create_time, update_time, end_time) "
      "VALUES (?1, nullif(?2, ''), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
      job.id, job.request_id, Blob{job.spec}, supernet, job.state, job.error, job.history_snapshot,
      ToStoredTime(job.create_time), ToStoredTime(job.update_time), ToStoredTime(job.end_time)));
  RememberLastEvent(job.id, 0);
  return absl::OkStatus();
}

absl::Status BatchWriter::Insert(const TrialRecord& trial) {
  FORALL_RETURN_IF_ERROR(CheckId(trial.id));
  FORALL_ASSIGN_OR_RETURN(const int64_t space, interner_.KeyId(trial.search_space));
  FORALL_ASSIGN_OR_RETURN(const int64_t arch, interner_.KeyId(trial.arch_key));
  FORALL_ASSIGN_OR_RETURN(const int64_t graph, interner_.KeyId(trial.graph_key));
  const std::string choices = ToStoredInts(trial.choices);
  return db_->Run(
      "INSERT INTO trials (id, job, ordinal, search_space, revision, choices, arch, graph, "
      "create_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      trial.id, trial.job_id, trial.ordinal, space, trial.revision, choices, arch, graph,
      ToStoredTime(trial.create_time));
}

absl::Status BatchWriter::Insert(const TaskRecord& task) {
  FORALL_RETURN_IF_ERROR(CheckId(task.id));
  const bool open = task.state == TaskState::kOpen;
  FORALL_ASSIGN_OR_RETURN(const int64_t worker,
                          interner_.KeyId(open ? task.completed_by : std::string()));
  FORALL_RETURN_IF_ERROR(
      db_->Run("INSERT INTO tasks (id, job, trial, kind, payload, attempts, failed_by, "
               "failed_token, failed_fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
               task.id, task.job_id, Reference(task.trial_id), task.kind, Blob{task.payload},
               task.attempts, worker, open ? task.completed_token : std::string(),
               open ? task.result_fingerprint : std::string()));
  return open ? absl::OkStatus() : End(task);
}

absl::Status BatchWriter::Insert(const MeasurementRecord& m) {
  FORALL_RETURN_IF_ERROR(CheckId(m.id));
  FORALL_ASSIGN_OR_RETURN(const int64_t subject, interner_.KeyId(m.key.subject));
  FORALL_ASSIGN_OR_RETURN(const int64_t metric, interner_.KeyId(m.key.metric));
  FORALL_ASSIGN_OR_RETURN(const int64_t condition, interner_.ConditionId(m.key));
  FORALL_ASSIGN_OR_RETURN(const int64_t interval_kind, interner_.KeyId(m.interval_kind));
  FORALL_ASSIGN_OR_RETURN(const int64_t worker, interner_.KeyId(m.worker));
  FORALL_ASSIGN_OR_RETURN(const int64_t build, interner_.KeyId(m.worker_build));
  const std::string reasons = ToStoredList(m.reasons);
  FORALL_RETURN_IF_ERROR(db_->Run(
      "INSERT INTO measurements (id, job, trial, task, subject, metric, condition, value, low, "
      "high, interval_kind, sample_count, verdict, reasons, fidelity, worker, worker_build, "
      "lease_token, time, retracted_by) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      m.id, Reference(m.job_id), Reference(m.trial_id), Reference(m.task_id), subject, metric,
      condition, m.value, m.low, m.high, interval_kind, m.sample_count, m.verdict, reasons,
      m.fidelity, worker, build, m.lease_token, ToStoredTime(m.time), m.retracted_by));
  return InsertLatency(m);
}

absl::Status BatchWriter::InsertLatency(const MeasurementRecord& m) {
  if (m.ratio == 0 && m.raw_median_ms == 0 && m.reference_median_ms == 0 &&
      m.baseline_reference_ms == 0 && m.baseline_id.empty()) {
    return absl::OkStatus();
  }
  FORALL_ASSIGN_OR_RETURN(const int64_t baseline, interner_.KeyId(m.baseline_id));
  return db_->Run(
      "INSERT INTO latencies (measurement, ratio, raw_median_ms, reference_median_ms, "
      "baseline_reference_ms, baseline, samples_dropped) VALUES (?, ?, ?, ?, ?, ?, ?)",
      m.id, m.ratio, m.raw_median_ms, m.reference_median_ms, m.baseline_reference_ms, baseline,
      ToStoredTime(m.samples_dropped));
}

absl::Status BatchWriter::Insert(const MeasurementEvidence& evidence) {
  FORALL_ASSIGN_OR_RETURN(const std::string samples, CompressSamples(evidence.samples_ns));
  FORALL_ASSIGN_OR_RETURN(const std::string references,
                          CompressSamples(evidence.reference_samples_ns));
  FORALL_ASSIGN_OR_RETURN(const std::string bitmap, CompressBytes(evidence.top1_bitmap));
  FORALL_ASSIGN_OR_RETURN(const std::string environment,
                          CompressBytes(ToStoredMap(evidence.environment)));
  return db_->Run(
      "INSERT INTO evidence (measurement, samples, reference_samples, top1_bitmap, environment) "
      "VALUES (?, ?, ?, ?, ?)",
      evidence.measurement_id, Blob{samples}, Blob{references}, Blob{bitmap}, Blob{environment});
}

absl::Status BatchWriter::Insert(const ArtifactRecord& artifact) {
  FORALL_ASSIGN_OR_RETURN(const int64_t hash, interner_.KeyId(artifact.sha256));
  return db_->Run(
      "INSERT INTO artifacts (hash, size_bytes, create_time) VALUES (?, ?, ?) "
      "ON CONFLICT (hash) DO NOTHING",
      hash, artifact.size_bytes, ToStoredTime(artifact.create_time));
}

absl::Status BatchWriter::Insert(const SupernetRecord& supernet) {
  FORALL_ASSIGN_OR_RETURN(const int64_t hash, interner_.KeyId(supernet.sha256));
  FORALL_ASSIGN_OR_RETURN(const int64_t dataset, interner_.KeyId(supernet.dataset));
  return db_->Run(
      "INSERT INTO supernets (id, hash, spec, dataset, create_time) VALUES (?, ?, ?, ?, ?) "
      "ON CONFLICT (id, hash) DO NOTHING",
      supernet.id, hash, supernet.spec, dataset, ToStoredTime(supernet.create_time));
}

absl::Status BatchWriter::Insert(const ExportRecord& entry) {
  FORALL_ASSIGN_OR_RETURN(const int64_t supernet, interner_.KeyId(entry.supernet_sha256));
  FORALL_ASSIGN_OR_RETURN(const int64_t arch, interner_.KeyId(entry.arch_key));
  FORALL_ASSIGN_OR_RETURN(const int64_t recipe, interner_.KeyId(entry.recipe));
  FORALL_ASSIGN_OR_RETURN(const int64_t calibration, interner_.KeyId(entry.calibration_id));
  FORALL_ASSIGN_OR_RETURN(const int64_t artifact, interner_.KeyId(entry.artifact_sha256));
  return db_->Run(
      "INSERT INTO exports (supernet, arch, recipe, calibration, artifact, size_bytes) "
      "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
      supernet, arch, recipe, calibration, artifact, entry.size_bytes);
}

absl::Status BatchWriter::Insert(const BaselineRecord& baseline) {
  FORALL_ASSIGN_OR_RETURN(const int64_t id, interner_.KeyId(baseline.id));
  FORALL_ASSIGN_OR_RETURN(const int64_t device, interner_.KeyId(baseline.device));
  FORALL_ASSIGN_OR_RETURN(const int64_t fingerprint, interner_.KeyId(baseline.device_fingerprint));
  FORALL_ASSIGN_OR_RETURN(const int64_t profile, interner_.KeyId(baseline.profile));
  FORALL_ASSIGN_OR_RETURN(const int64_t reference, interner_.KeyId(baseline.reference_sha256));
  return db_->Run(
      "INSERT INTO baselines (id, device, device_fingerprint, profile, reference, reference_ms, "
      "create_time) VALUES (?, ?, ?, ?, ?, ?, ?)",
      id, device, fingerprint, profile, reference, baseline.reference_ms,
      ToStoredTime(baseline.create_time));
}

absl::Status BatchWriter::Insert(const DatasetRecord& dataset) {
  return db_->Run(
      "INSERT INTO datasets (name, split, checksum, create_time, images) VALUES (?, ?, ?, ?, ?) "
      "ON CONFLICT DO UPDATE SET images = excluded.images WHERE images = 0",
      dataset.name, dataset.split, dataset.checksum, ToStoredTime(dataset.create_time),
      dataset.images);
}

absl::Status BatchWriter::Insert(const AccuracyPartRecord& part) {
  FORALL_RETURN_IF_ERROR(CheckId(part.task_id));
  FORALL_ASSIGN_OR_RETURN(const int64_t artifact, interner_.KeyId(part.artifact_sha256));
  FORALL_ASSIGN_OR_RETURN(const int64_t dataset, interner_.KeyId(part.dataset));
  FORALL_ASSIGN_OR_RETURN(const int64_t split, interner_.KeyId(part.split));
  FORALL_ASSIGN_OR_RETURN(const int64_t worker, interner_.KeyId(part.worker));
  FORALL_ASSIGN_OR_RETURN(const int64_t build, interner_.KeyId(part.worker_build));
  FORALL_ASSIGN_OR_RETURN(const std::string bitmap, CompressBytes(part.top1_bitmap));
  return db_->Run(
      "INSERT INTO accuracy_parts (task, artifact, dataset, split, first_image, images, "
      "top1_correct, top5_correct, top1_bitmap, worker, worker_build, lease_token, time) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      part.task_id, artifact, dataset, split, part.first_image, part.images, part.top1_correct,
      part.top5_correct, Blob{bitmap}, worker, build, part.lease_token, ToStoredTime(part.time));
}

absl::Status BatchWriter::Insert(const EventRecord& event) {
  FORALL_ASSIGN_OR_RETURN(int64_t* const last, LastEvent(event.job_id));
  if (event.sequence < 1 || event.sequence > *last + 1) {
    return absl::InvalidArgumentError("its predecessor is missing");
  }
  if (event.sequence <= *last) return absl::AlreadyExistsError("its number is taken");
  FORALL_RETURN_IF_ERROR(
      db_->Run("INSERT INTO job_events (id, job, seq, kind, payload, time) "
               "VALUES (?, ?, ?, ?, ?, ?)",
               ++events_->last, event.job_id, event.sequence, event.kind, event.payload,
               ToStoredTime(event.time)));
  *last = event.sequence;
  return absl::OkStatus();
}

absl::Status BatchWriter::LoadEventNumbers() {
  if (events_.has_value()) return absl::OkStatus();
  EventNumbers numbers;
  FORALL_ASSIGN_OR_RETURN(numbers.indexed, db_->QueryInt64("SELECT indexed_event FROM controller"));
  // The last may have gone with its job.
  FORALL_ASSIGN_OR_RETURN(
      numbers.last, db_->QueryInt64("SELECT max(coalesce((SELECT max(id) FROM job_events), 0), "
                                    "indexed_event) FROM controller"));
  if (numbers.indexed < 0 || numbers.last > kMostNumber) {
    return absl::DataLossError(absl::StrCat("no event can have the number ",
                                            numbers.indexed < 0 ? numbers.indexed : numbers.last,
                                            ": forall-controller check says what to do"));
  }
  events_ = numbers;
  return absl::OkStatus();
}

absl::Status BatchWriter::RepairEventRuns() {
  FORALL_RETURN_IF_ERROR(LoadEventNumbers());
  FORALL_ASSIGN_OR_RETURN(
      const int64_t whole,
      db_->QueryInt64("SELECT (SELECT count(*) FROM job_events WHERE id <= indexed_event) = "
                      "(SELECT total(last - first + 1) FROM event_runs) FROM controller"));
  if (whole == 0) {
    FORALL_LOG(WARNING) << "event_runs of the store do not hold all events: made anew";
    FORALL_RETURN_IF_ERROR(db_->Run("DELETE FROM event_runs"));
    events_->indexed = 0;
  }
  return IndexEvents();
}

absl::Status BatchWriter::IndexEvents() {
  FORALL_RETURN_IF_ERROR(LoadEventNumbers());
  while (events_->indexed < events_->last) {
    struct Event {
      int64_t job, sequence, id;
    };
    std::vector<Event> events;
    {
      FORALL_ASSIGN_OR_RETURN(
          Statement rows,
          db_->Query("SELECT job, seq, id FROM job_events WHERE id > ? ORDER BY id LIMIT ?",
                     events_->indexed, kMostEventsIndexedAtOnce));
      FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
        events.push_back({rows.Int64(0), rows.Int64(1), rows.Int64(2)});
        return absl::OkStatus();
      }));
    }
    const int64_t last = events.empty() ? events_->last : events.back().id;
    std::stable_sort(events.begin(), events.end(),
                     [](const Event& a, const Event& b) { return a.job < b.job; });
    for (size_t i = 0; i < events.size();) {
      const Event& first = events[i];
      if (first.sequence < 1 || first.sequence > kMostNumber) {
        return absl::DataLossError(absl::StrCat("the log of job ", first.job, " has an event ",
                                                first.sequence, ": restore a backup"));
      }
      std::string ids;
      int64_t sequence = first.sequence;
      for (; i < events.size() && events[i].job == first.job; ++i, ++sequence) {
        if (events[i].sequence != sequence) {
          return absl::DataLossError(absl::StrCat("the log of job ", first.job, " has event ",
                                                  events[i].sequence, " where ", sequence,
                                                  " should be: restore a backup"));
        }
        absl::StrAppend(&ids, ids.empty() ? "" : ",", events[i].id);
      }
      const absl::Status entered =
          db_->Run("INSERT INTO event_runs (job, first, last, events) VALUES (?, ?, ?, ?)",
                   first.job, first.sequence, sequence - 1, ids);
      if (absl::IsAlreadyExists(entered)) {
        return absl::DataLossError(absl::StrCat("event ", first.sequence, " of job ", first.job,
                                                " is there twice: restore a backup"));
      }
      FORALL_RETURN_IF_ERROR(entered);
    }
    FORALL_RETURN_IF_ERROR(db_->Run("UPDATE controller SET indexed_event = ?", last));
    events_->indexed = last;
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t*> BatchWriter::LastEvent(int64_t job) {
  FORALL_RETURN_IF_ERROR(LoadEventNumbers());
  const auto known = last_events_.find(job);
  if (known != last_events_.end()) return &known->second;
  FORALL_ASSIGN_OR_RETURN(
      Statement find,
      db_->Query("SELECT max(coalesce((SELECT last FROM event_runs WHERE job = ?1 "
                 "ORDER BY first DESC LIMIT 1), 0), "
                 "coalesce((SELECT max(seq) FROM job_events WHERE id > ?2 AND job = ?1), 0))",
                 job, events_->indexed));
  FORALL_RETURN_IF_ERROR(find.Step().status());
  if (find.Int64(0) < 0 || find.Int64(0) > kMostNumber) {
    return absl::DataLossError(absl::StrCat("the log of job ", job, " has an event ", find.Int64(0),
                                            ": restore a backup"));
  }
  return RememberLastEvent(job, find.Int64(0));
}

int64_t* BatchWriter::RememberLastEvent(int64_t job, int64_t sequence) {
  if (last_events_.size() >= kMostJobsRemembered) last_events_.clear();
  return &last_events_.insert_or_assign(job, sequence).first->second;
}

absl::Status BatchWriter::Update(const JobRecord& job) {
  FORALL_RETURN_IF_ERROR(db_->Run(
      "UPDATE jobs SET state = ?, error = ?, update_time = ?, end_time = ? WHERE id = ?", job.state,
      job.error, ToStoredTime(job.update_time), ToStoredTime(job.end_time), job.id));
  return db_->changes() == 1 ? absl::OkStatus() : NotThere();
}

absl::Status BatchWriter::Update(const TaskRecord& task) {
  if (task.state != TaskState::kOpen) return End(task);
  FORALL_ASSIGN_OR_RETURN(const int64_t worker, interner_.KeyId(task.completed_by));
  FORALL_RETURN_IF_ERROR(
      db_->Run("UPDATE tasks SET attempts = ?, failed_by = ?, failed_token = ?, "
               "failed_fingerprint = ? WHERE id = ? AND "
               "NOT EXISTS (SELECT 1 FROM task_ends WHERE task = tasks.id)",
               task.attempts, worker, task.completed_token, task.result_fingerprint, task.id));
  return db_->changes() == 1 ? absl::OkStatus() : WhyNotOpen(task.id);
}

absl::Status BatchWriter::End(const TaskRecord& task) {
  FORALL_ASSIGN_OR_RETURN(const int64_t worker, interner_.KeyId(task.completed_by));
  const absl::Status ended = db_->Run(
      "INSERT INTO task_ends (task, state, attempts, completed_by, completed_token, "
      "result_fingerprint, error, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (task) DO NOTHING",
      task.id, task.state, task.attempts, worker, task.completed_token, task.result_fingerprint,
      task.error, task.seconds);
  if (ended.ok() ? db_->changes() == 1 : !absl::IsInvalidArgument(ended)) return ended;
  // Either it has ended, or there is no such task to refer to.
  const absl::Status why = WhyNotOpen(task.id);
  return ended.ok() || absl::IsNotFound(why) ? why : ended;
}

absl::Status BatchWriter::WhyNotOpen(int64_t task) {
  FORALL_ASSIGN_OR_RETURN(Statement find, db_->Query("SELECT 1 FROM tasks WHERE id = ?", task));
  FORALL_ASSIGN_OR_RETURN(const bool found, find.Step());
  return found ? absl::AbortedError("it is no longer open") : NotThere();
}

absl::Status BatchWriter::Update(const DeviceRecord& device) {
  FORALL_ASSIGN_OR_RETURN(const int64_t id, interner_.KeyId(device.id));
  const std::string properties = ToStoredMap(device.properties);
  return db_->Run(
      "INSERT INTO devices (id, device_class, description, fingerprint, properties) "
      "VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET device_class = ?2, "
      "description = ?3, fingerprint = ?4, properties = ?5",
      id, device.device_class, device.description, device.fingerprint, properties);
}

absl::Status BatchWriter::Update(const Retraction& retraction) {
  if (retraction.by.empty()) return absl::InvalidArgumentError("it must say by whom");
  FORALL_RETURN_IF_ERROR(db_->Run("UPDATE measurements SET retracted_by = ? WHERE id = ?",
                                  retraction.by, retraction.measurement_id));
  return db_->changes() == 1 ? absl::OkStatus() : NotThere();
}

absl::Status BatchWriter::Update(const SampleDrop& drop) {
  FORALL_RETURN_IF_ERROR(db_->Run("UPDATE latencies SET samples_dropped = ? WHERE measurement = ?",
                                  ToStoredTime(drop.time), drop.measurement_id));
  if (db_->changes() != 1) return absl::OkStatus();
  return db_->Run(
      "UPDATE evidence SET samples = x'', reference_samples = x'' WHERE measurement = ?",
      drop.measurement_id);
}

}  // namespace forall
