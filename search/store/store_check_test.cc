// SPDX-License-Identifier: Apache-2.0
// Damage of each kind is planted with SQLite itself, past all that the store would refuse.
#include "search/store/store_check.h"

#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "search/store/artifact_store.h"
#include "search/store/sqlite_db.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/testing/make_records.h"

namespace forall {
namespace {

using ::forall::testing::Done;
using ::forall::testing::MakeEvent;
using ::forall::testing::MakeEvidence;
using ::forall::testing::MakeJob;
using ::forall::testing::MakeMeasurement;
using ::forall::testing::MakeTask;
using ::forall::testing::MakeTrial;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::forall::testing::TestTime;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class StoreCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FORALL_ASSERT_OK_AND_ASSIGN(auto store, SqliteResultStore::Create({.path = db_}));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto artifacts,
                                ArtifactStore::Create({.folder = db_ + ".artifacts"}));
    model_ = artifacts->Put("a model").value();
    model_path_ = artifacts->PathOf(model_).value();
    StoreBatch batch;
    for (const int64_t job : {1, 2}) {
      batch.insert_jobs.push_back(MakeJob(job));
      for (int64_t i = 1; i <= 3; ++i) {
        batch.append_events.push_back(MakeEvent(job, i));
        const int64_t id = 10 * job + i;
        batch.insert_trials.push_back(MakeTrial(id, job, i));
        batch.insert_tasks.push_back(MakeTask(id, job, id));
        batch.update_tasks.push_back(Done(batch.insert_tasks.back()));
        batch.insert_measurements.push_back(MakeMeasurement(id, job, id, id));
        batch.insert_evidence.push_back(MakeEvidence(id));
      }
      batch.append_events.push_back({job, 4, "exported",
                                     absl::StrCat(R"({"trial":1,"artifact":")", model_, "\"}"),
                                     TestTime(4)});
    }
    batch.insert_artifacts = {{model_, 7, TestTime(1)}};
    batch.insert_exports = {{"supernet", "arch-11", "fp32", "calibration", model_, 7}};
    batch.insert_supernets = {{"tiny", model_, "{}", "images", TestTime(1)}};
    FORALL_ASSERT_OK(store->Commit(std::move(batch)));
    // Logs are entered where they are read from.
    store.reset();
    FORALL_ASSERT_OK(SqliteResultStore::Create({.path = db_}).status());
  }

  // As somebody with the sqlite3 shell would; rules are switched off where they can be.
  void Damage(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(db_.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    const std::string all = absl::StrCat("PRAGMA foreign_keys = OFF; ", sql);
    EXPECT_EQ(sqlite3_exec(db, all.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(error);
    sqlite3_close(db);
  }
  std::string Findings(bool deep = false) {
    const absl::StatusOr<CheckReport> report =
        CheckStore({.db = db_, .artifacts = db_ + ".artifacts", .deep = deep});
    EXPECT_THAT(report, testing::IsOk());
    std::string all;
    if (!report.ok()) return all;
    for (const Finding& finding : report->findings) {
      EXPECT_FALSE(finding.advice.empty()) << finding.what;
      absl::StrAppend(&all, finding.what, "\n");
    }
    return all;
  }

  TempDir folder_;
  const std::string db_ = folder_ / "store.db";
  std::string model_;
  std::string model_path_;
};

TEST_F(StoreCheckTest, AWholeStoreHasNoFinding) {
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_THAT(Findings(/*deep=*/true), IsEmpty());
  FORALL_ASSERT_OK_AND_ASSIGN(const CheckReport report,
                              CheckStore({.db = db_, .artifacts = db_ + ".artifacts"}));
  EXPECT_EQ(report.jobs, 2);
  EXPECT_EQ(report.measurements, 6);
  EXPECT_EQ(report.artifacts, 1);
}

TEST_F(StoreCheckTest, SecretsThatNobodyMadeAreFound) {
  Damage("INSERT INTO lives VALUES (3, zeroblob(32), 0); UPDATE controller SET epoch = 3");
  EXPECT_THAT(Findings(), IsEmpty());
  Damage("INSERT INTO lives VALUES (2, zeroblob(5), 0), (4, zeroblob(32), 0)");
  EXPECT_THAT(Findings(), AllOf(HasSubstr("life 2 of the controller has a secret of 5 bytes"),
                                HasSubstr("there is a life 4, but the controller was started only "
                                          "3 times")));
  Damage("UPDATE controller SET epoch = -9223372036854775808");
  EXPECT_THAT(Findings(), HasSubstr("the controller was started -9223372036854775808 times"));
}

TEST_F(StoreCheckTest, WhatIsNoStoreIsAnErrorAndNotAFinding) {
  EXPECT_THAT(CheckStore({.db = folder_ / "none.db"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.db")));
  Damage("PRAGMA user_version = 2");
  EXPECT_THAT(CheckStore({.db = db_}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("schema 2")));
  Damage("PRAGMA user_version = 1000");
  EXPECT_THAT(CheckStore({.db = db_}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("newer forall")));
  Damage("PRAGMA application_id = 0");
  EXPECT_THAT(CheckStore({.db = db_}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another program")));
}

TEST_F(StoreCheckTest, DamagedPagesAreFound) {
  std::string bytes = ReadFile(db_).value();
  ASSERT_GT(bytes.size(), size_t{4} << 12);
  // Page by page, so that every kind of page is hit: never an abort, never a clean bill.
  int found = 0;
  for (size_t page = 1; page < bytes.size() >> 12; ++page) {
    std::string damaged = bytes;
    for (size_t i = 0; i < 64; ++i) damaged[(page << 12) + i] = static_cast<char>(0xa5);
    FORALL_ASSERT_OK(WriteFileAtomically(db_, damaged));
    found += Findings().empty() ? 0 : 1;
  }
  // The header of a free page holds nothing.
  EXPECT_GE(found, static_cast<int>(bytes.size() >> 12) - 3);
  FORALL_ASSERT_OK(WriteFileAtomically(db_, bytes.substr(0, 5000)));
  EXPECT_THAT(Findings(), Not(IsEmpty()));
  FORALL_ASSERT_OK(WriteFileAtomically(db_, std::string(8192, 'x')));
  EXPECT_THAT(Findings(), HasSubstr("no forall store"));
}

TEST_F(StoreCheckTest, AChangedSchemaIsFound) {
  Damage("DROP INDEX measurements_by_task; DROP TRIGGER job_events_keep_rows");
  EXPECT_THAT(Findings(), AllOf(HasSubstr("the index measurements_by_task of the schema is gone"),
                                HasSubstr("the trigger job_events_keep_rows")));
}

TEST_F(StoreCheckTest, BrokenReferencesAreFound) {
  Damage("DELETE FROM conditions; DELETE FROM trials WHERE id = 21");
  EXPECT_THAT(Findings(), AllOf(HasSubstr("row 11 of measurements refers to a row of conditions"),
                                HasSubstr("row 21 of tasks refers to a row of trials")));
}

TEST_F(StoreCheckTest, EvidenceOfNoMeasurementIsFound) {
  Damage("DELETE FROM measurements WHERE id = 13");
  EXPECT_THAT(Findings(), AllOf(HasSubstr("row 13 of evidence refers to a row of measurements"),
                                HasSubstr("task 13 has timed a network, but its latency is not")));
}

TEST_F(StoreCheckTest, AMeasurementStoredTwiceIsFound) {
  Damage(
      "DROP INDEX measurements_by_task; CREATE TABLE copy AS SELECT * FROM measurements WHERE id = "
      "12; UPDATE copy SET id = 99; INSERT INTO measurements SELECT * FROM copy; DROP TABLE copy; "
      "CREATE INDEX measurements_by_task ON measurements (task, metric, condition)");
  EXPECT_THAT(Findings(),
              AllOf(HasSubstr("task 12 has 2 measurements of latency_ms under one condition"),
                    HasSubstr("the index measurements_by_task of the schema is another")));
}

TEST_F(StoreCheckTest, GapsInALogAreFound) {
  const std::string without_trigger = "DROP TRIGGER job_events_keep_rows; DELETE FROM job_events ";
  Damage(without_trigger + "WHERE job = 2 AND seq = 2");
  EXPECT_THAT(Findings(),
              AllOf(HasSubstr("the log of searchJobs/2 has a gap: 3 events, numbered 1 to 4"),
                    HasSubstr("event 2 of searchJobs/2 is not where it should be"),
                    HasSubstr("the log of searchJobs/2 proposes 2 trials, but 3 are stored")));
  Damage("DELETE FROM job_events WHERE job = 1");
  EXPECT_THAT(Findings(), HasSubstr("searchJobs/1 has no log"));
}

TEST_F(StoreCheckTest, AnIndexOfLogsThatMisleadsIsFound) {
  Damage("UPDATE event_runs SET last = 3, events = '1,2,3' WHERE job = 1");
  EXPECT_THAT(Findings(), HasSubstr("of 4 events of searchJobs/1 3 are found"));
  Damage("UPDATE event_runs SET events = '1,,2' WHERE job = 1");
  EXPECT_THAT(Findings(), HasSubstr("the log of searchJobs/1 cannot be read from event 1"));
  Damage("UPDATE controller SET indexed_event = -1");
  EXPECT_THAT(Findings(), HasSubstr("logs are indexed to event -1"));
}

TEST_F(StoreCheckTest, EventsThatWouldBeReadTwiceAreFound) {
  Damage("UPDATE controller SET indexed_event = 0");
  EXPECT_THAT(Findings(), HasSubstr("event 1 of searchJobs/1 is not where it should be"));
  Damage(
      "UPDATE controller SET indexed_event = 8; DELETE FROM event_runs WHERE job = 1; "
      "INSERT INTO event_runs VALUES (1, 1, 2, '1,2'), (1, 2, 3, '2,3')");
  EXPECT_THAT(Findings(),
              HasSubstr("the log of searchJobs/1 is found twice, or not, before event 2"));
  Damage(
      "DELETE FROM event_runs WHERE job = 1; INSERT INTO event_runs VALUES (1, 1, 4, '1,2,3,4');"
      "INSERT INTO job_events VALUES (9, 2, 6, 'kind', '{}', 0), (10, 2, 6, 'kind', '{}', 0)");
  EXPECT_THAT(Findings(),
              HasSubstr("the log of searchJobs/2 has a gap: 6 events, numbered 1 to 6"));
  // A model that is no model, and one of no name, are nobody's.
  Damage(
      "DROP TRIGGER job_events_keep_rows; DROP TRIGGER job_events_keep_content; "
      "DELETE FROM job_events WHERE id > 8; "
      "UPDATE job_events SET payload = iif(id = 4, '{}', '{\"artifact\"') WHERE kind = 'exported'; "
      "DELETE FROM artifacts");
  const std::string findings = absl::StrCat("\n", Findings());
  EXPECT_THAT(findings, Not(HasSubstr("that was never exported")));
  EXPECT_THAT(findings, Not(HasSubstr("\n\n"))) << "a finding of nothing";
}

TEST_F(StoreCheckTest, AJobThatCameBackIsFound) {
  Damage("INSERT INTO deleted_jobs VALUES (1, 0, 0, 0)");
  EXPECT_THAT(Findings(), HasSubstr("searchJobs/1 was deleted, but is there"));
}

TEST_F(StoreCheckTest, TrialsOutOfOrderAreFound) {
  Damage("UPDATE trials SET ordinal = 7 WHERE id = 22");
  EXPECT_THAT(Findings(), HasSubstr("the trials of searchJobs/2 are not numbered 1 to 3"));
}

TEST_F(StoreCheckTest, NumbersThatNoneCanHaveAreFound) {
  Damage(
      "UPDATE measurements SET id = -9223372036854775808 WHERE id = 13; UPDATE tasks SET id = 0 "
      "WHERE id = 13; UPDATE trials SET id = 4611686018427387905 WHERE id = 22");
  EXPECT_THAT(
      Findings(),
      AllOf(HasSubstr("measurement -9223372036854775808 has a number that none can have"),
            HasSubstr("task 0 has a number"), HasSubstr("trial 4611686018427387905 has a number")));
}

TEST_F(StoreCheckTest, StatesThatDoNotExistAreFound) {
  Damage(
      "UPDATE jobs SET state = 9, end_time = 1 WHERE id = 1; UPDATE task_ends SET state = 1 WHERE "
      "task = 13; UPDATE tasks SET kind = 8 WHERE id = "
      "12; UPDATE measurements SET verdict = 0 WHERE id = "
      "13");
  EXPECT_THAT(
      Findings(),
      AllOf(HasSubstr("searchJobs/1 is in state 9"), HasSubstr("task 12 is of kind 8"),
            HasSubstr("task 13 has ended in state 1"), HasSubstr("measurement 13 has verdict 0")));
}

TEST_F(StoreCheckTest, EndsThatAreNoneAreFound) {
  Damage("UPDATE jobs SET state = 4 WHERE id = 1; UPDATE jobs SET end_time = 5 WHERE id = 2");
  EXPECT_THAT(Findings(), AllOf(HasSubstr("searchJobs/1 has ended, but not when"),
                                HasSubstr("searchJobs/2 goes on, but has an end")));
}

TEST_F(StoreCheckTest, DoneTasksWithoutTheirCompletionAreFound) {
  Damage("UPDATE task_ends SET completed_token = '' WHERE task = 12");
  EXPECT_THAT(Findings(), HasSubstr("task 12 is done, but not by whom or with what"));
}

TEST_F(StoreCheckTest, RowsOfOtherJobsAreFound) {
  Damage("UPDATE tasks SET job = 2 WHERE id = 12; UPDATE measurements SET job = 1 WHERE id = 22");
  EXPECT_THAT(Findings(),
              AllOf(HasSubstr("task 12 is of searchJobs/2, its trial of searchJobs/1"),
                    HasSubstr("measurement 22 is of searchJobs/1, its trial of searchJobs/2")));
}

TEST_F(StoreCheckTest, NumbersThatCannotBeAreFound) {
  Damage(
      "UPDATE measurements SET value = 9e999 WHERE id = 12; "
      "UPDATE measurements SET low = 6 WHERE id = 13");
  EXPECT_THAT(Findings(), AllOf(HasSubstr("measurement 12 is "),
                                HasSubstr("measurement 13 is 5.3 in 6.0 to 5.4")));
  // What was done about it ends it.
  Damage("UPDATE measurements SET retracted_by = 'ann: impossible' WHERE id IN (12, 13)");
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(StoreCheckTest, PartsOfTasksThatAreNotDoneAreFound) {
  Damage(
      "INSERT INTO accuracy_parts SELECT 12, hash, hash, hash, 0, 1, 1, 1, x'', hash, hash, '', 0 "
      "FROM artifacts; DELETE FROM task_ends WHERE task = 12");
  EXPECT_THAT(Findings(), HasSubstr("the part of an accuracy that task 12 was is stored"));
}

TEST_F(StoreCheckTest, ArtifactsThatAreInNoTableAreFound) {
  Damage("DELETE FROM artifacts");
  EXPECT_THAT(Findings(), AllOf(HasSubstr(absl::StrCat("the model ", model_, " of a subnet")),
                                HasSubstr(absl::StrCat("the weights ", model_)),
                                HasSubstr(absl::StrCat("the log of searchJobs/1 has a model ",
                                                       model_, " that was never exported"))));
}

TEST_F(StoreCheckTest, LostShortenedAndDamagedArtifactsAreFound) {
  FORALL_ASSERT_OK(WriteFileAtomically(model_path_, "a m0del"));
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_THAT(Findings(/*deep=*/true), HasSubstr(absl::StrCat("artifact ", model_, " is damaged")));
  FORALL_ASSERT_OK(WriteFileAtomically(model_path_, "a mod"));
  EXPECT_THAT(Findings(), HasSubstr("has 5 bytes instead of 7"));
  std::filesystem::remove(model_path_);
  EXPECT_THAT(Findings(), HasSubstr(absl::StrCat("artifact ", model_, " is not there")));
}

// Hashing them may take an hour, in which a controller's log would grow by all that it stores.
TEST_F(StoreCheckTest, TheLogCanBeginAnewWhileArtifactsAreRead) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, SqliteResultStore::Create({.path = db_}));
  // Something is in the log when the check begins, and more comes while it reads.
  const auto commit = [&](int64_t job) {
    StoreBatch batch;
    batch.insert_jobs = {MakeJob(job)};
    batch.append_events = {{job, 1, "note", "{}", TestTime(5)}};
    FORALL_ASSERT_OK(store->Commit(std::move(batch)));
  };
  commit(3);
  FORALL_ASSERT_OK(WriteFileAtomically(model_path_, "a m0del"));
  int64_t log_is_held = -1;
  FORALL_ASSERT_OK_AND_ASSIGN(
      const CheckReport report,
      CheckStore({.db = db_, .artifacts = db_ + ".artifacts", .deep = true, .on_rows_read = [&] {
                    commit(4);
                    FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = db_}));
                    FORALL_ASSERT_OK_AND_ASSIGN(log_is_held,
                                                db->QueryInt64("PRAGMA wal_checkpoint(TRUNCATE)"));
                  }}));
  EXPECT_EQ(log_is_held, 0);
  EXPECT_EQ(std::filesystem::file_size(db_ + "-wal"), 0u);
  // Rows are of one moment, and artifacts what they were to be then.
  EXPECT_EQ(report.jobs, 3);
  ASSERT_THAT(report.findings, SizeIs(1));
  EXPECT_THAT(report.findings[0].what, HasSubstr("is damaged"));
}

TEST_F(StoreCheckTest, AnArtifactWithoutAHashForANameIsFound) {
  for (const char* name : {"x", "abcdef", "../../../etc/passwd"}) {
    Damage(absl::StrCat("UPDATE keys SET text = '", name,
                        "' WHERE id = (SELECT hash FROM artifacts)"));
    EXPECT_THAT(Findings(/*deep=*/true), HasSubstr(absl::StrCat("an artifact is named \"", name,
                                                                "\", which is no SHA-256")));
  }
}

TEST_F(StoreCheckTest, DamagedEvidenceIsFoundWhenItIsRead) {
  Damage("UPDATE evidence SET samples = x'0102030405' WHERE measurement = 12");
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_THAT(Findings(/*deep=*/true), HasSubstr("the evidence of measurement 12 cannot be read"));
}

TEST_F(StoreCheckTest, ManyOfAKindAreCounted) {
  Damage("UPDATE measurements SET low = 6");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const CheckReport report,
      CheckStore({.db = db_, .artifacts = db_ + ".artifacts", .most_of_a_kind = 2}));
  ASSERT_THAT(report.findings, SizeIs(2));
  EXPECT_THAT(report.findings[1].what, HasSubstr("(and 4 more like it)"));
}

}  // namespace
}  // namespace forall
