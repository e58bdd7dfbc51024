// SPDX-License-Identifier: Apache-2.0
#include "search/store/record_reader.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/cut_text.h"
#include "search/store/evidence_codec.h"
#include "search/store/stored_value.h"

namespace forall {
namespace {

// A split has fewer; sums of two of them do not overflow.
constexpr int64_t kMostImages = int64_t{1} << 40;
// Of what a message repeats of a damaged row.
constexpr size_t kMostQuoted = 100;

// Runs `rows` and lets `read` turn each row into a record. Errors say that it was a `what`, and
// name it by its first column.
template <typename Record, typename Read>
absl::StatusOr<std::vector<Record>> ReadAll(absl::string_view what, absl::StatusOr<Statement> rows,
                                            Read read) {
  if (!rows.ok()) return rows.status();
  std::vector<Record> records;
  FORALL_RETURN_IF_ERROR(rows->ForEachRow([&]() -> absl::Status {
    absl::StatusOr<Record> record = read(*rows);
    if (!record.ok()) {
      return WithContext(
          record.status(),
          absl::StrCat(what, " ", absl::CHexEscape(CutText(rows->Text(0), kMostQuoted))));
    }
    records.push_back(*std::move(record));
    return absl::OkStatus();
  }));
  return records;
}

absl::Time TimeAt(const Statement& row, int column) { return FromStoredTime(row.Int64(column)); }

std::optional<absl::Time> OptionalTimeAt(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return TimeAt(row, column);
}

absl::StatusOr<JobRecord> JobFrom(const Statement& row) {
  JobRecord job;
  job.id = row.Int64(0);
  job.request_id = row.Text(1);
  job.spec = row.Text(2);
  job.supernet_sha256 = row.Text(3);
  FORALL_ASSIGN_OR_RETURN(job.state, FromStoredEnum(row.Int64(4), JobState::kFailed, "job state"));
  job.error = row.Text(5);
  job.history_snapshot = row.Int64(6);
  job.create_time = TimeAt(row, 7);
  job.update_time = TimeAt(row, 8);
  job.end_time = OptionalTimeAt(row, 9);
  return job;
}

absl::StatusOr<TrialRecord> TrialFrom(const Statement& row) {
  TrialRecord trial;
  trial.id = row.Int64(0);
  trial.job_id = row.Int64(1);
  trial.ordinal = row.Int64(2);
  trial.search_space = row.Text(3);
  trial.revision = static_cast<int32_t>(row.Int64(4));
  FORALL_ASSIGN_OR_RETURN(trial.choices, FromStoredInts(row.Text(5)));
  trial.arch_key = row.Text(6);
  trial.graph_key = row.Text(7);
  trial.create_time = TimeAt(row, 8);
  return trial;
}

absl::StatusOr<TaskRecord> TaskFrom(const Statement& row) {
  TaskRecord task;
  task.id = row.Int64(0);
  task.job_id = row.Int64(1);
  task.trial_id = row.Int64(2);
  FORALL_ASSIGN_OR_RETURN(task.kind, FromStoredEnum(row.Int64(3), TaskKind::kLatency, "task kind"));
  task.payload = row.Text(4);
  const bool open = row.IsNull(9);
  if (!open) {
    FORALL_ASSIGN_OR_RETURN(task.state,
                            FromStoredEnum(row.Int64(9), TaskState::kCancelled, "task state"));
    if (task.state == TaskState::kOpen) return absl::DataLossError("it has ended, but is open");
    task.error = row.Text(14);
    task.seconds = row.Double(15);
  }
  task.attempts = static_cast<int32_t>(row.Int64(open ? 5 : 10));
  task.completed_by = row.Text(open ? 6 : 11);
  task.completed_token = row.Text(open ? 7 : 12);
  task.result_fingerprint = row.Text(open ? 8 : 13);
  return task;
}

// Texts and conditions by id. Measurements repeat few of them in millions of rows, so they are
// looked up here rather than joined by SQLite ten times a row.
class Dictionary {
 public:
  static absl::StatusOr<Dictionary> Load(Db* db) {
    Dictionary dictionary;
    FORALL_ASSIGN_OR_RETURN(Statement keys, db->Query("SELECT id, text FROM keys"));
    FORALL_RETURN_IF_ERROR(keys.ForEachRow([&] {
      dictionary.texts_.emplace(keys.Int64(0), keys.Text(1));
      return absl::OkStatus();
    }));
    FORALL_ASSIGN_OR_RETURN(
        Statement conditions,
        db->Query("SELECT id, device, device_class, device_fingerprint, profile, dataset, split, "
                  "recipe, batch FROM conditions"));
    FORALL_RETURN_IF_ERROR(conditions.ForEachRow([&]() -> absl::Status {
      MeasurementKey key;
      int column = 0;
      for (std::string* text : {&key.device, &key.device_class, &key.device_fingerprint,
                                &key.profile, &key.dataset, &key.split, &key.recipe}) {
        FORALL_ASSIGN_OR_RETURN(*text, dictionary.Text(conditions.Int64(++column)));
      }
      key.batch = static_cast<int32_t>(conditions.Int64(8));
      dictionary.conditions_.emplace(conditions.Int64(0), std::move(key));
      return absl::OkStatus();
    }));
    return dictionary;
  }

