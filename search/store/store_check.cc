// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_check.h"

#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/cut_text.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "search/store/migrations.h"
#include "search/store/record_reader.h"
#include "search/store/sqlite_db.h"
#include "search/store/store_file.h"

namespace forall {
namespace {

constexpr char kRestore[] =
    "stop the controller and restore a backup (docs/operations.md); what was measured since is "
    "then measured again";
constexpr char kRecover[] =
    "stop the controller and restore a backup, or save what can be read (docs/operations.md has "
    "both)";

constexpr char kReindex[] =
    "stop the controller and run, in SQLite's shell, DELETE FROM event_runs; UPDATE controller SET "
    "indexed_event = 0; the next start makes them anew";
constexpr char kForget[] =
    "somebody has changed the database by hand: stop the controller and run DELETE FROM lives in "
    "SQLite's shell; tasks that workers hold are then done again";

// A rule that rows must keep. The query finds those that do not, one text each.
struct Rule {
  absl::string_view sql;
  absl::string_view advice;
};

// Numbers of states and kinds are those of result_store.h.
constexpr Rule kRules[] = {
    // A measurement is stored exactly once. Without the index that sees to it, which may be
    // damaged.
    {"SELECT 'task ' || m.task || ' has ' || count(*) || ' measurements of ' || k.text || "
     "' under one condition' FROM measurements m NOT INDEXED JOIN keys k ON k.id = m.metric "
     "WHERE m.task IS NOT NULL GROUP BY m.task, m.metric, m.condition HAVING count(*) > 1",
     kRestore},
    // A job's log is numbered 1, 2, ... without gaps, and says what the tables say.
    {"SELECT 'the log of searchJobs/' || job || ' has a gap: ' || count(*) || ' events, numbered ' "
     "|| min(seq) || ' to ' || max(seq) FROM job_events GROUP BY job "
     "HAVING min(seq) != 1 OR max(seq) != count(*) OR count(DISTINCT seq) != count(*)",
     kRestore},
    {"SELECT 'searchJobs/' || id || ' has no log' FROM jobs "
     "WHERE id NOT IN (SELECT job FROM job_events)",
     kRestore},
    {"SELECT 'the log of searchJobs/' || j.id || ' proposes ' || coalesce(proposed, 0) || "
     "' trials, but ' || coalesce(stored, 0) || ' are stored' FROM jobs j "
     "LEFT JOIN (SELECT job, count(*) AS proposed FROM job_events WHERE kind = 'proposed' "
     "GROUP BY job) e ON e.job = j.id "
     "LEFT JOIN (SELECT job, count(*) AS stored FROM trials GROUP BY job) t ON t.job = j.id "
     "WHERE coalesce(proposed, 0) != coalesce(stored, 0)",
     kRestore},
    // Its events are found by event_runs, or come after those that are.
    {"SELECT 'the log of searchJobs/' || job || ' cannot be read from event ' || first "
     "FROM event_runs WHERE CASE WHEN json_valid('[' || events || ']') "
     "THEN json_array_length('[' || events || ']') != last - first + 1 ELSE true END",
     kReindex},
    {"SELECT 'event ' || (r.first + i.key) || ' of searchJobs/' || r.job || ' is not where it "
     "should be' FROM event_runs r, json_each(CASE WHEN json_valid('[' || events || ']') "
     "THEN '[' || events || ']' ELSE '[]' END) i LEFT JOIN job_events e ON e.id = i.value "
     "WHERE e.job IS NOT r.job OR e.seq IS NOT r.first + i.key OR i.type != 'integer' OR "
     "i.value > (SELECT indexed_event FROM controller)",
     kReindex},
    {"SELECT 'the log of searchJobs/' || job || ' is found twice, or not, before event ' || first "
     "FROM (SELECT job, first, lag(last, 1, 0) OVER (PARTITION BY job ORDER BY first) AS before "
     "FROM event_runs) WHERE before + 1 != first",
     kReindex},
    {"SELECT 'of ' || there || ' events of searchJobs/' || e.job || ' ' || "
     "cast(coalesce(found, 0) AS INTEGER) || ' are found' FROM (SELECT job, count(*) AS there FROM "
     "job_events WHERE id <= "
     "(SELECT indexed_event FROM controller) GROUP BY job) e LEFT JOIN "
     "(SELECT job, total(last - first + 1) AS found FROM event_runs GROUP BY job) r "
     "ON r.job = e.job WHERE there IS NOT found",
     kReindex},
    {"SELECT 'logs are indexed to event ' || indexed_event || ', which there cannot be' FROM "
     "controller WHERE indexed_event NOT BETWEEN 0 AND 4611686018427387904",
     kReindex},
    {"SELECT 'the trials of searchJobs/' || job || ' are not numbered 1 to ' || count(*) "
     "FROM trials GROUP BY job HAVING min(ordinal) != 1 OR max(ordinal) != count(*)",
     kRestore},
    // Numbers are counted from 1 (record_reader.cc).
    {"SELECT what || ' ' || id || ' has a number that none can have' FROM "
     "(SELECT 'job' AS what, id FROM jobs UNION ALL SELECT 'trial', id FROM trials "
     "UNION ALL SELECT 'task', id FROM tasks UNION ALL SELECT 'measurement', id FROM measurements) "
     "WHERE id < 1 OR id > 4611686018427387904",
     kRestore},
    // States are those that there are, and what has ended says when.
    {"SELECT 'searchJobs/' || id || ' is in state ' || state || ', which does not exist' FROM jobs "
     "WHERE state NOT BETWEEN 1 AND 6",
     kRestore},
    {"SELECT 'task ' || id || ' is of kind ' || kind || ', which does not exist' FROM tasks "
     "WHERE kind NOT BETWEEN 1 AND 3",
     kRestore},
    {"SELECT 'task ' || task || ' has ended in state ' || state || ', which is no end' "
     "FROM task_ends WHERE state NOT BETWEEN 2 AND 4",
     kRestore},
    {"SELECT 'searchJobs/' || id || CASE WHEN end_time IS NULL THEN ' has ended, but not when' "
     "ELSE ' goes on, but has an end' END FROM jobs WHERE (state >= 4) = (end_time IS NULL)",
     kRestore},
    // A task that is done says by whom and with what, and has its number.
    {"SELECT 'task ' || e.task || ' is done, but not by whom or with what' FROM task_ends e "
     "JOIN keys k ON k.id = e.completed_by "
     "WHERE e.state = 2 AND (k.text = '' OR e.completed_token = '' OR e.result_fingerprint = '')",
     kRestore},
    {"SELECT 'task ' || t.id || ' has timed a network, but its latency is not stored' FROM tasks t "
     "JOIN task_ends e ON e.task = t.id WHERE e.state = 2 AND t.kind = 3 AND "
     "NOT EXISTS (SELECT 1 FROM measurements m WHERE m.task = t.id)",
     kRestore},
    {"SELECT 'the part of an accuracy that task ' || p.task || ' was is stored, but the task is "
     "not "
     "done' FROM accuracy_parts p "
     "WHERE NOT EXISTS (SELECT 1 FROM task_ends e WHERE e.task = p.task AND e.state = 2)",
     kRestore},
    // What belongs together is of one job.
    {"SELECT 'task ' || k.id || ' is of searchJobs/' || k.job || ', its trial of searchJobs/' || "
     "t.job FROM tasks k JOIN trials t ON t.id = k.trial WHERE t.job != k.job",
     kRestore},
    {"SELECT 'measurement ' || m.id || ' is of searchJobs/' || coalesce(m.job, 0) || "
     "', its trial of searchJobs/' || t.job FROM measurements m JOIN trials t ON t.id = m.trial "
     "WHERE m.job IS NOT t.job",
     kRestore},
    // Numbers are numbers, within their intervals, but for what rounding may do.
    {"SELECT 'measurement ' || id || ' is ' || value || ' in ' || low || ' to ' || high FROM "
     "measurements WHERE verdict != 3 AND retracted_by = '' AND "
     "(abs(value) > 1.7e308 OR abs(low) > 1.7e308 OR abs(high) > 1.7e308 OR low - value > 1e-9 * "
     "abs(value) OR value - high > 1e-9 * abs(value))",
     "find out who measured it (forall workers), and retract it: forall measurements retract"},
    {"SELECT 'measurement ' || id || ' has verdict ' || verdict || ' and fidelity ' || fidelity "
     "FROM measurements WHERE verdict NOT BETWEEN 1 AND 3 OR fidelity NOT BETWEEN 1 AND 2",
     kRestore},
    {"SELECT 'searchJobs/' || id || ' was deleted, but is there' FROM jobs "
     "WHERE id IN (SELECT id FROM deleted_jobs)",
     kRestore},
    // What leases are signed with.
    {"SELECT 'life ' || epoch || ' of the controller has a secret of ' || length(secret) || "
     "' bytes' FROM lives WHERE length(secret) != 32",
     kForget},
    {"SELECT 'the controller was started ' || epoch || ' times' FROM controller WHERE epoch < 0",
     kRestore},
    {"SELECT 'there is a life ' || epoch || ', but the controller was started only ' || "
     "(SELECT epoch FROM controller) || ' times' FROM lives "
     "WHERE epoch > (SELECT epoch FROM controller)",
     kForget},
    // What is exported or searched has its file.
    {"SELECT 'the model ' || a.text || ' of a subnet ' || c.text || ' is in no table of artifacts' "
     "FROM exports e JOIN keys a ON a.id = e.artifact JOIN keys c ON c.id = e.arch "
     "WHERE NOT EXISTS (SELECT 1 FROM artifacts f WHERE f.hash = e.artifact)",
     kRestore},
    {"SELECT 'the weights ' || k.text || ' of supernets/' || s.id || ' are in no table of "
     "artifacts' "
     "FROM supernets s JOIN keys k ON k.id = s.hash "
     "WHERE NOT EXISTS (SELECT 1 FROM artifacts f WHERE f.hash = s.hash)",
     kRestore},
    {"SELECT 'the log of searchJobs/' || job || ' has a model ' || artifact || ' that was never "
     "exported' FROM (SELECT job, CASE WHEN json_valid(payload) THEN payload ->> 'artifact' END AS "
     "artifact FROM job_events WHERE kind = 'exported') WHERE artifact != '' AND artifact NOT IN "
     "(SELECT text FROM artifacts JOIN keys ON id = hash)",
     kRestore},
};

class Check {
 public:
  explicit Check(const CheckOptions& options) : options_(options) {}