  absl::StatusOr<std::string> Text(int64_t id) const {
    const auto found = texts_.find(id);
    if (found == texts_.end()) return absl::DataLossError(absl::StrCat("key ", id, " is missing"));
    return found->second;
  }

  absl::StatusOr<MeasurementKey> Condition(int64_t id) const {
    const auto found = conditions_.find(id);
    if (found == conditions_.end()) {
      return absl::DataLossError(absl::StrCat("condition ", id, " is missing"));
    }
    return found->second;
  }

 private:
  absl::flat_hash_map<int64_t, std::string> texts_;
  absl::flat_hash_map<int64_t, MeasurementKey> conditions_;
};

absl::StatusOr<MeasurementRecord> MeasurementFrom(const Statement& row,
                                                  const Dictionary& dictionary) {
  MeasurementRecord m;
  m.id = row.Int64(0);
  m.job_id = row.Int64(1);
  m.trial_id = row.Int64(2);
  m.task_id = row.Int64(3);
  FORALL_ASSIGN_OR_RETURN(m.key, dictionary.Condition(row.Int64(6)));
  FORALL_ASSIGN_OR_RETURN(m.key.subject, dictionary.Text(row.Int64(4)));
  FORALL_ASSIGN_OR_RETURN(m.key.metric, dictionary.Text(row.Int64(5)));
  m.value = row.Double(7);
  m.low = row.Double(8);
  m.high = row.Double(9);
  FORALL_ASSIGN_OR_RETURN(m.interval_kind, dictionary.Text(row.Int64(10)));
  m.sample_count = row.Int64(11);
  FORALL_ASSIGN_OR_RETURN(m.verdict,
                          FromStoredEnum(row.Int64(12), VerdictState::kRejected, "verdict"));
  FORALL_ASSIGN_OR_RETURN(m.reasons, FromStoredList(row.Text(13)));
  FORALL_ASSIGN_OR_RETURN(m.fidelity,
                          FromStoredEnum(row.Int64(14), FidelityLevel::kFinal, "fidelity"));
  FORALL_ASSIGN_OR_RETURN(m.worker, dictionary.Text(row.Int64(15)));
  FORALL_ASSIGN_OR_RETURN(m.worker_build, dictionary.Text(row.Int64(16)));
  m.lease_token = row.Text(17);
  m.time = TimeAt(row, 18);
  m.retracted_by = row.Text(19);
  m.ratio = row.Double(20);
  m.raw_median_ms = row.Double(21);
  m.reference_median_ms = row.Double(22);
  m.baseline_reference_ms = row.Double(23);
  if (!row.IsNull(24)) {
    FORALL_ASSIGN_OR_RETURN(m.baseline_id, dictionary.Text(row.Int64(24)));
  }
  m.samples_dropped = OptionalTimeAt(row, 25);
  return m;
}

absl::StatusOr<std::vector<MeasurementRecord>> MeasurementsInSnapshot(Db* db) {
  FORALL_ASSIGN_OR_RETURN(const Dictionary dictionary, Dictionary::Load(db));
  return ReadAll<MeasurementRecord>(
      "measurement",
      db->Query("SELECT id, job, trial, task, subject, metric, condition, value, low, high, "
                "interval_kind, sample_count, verdict, reasons, fidelity, worker, worker_build, "
                "lease_token, time, retracted_by, ratio, raw_median_ms, reference_median_ms, "
                "baseline_reference_ms, baseline, samples_dropped "
                "FROM measurements LEFT JOIN latencies ON measurement = id ORDER BY id"),
      [&](const Statement& row) { return MeasurementFrom(row, dictionary); });
}

template <typename T>
absl::StatusOr<T> InSnapshot(Db* db, absl::FunctionRef<absl::StatusOr<T>()> read) {
  FORALL_RETURN_IF_ERROR(db->Run("BEGIN"));
  absl::StatusOr<T> result = read();
  if (db->in_transaction()) db->Run("ROLLBACK").IgnoreError();
  return result;
}

EventRecord EventFrom(const Statement& row) {
  return {.job_id = row.Int64(0),
          .sequence = row.Int64(1),
          .kind = row.Text(2),
          .payload = row.Text(3),
          .time = TimeAt(row, 4)};
}

absl::Status EventIsLost(int64_t job_id, int64_t sequence) {
  return absl::DataLossError(
      absl::StrCat("event ", sequence, " of job ", job_id,
                   " is not where it should be: forall-controller check says what to do"));
}

absl::StatusOr<std::vector<EventRecord>> EventsInSnapshot(Db* db, int64_t job_id, int64_t after,
                                                          int64_t limit) {
  std::vector<EventRecord> events;
  const auto full = [&] { return static_cast<int64_t>(events.size()) >= limit; };
  FORALL_ASSIGN_OR_RETURN(Statement runs,
                          db->Query("SELECT first, events FROM event_runs "
                                    "WHERE job = ?1 AND first >= coalesce((SELECT max(first) FROM "
                                    "event_runs WHERE job = ?1 AND first <= ?2), 0) ORDER BY first",
                                    job_id, after));
  while (!full()) {
    FORALL_ASSIGN_OR_RETURN(const bool more, runs.Step());
    if (!more) break;
    if (runs.Int64(0) < 1 || runs.Int64(0) > kMostNumber) return EventIsLost(job_id, runs.Int64(0));
    int64_t sequence = runs.Int64(0) - 1;
    const std::string ids = runs.Text(1);
    for (const absl::string_view text : absl::StrSplit(ids, ',')) {
      ++sequence;
      if (sequence <= after) continue;
      if (full()) break;
      int64_t id = 0;
      if (!absl::SimpleAtoi(text, &id)) return EventIsLost(job_id, sequence);
      FORALL_ASSIGN_OR_RETURN(
          Statement row,
          db->Query("SELECT job, seq, kind, payload, time FROM job_events WHERE id = ?", id));
      FORALL_ASSIGN_OR_RETURN(const bool found, row.Step());
      if (!found || row.Int64(0) != job_id || row.Int64(1) != sequence) {
        return EventIsLost(job_id, sequence);
      }
      events.push_back(EventFrom(row));
    }
  }
  if (full()) return events;
  FORALL_ASSIGN_OR_RETURN(
      std::vector<EventRecord> rest,
      ReadAll<EventRecord>(
          "an event of job",
          db->Query("SELECT job, seq, kind, payload, time FROM job_events "
                    "WHERE id > (SELECT indexed_event FROM controller) "
                    "AND job = ? AND seq > ? ORDER BY id LIMIT ?",
                    job_id, after, limit - static_cast<int64_t>(events.size())),
          [](const Statement& row) -> absl::StatusOr<EventRecord> { return EventFrom(row); }));
  std::move(rest.begin(), rest.end(), std::back_inserter(events));
  return events;
}

}  // namespace

absl::StatusOr<StoreIds> ReadIds(Db* db) {
  StoreIds ids;
  FORALL_ASSIGN_OR_RETURN(ids.job,
                          db->QueryInt64("SELECT max((SELECT coalesce(max(id), 0) FROM jobs), "
                                         "(SELECT coalesce(max(id), 0) FROM deleted_jobs))"));
  FORALL_ASSIGN_OR_RETURN(
      ids.trial, db->QueryInt64("SELECT max((SELECT coalesce(max(id), 0) FROM trials), "
                                "(SELECT coalesce(max(last_trial), 0) FROM deleted_jobs))"));
  FORALL_ASSIGN_OR_RETURN(
      ids.task, db->QueryInt64("SELECT max((SELECT coalesce(max(id), 0) FROM tasks), "
                               "(SELECT coalesce(max(last_task), 0) FROM deleted_jobs))"));
  FORALL_ASSIGN_OR_RETURN(
      ids.measurement,
      db->QueryInt64("SELECT max((SELECT coalesce(max(id), 0) FROM measurements), "
                     "(SELECT coalesce(max(last_measurement), 0) FROM deleted_supernets))"));
  for (const auto& [what, highest] : {std::pair("job", ids.job),
                                      {"trial", ids.trial},
                                      {"task", ids.task},
                                      {"measurement", ids.measurement}}) {
    FORALL_ASSIGN_OR_RETURN(
        const int64_t lowest,
        db->QueryInt64(absl::StrCat("SELECT coalesce(min(id), 1) FROM ", what, "s")));
    if (lowest >= 1 && highest <= kMostNumber) continue;
    return absl::DataLossError(absl::StrCat("no ", what, " can have the number ",
                                            lowest < 1 ? lowest : highest, ": restore a backup"));
  }
  return ids;
}

absl::StatusOr<std::vector<JobRecord>> ReadJobs(Db* db) {
  return ReadAll<JobRecord>(
      "job",
      db->Query("SELECT jobs.id, request_id, spec, supernet.text, state, error, history_snapshot, "
                "create_time, update_time, end_time "
                "FROM jobs JOIN keys AS supernet ON supernet.id = supernet ORDER BY jobs.id"),
      JobFrom);
}

absl::StatusOr<std::vector<TrialRecord>> ReadTrials(Db* db, int64_t job_id) {
  return ReadAll<TrialRecord>(
      "trial",
      db->Query(
          "SELECT trials.id, job, ordinal, s.text, revision, choices, a.text, g.text, create_time "
          "FROM trials JOIN keys AS s ON s.id = search_space JOIN keys AS a ON a.id = arch "
          "JOIN keys AS g ON g.id = graph "
          "WHERE job = ? ORDER BY ordinal",
          job_id),
      TrialFrom);
}

absl::StatusOr<std::vector<TaskRecord>> ReadTasks(Db* db, int64_t job_id) {
  return ReadAll<TaskRecord>(
      "task",
      db->Query("SELECT t.id, job, trial, kind, payload, t.attempts, f.text, failed_token, "
                "failed_fingerprint, state, e.attempts, w.text, completed_token, "
                "result_fingerprint, error, seconds FROM tasks AS t "
                "JOIN keys AS f ON f.id = failed_by "
                "LEFT JOIN task_ends AS e ON e.task = t.id "
                "LEFT JOIN keys AS w ON w.id = completed_by WHERE job = ? ORDER BY t.id",
                job_id),
      TaskFrom);
}

absl::StatusOr<std::vector<EventRecord>> ReadEvents(Db* db, int64_t job_id, int64_t after,
                                                    int64_t limit) {
  // One snapshot: an event is in event_runs, or comes after all that are.
  return InSnapshot<std::vector<EventRecord>>(
      db, [&] { return EventsInSnapshot(db, job_id, after, limit); });
}

absl::StatusOr<std::vector<MeasurementRecord>> ReadMeasurements(Db* db) {
  // One snapshot, so that every key that a measurement names is among those read before.
  return InSnapshot<std::vector<MeasurementRecord>>(db, [&] { return MeasurementsInSnapshot(db); });
}

absl::StatusOr<MeasurementEvidence> ReadEvidence(Db* db, int64_t measurement_id) {
  FORALL_ASSIGN_OR_RETURN(Statement row,
                          db->Query("SELECT samples, reference_samples, top1_bitmap, environment "
                                    "FROM evidence WHERE measurement = ?",
                                    measurement_id));
  FORALL_ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) {
    return absl::NotFoundError(absl::StrCat("measurement ", measurement_id, " has no evidence"));
  }
  MeasurementEvidence evidence;
  evidence.measurement_id = measurement_id;
  FORALL_ASSIGN_OR_RETURN(evidence.samples_ns, DecompressSamples(row.Text(0)));
  FORALL_ASSIGN_OR_RETURN(evidence.reference_samples_ns, DecompressSamples(row.Text(1)));
  FORALL_ASSIGN_OR_RETURN(evidence.top1_bitmap, DecompressBytes(row.Text(2)));
  FORALL_ASSIGN_OR_RETURN(const std::string environment, DecompressBytes(row.Text(3)));
  FORALL_ASSIGN_OR_RETURN(evidence.environment, FromStoredMap(environment));
  return evidence;
}

absl::StatusOr<std::vector<ArtifactRecord>> ReadArtifacts(Db* db) {
  return ReadAll<ArtifactRecord>(
      "artifact",
      db->Query("SELECT text, size_bytes, create_time FROM artifacts JOIN keys ON keys.id = hash "
                "ORDER BY hash"),
      [](const Statement& row) -> absl::StatusOr<ArtifactRecord> {
        return ArtifactRecord{
            .sha256 = row.Text(0), .size_bytes = row.Int64(1), .create_time = TimeAt(row, 2)};
      });
}

absl::StatusOr<std::vector<SupernetRecord>> ReadSupernets(Db* db) {
  return ReadAll<SupernetRecord>(
      "supernet",
      db->Query("SELECT supernets.id, h.text, spec, d.text, create_time FROM supernets "
                "JOIN keys AS h ON h.id = hash JOIN keys AS d ON d.id = dataset ORDER BY number"),
      [](const Statement& row) -> absl::StatusOr<SupernetRecord> {
        return SupernetRecord{.id = row.Text(0),
                              .sha256 = row.Text(1),
                              .spec = row.Text(2),
                              .dataset = row.Text(3),
                              .create_time = TimeAt(row, 4)};
      });
}

absl::StatusOr<std::vector<ExportRecord>> ReadExports(Db* db) {
  return ReadAll<ExportRecord>(
      "an export of supernet",
      db->Query("SELECT s.text, a.text, r.text, c.text, f.text, size_bytes FROM exports "
                "JOIN keys AS s ON s.id = supernet JOIN keys AS a ON a.id = arch "
                "JOIN keys AS r ON r.id = recipe JOIN keys AS c ON c.id = calibration "
                "JOIN keys AS f ON f.id = artifact"),
      [](const Statement& row) -> absl::StatusOr<ExportRecord> {
        return ExportRecord{.supernet_sha256 = row.Text(0),
                            .arch_key = row.Text(1),
                            .recipe = row.Text(2),
                            .calibration_id = row.Text(3),
                            .artifact_sha256 = row.Text(4),
                            .size_bytes = row.Int64(5)};
      });
}