  absl::StatusOr<CheckReport> Run() {
    absl::StatusOr<std::unique_ptr<Db>> db = OpenStoreFile(options_.db);
    if (absl::IsDataLoss(db.status())) {
      Find("file", std::string(db.status().message()), kRecover);
      return Finish();
    }
    if (!db.ok()) return db.status();
    FORALL_RETURN_IF_ERROR(CheckVersion(db->get()));
    if (const absl::Status status = CheckContent(*std::move(db)); !status.ok()) {
      // Damage that keeps a query from being answered.
      if (!absl::IsDataLoss(status))
        return WithContext(status, absl::StrCat("store ", options_.db));
      Find("file", std::string(status.message()), kRecover);
    }
    return Finish();
  }

 private:
  absl::Status CheckVersion(Db* db) {
    const int64_t newest = static_cast<int64_t>(StoreMigrations().size());
    FORALL_ASSIGN_OR_RETURN(const int64_t version, db->QueryInt64("PRAGMA user_version"));
    if (version == newest) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("store ", options_.db, ": it is of schema ", version, ", this forall checks ",
                     newest, ": start the controller on it once, which brings it up to date"));
  }

  absl::Status CheckContent(std::unique_ptr<Db> db) {
    FORALL_ASSIGN_OR_RETURN(const bool whole, CheckPages(db.get()));
    // On damaged pages every other finding would be a guess.
    if (!whole) return absl::OkStatus();
    FORALL_RETURN_IF_ERROR(CheckSchema(db.get()));
    FORALL_RETURN_IF_ERROR(CheckReferences(db.get()));
    for (const Rule& rule : kRules) {
      FORALL_ASSIGN_OR_RETURN(Statement rows, db->Query(rule.sql));
      FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
        Find(rule.sql, rows.Text(0), rule.advice);
        return absl::OkStatus();
      }));
    }
    FORALL_ASSIGN_OR_RETURN(report_.jobs, db->QueryInt64("SELECT count(*) FROM jobs"));
    FORALL_ASSIGN_OR_RETURN(report_.measurements,
                            db->QueryInt64("SELECT count(*) FROM measurements"));
    FORALL_ASSIGN_OR_RETURN(const std::vector<ArtifactRecord> artifacts, ArtifactsOf(db.get()));
    if (options_.deep) FORALL_RETURN_IF_ERROR(CheckEvidence(db.get()));
    // The log of the store cannot begin anew while its moment is held.
    db.reset();
    if (options_.on_rows_read != nullptr) options_.on_rows_read();
    CheckArtifacts(artifacts);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> CheckPages(Db* db) {
    bool whole = true;
    FORALL_ASSIGN_OR_RETURN(Statement rows, db->Query("PRAGMA integrity_check(1000)"));
    const absl::Status checked = rows.ForEachRow([&] {
      if (rows.Text(0) == "ok") return absl::OkStatus();
      whole = false;
      // It may have a heading of its own.
      Find("pages",
           absl::StrCat("the file is damaged: ",
                        absl::StrReplaceAll(rows.Text(0),
                                            {{"*** in database main ***\n", ""}, {"\n", "; "}})),
           kRecover);
      return absl::OkStatus();
    });
    if (!whole && absl::IsDataLoss(checked)) return false;
    FORALL_RETURN_IF_ERROR(checked);
    return whole;
  }

  // Tables, indexes and triggers are those of a new store.
  absl::Status CheckSchema(Db* db) {
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Db> fresh, Db::Open({.path = ":memory:"}));
    FORALL_RETURN_IF_ERROR(Migrate(fresh.get(), StoreMigrations()));
    const auto read = [](Db* from) -> absl::StatusOr<std::map<std::string, std::string>> {
      std::map<std::string, std::string> objects;
      FORALL_ASSIGN_OR_RETURN(Statement rows,
                              from->Query("SELECT type || ' ' || name, sql FROM sqlite_schema "
                                          "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"));
      FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
        objects[rows.Text(0)] = rows.Text(1);
        return absl::OkStatus();
      }));
      return objects;
    };
    FORALL_ASSIGN_OR_RETURN(const auto wanted, read(fresh.get()));
    FORALL_ASSIGN_OR_RETURN(const auto found, read(db));
    for (const auto& [name, sql] : wanted) {
      const auto it = found.find(name);
      if (it != found.end() && it->second == sql) continue;
      Find("schema",
           absl::StrCat("the ", name, " of the schema ",
                        it == found.end() ? "is gone" : "is another"),
           "somebody has changed the database by hand: undo that, or restore a backup");
    }
    return absl::OkStatus();
  }

  absl::Status CheckReferences(Db* db) {
    FORALL_ASSIGN_OR_RETURN(Statement rows, db->Query("PRAGMA foreign_key_check"));
    return rows.ForEachRow([&] {
      Find("references",
           absl::StrCat(rows.IsNull(1) ? "a row" : absl::StrCat("row ", rows.Int64(1)), " of ",
                        rows.Text(0), " refers to a row of ", rows.Text(2), " that is not there"),
           kRestore);
      return absl::OkStatus();
    });
  }

  void CheckArtifacts(const std::vector<ArtifactRecord>& artifacts) {
    report_.artifacts = static_cast<int64_t>(artifacts.size());
    for (const ArtifactRecord& artifact : artifacts) {
      // It would be a path to anywhere.
      if (!IsSha256Hex(artifact.sha256)) {
        Find("artifact hash",
             absl::StrCat("an artifact is named \"", absl::CHexEscape(CutText(artifact.sha256, 80)),
                          "\", which is no SHA-256"),
             kRestore);
        continue;
      }
      const std::string path = absl::StrCat(options_.artifacts, "/", ArtifactPath(artifact.sha256));
      const std::string advice = absl::StrCat(
          "copy ", ArtifactPath(artifact.sha256),
          " from a backup's artifacts; of a model, forall export of its trial then works again");
      std::error_code error;
      const auto size = std::filesystem::file_size(path, error);
      if (error) {
        Find("artifact",
             absl::StrCat("artifact ", artifact.sha256, " is not there: ", path, ": ",
                          error.message()),
             advice);
      } else if (size != static_cast<uintmax_t>(artifact.size_bytes)) {
        Find("artifact",
             absl::StrCat("artifact ", artifact.sha256, " has ", size, " bytes instead of ",
                          artifact.size_bytes, ": ", path),
             advice);
      } else if (options_.deep && size > 0) {
        const absl::StatusOr<std::unique_ptr<MappedFile>> file = MappedFile::Open(path);
        if (!file.ok() || Sha256Hex((*file)->bytes()) != artifact.sha256) {
          Find("artifact", absl::StrCat("artifact ", artifact.sha256, " is damaged: ", path),
               advice);
        }
      }
    }
  }

  absl::Status CheckEvidence(Db* db) {
    std::vector<int64_t> ids;
    {
      FORALL_ASSIGN_OR_RETURN(Statement rows, db->Query("SELECT measurement FROM evidence"));
      FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
        ids.push_back(rows.Int64(0));
        return absl::OkStatus();
      }));
    }
    for (const int64_t id : ids) {
      const absl::Status read = ReadEvidence(db, id).status();
      if (read.ok()) continue;
      Find("evidence",
           absl::StrCat("the evidence of measurement ", id, " cannot be read: ", read.message()),
           kRestore);
    }
    return absl::OkStatus();
  }

  void Find(absl::string_view kind, std::string what, absl::string_view advice) {
    int& count = counts_[std::string(kind)];
    ++count;
    if (count <= options_.most_of_a_kind) {
      report_.findings.push_back({std::move(what), std::string(advice)});
      last_[std::string(kind)] = report_.findings.size() - 1;
    }
  }

  CheckReport Finish() {
    for (const auto& [kind, count] : counts_) {
      if (count <= options_.most_of_a_kind) continue;
      absl::StrAppend(&report_.findings[last_[kind]].what, " (and ",
                      count - options_.most_of_a_kind, " more like it)");
    }
    return std::move(report_);
  }

  const CheckOptions& options_;
  CheckReport report_;
  std::map<std::string, int> counts_;
  std::map<std::string, size_t> last_;
};

}  // namespace

absl::StatusOr<CheckReport> CheckStore(const CheckOptions& options) { return Check(options).Run(); }

}  // namespace forall