absl::StatusOr<std::vector<BaselineRecord>> ReadBaselines(Db* db) {
  return ReadAll<BaselineRecord>(
      "baseline",
      db->Query("SELECT i.text, d.text, f.text, p.text, r.text, reference_ms, create_time "
                "FROM baselines JOIN keys AS i ON i.id = baselines.id "
                "JOIN keys AS d ON d.id = device JOIN keys AS f ON f.id = device_fingerprint "
                "JOIN keys AS p ON p.id = profile JOIN keys AS r ON r.id = reference "
                "ORDER BY baselines.id"),
      [](const Statement& row) -> absl::StatusOr<BaselineRecord> {
        return BaselineRecord{.id = row.Text(0),
                              .device = row.Text(1),
                              .device_fingerprint = row.Text(2),
                              .profile = row.Text(3),
                              .reference_sha256 = row.Text(4),
                              .reference_ms = row.Double(5),
                              .create_time = TimeAt(row, 6)};
      });
}

absl::StatusOr<std::vector<DatasetRecord>> ReadDatasets(Db* db) {
  return ReadAll<DatasetRecord>(
      "dataset",
      db->Query(
          "SELECT name, split, checksum, create_time, images FROM datasets ORDER BY name, split"),
      [](const Statement& row) -> absl::StatusOr<DatasetRecord> {
        return DatasetRecord{.name = row.Text(0),
                             .split = row.Text(1),
                             .checksum = row.Text(2),
                             .create_time = TimeAt(row, 3),
                             .images = row.Int64(4)};
      });
}

absl::StatusOr<std::vector<AccuracyPartRecord>> ReadParts(Db* db) {
  return ReadAll<AccuracyPartRecord>(
      "the accuracy part of task",
      db->Query("SELECT task, a.text, d.text, s.text, first_image, images, top1_correct, "
                "top5_correct, top1_bitmap, w.text, b.text, lease_token, time FROM accuracy_parts "
                "JOIN keys AS a ON a.id = artifact JOIN keys AS d ON d.id = dataset "
                "JOIN keys AS s ON s.id = split JOIN keys AS w ON w.id = worker "
                "JOIN keys AS b ON b.id = worker_build ORDER BY task"),
      [](const Statement& row) -> absl::StatusOr<AccuracyPartRecord> {
        AccuracyPartRecord part;
        part.task_id = row.Int64(0);
        part.artifact_sha256 = row.Text(1);
        part.dataset = row.Text(2);
        part.split = row.Text(3);
        part.first_image = row.Int64(4);
        part.images = row.Int64(5);
        part.top1_correct = row.Int64(6);
        part.top5_correct = row.Int64(7);
        FORALL_ASSIGN_OR_RETURN(part.top1_bitmap, DecompressBytes(row.Text(8)));
        part.worker = row.Text(9);
        part.worker_build = row.Text(10);
        part.lease_token = row.Text(11);
        part.time = TimeAt(row, 12);
        if (part.first_image < 0 || part.first_image > kMostImages || part.images < 1 ||
            part.images > kMostImages ||
            static_cast<int64_t>(part.top1_bitmap.size()) != (part.images + 7) / 8) {
          return absl::DataLossError("it is damaged");
        }
        return part;
      });
}

absl::StatusOr<std::vector<DeviceRecord>> ReadDevices(Db* db) {
  return ReadAll<DeviceRecord>(
      "device",
      db->Query("SELECT text, device_class, description, fingerprint, properties "
                "FROM devices JOIN keys ON keys.id = devices.id ORDER BY devices.id"),
      [](const Statement& row) -> absl::StatusOr<DeviceRecord> {
        FORALL_ASSIGN_OR_RETURN(auto properties, FromStoredMap(row.Text(4)));
        return DeviceRecord{.id = row.Text(0),
                            .device_class = row.Text(1),
                            .description = row.Text(2),
                            .fingerprint = row.Text(3),
                            .properties = std::move(properties)};
      });
}

absl::StatusOr<std::vector<LifeRecord>> ReadLives(Db* db) {
  return ReadAll<LifeRecord>(
      "life", db->Query("SELECT epoch, secret, tasks_before FROM lives ORDER BY epoch"),
      [](const Statement& row) -> absl::StatusOr<LifeRecord> {
        LifeRecord life{.epoch = row.Int64(0), .secret = row.Text(1), .tasks_before = row.Int64(2)};
        if (life.secret.size() == kLifeSecretBytes) return life;
        return absl::DataLossError(absl::StrCat("its secret has ", life.secret.size(),
                                                " bytes instead of ", kLifeSecretBytes));
      });
}

}  // namespace forall
