// SPDX-License-Identifier: Apache-2.0
// What is particular to the SQLite store: files, faults and group commit. See also
// result_store_contract_test.cc and sqlite_result_store_kill_test.cc.
#include "search/store/sqlite_result_store.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "search/store/migrations.h"
#include "search/store/sqlite_db.h"
#include "search/store/testing/fault_vfs.h"
#include "search/store/testing/make_records.h"

namespace forall {
namespace {

using ::forall::testing::Done;
using ::forall::testing::FaultVfs;
using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::MakeEvent;
using ::forall::testing::MakeJob;
using ::forall::testing::MakeMeasurement;
using ::forall::testing::MakeTask;
using ::forall::testing::MakeTrial;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::forall::testing::TestTime;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Options = SqliteResultStore::Options;

StoreBatch NewJob(int64_t id) {
  StoreBatch batch;
  batch.insert_jobs = {MakeJob(id)};
  return batch;
}

StoreBatch NewEvent(int64_t sequence, size_t payload_bytes = 10) {
  StoreBatch batch;
  batch.append_events = {MakeEvent(1, sequence)};
  batch.append_events[0].payload = std::string(payload_bytes, 'x');
  return batch;
}

int64_t CountEvents(ResultStore* store) {
  const auto events = store->LoadEvents(1, 0, 1 << 30);
  return events.ok() ? static_cast<int64_t>(events->size()) : -1;
}

// Acts as an ordinary user even when the tests run as root, who may write everything.
class OrdinaryUser {
 public:
  OrdinaryUser() : changed_(geteuid() == 0 && seteuid(65534) == 0) {}
  ~OrdinaryUser() {
    if (changed_) {
      EXPECT_EQ(seteuid(0), 0);
    }
  }

 private:
  const bool changed_;
};

// Keeps the store's writer busy inside a callback until Release, so that batches queue up.
class Held {
 public:
  explicit Held(ResultStore* store) {
    store->CommitAsync({}, [this](absl::Status) {
      entered_.set_value();
      release_.get_future().wait();
    });
    entered_.get_future().wait();
  }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> entered_;
  std::promise<void> release_;
};

class SqliteResultStoreTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<SqliteResultStore>> Open(int64_t max_pages = 0) {
    return SqliteResultStore::Create({.path = path_, .max_pages = max_pages});
  }
  absl::Status OpenError() { return Open().status(); }
  // As somebody with the sqlite3 shell would.
  void RunSql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql;
    sqlite3_close(db);
  }

  TempDir folder_;
  const std::string path_ = folder_ / "store.db";
};

TEST_F(SqliteResultStoreTest, WhatWasCommittedIsThereAfterReopening) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
    EXPECT_THAT(store->BeginEpoch(), IsOkAndHolds(1));
    FORALL_ASSERT_OK(store->Commit(NewJob(1)));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  EXPECT_THAT(store->LoadJobs(), IsOkAndHolds(::testing::ElementsAre(MakeJob(1))));
  EXPECT_THAT(store->BeginEpoch(), IsOkAndHolds(2));
}

TEST_F(SqliteResultStoreTest, NumbersWithoutASuccessorAreRefused) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  FORALL_ASSERT_OK(store->BeginEpoch().status());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = path_}));
  for (const char* epoch : {"-9223372036854775808", "-2"}) {
    FORALL_ASSERT_OK(db->Execute(absl::StrCat("UPDATE controller SET epoch = ", epoch)));
    EXPECT_THAT(store->BeginEpoch(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("started -")));
  }
  FORALL_ASSERT_OK(db->Execute("UPDATE controller SET epoch = 9223372036854775807"));
  EXPECT_FALSE(store->BeginEpoch().ok());
  FORALL_ASSERT_OK(db->Execute("UPDATE controller SET epoch = 1"));
  FORALL_ASSERT_OK(db->Execute("INSERT INTO deleted_jobs VALUES (1, 0, 9223372036854775807, 0)"));
  EXPECT_THAT(store->BeginEpoch(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("no trial can have the number")));
  FORALL_ASSERT_OK(db->Execute("DELETE FROM deleted_jobs"));
  FORALL_ASSERT_OK(store->LoadIds().status());
  for (const char* id : {"0", "-9223372036854775808"}) {
    FORALL_ASSERT_OK(db->Execute(absl::StrCat(
        "DELETE FROM measurements; INSERT INTO measurements VALUES (", id,
        ", NULL, NULL, NULL, 1, 1, 1, 2.5, 2, 3, 1, 20, 1, '[]', 1, 1, 1, '', 7, '')")));
    EXPECT_THAT(store->LoadIds(),
                StatusIs(absl::StatusCode::kDataLoss,
                         HasSubstr(absl::StrCat("no measurement can have the number ", id))));
  }
}

TEST_F(SqliteResultStoreTest, LivesAreThereAfterReopening) {
  std::vector<LifeRecord> before;
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
    FORALL_ASSERT_OK(store->BeginEpoch().status());
    FORALL_ASSERT_OK_AND_ASSIGN(before, store->LoadLives());
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  EXPECT_THAT(store->LoadLives(), IsOkAndHolds(before));
}

// A store of each schema that was ever released, as far as a controller had begun there.
TEST_F(SqliteResultStoreTest, EveryOlderStoreBeginsALifeWithASecret) {
  for (size_t version = 1; version < StoreMigrations().size(); ++version) {
    const std::string path = folder_ / absl::StrCat("schema-", version, ".db");
    {
      FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = path}));
      FORALL_ASSERT_OK(Migrate(db.get(), StoreMigrations().subspan(0, version)));
      FORALL_ASSERT_OK(db->Execute(
          "UPDATE controller SET epoch = 7;"
          "INSERT INTO keys (id, text) VALUES (1, '');"
          "INSERT INTO jobs (id, spec, supernet, state, error, history_snapshot, create_time, "
          "update_time) VALUES (1, x'00', 1, 1, '', 0, 0, 0);"));
      // An open task.
      FORALL_ASSERT_OK(db->Execute(
          version < 8 ? "INSERT INTO tasks (id, job, kind, payload, state, attempts, completed_by, "
                        "completed_token, result_fingerprint, error) "
                        "VALUES (9, 1, 2, x'00', 1, 1, 1, '', '', '')"
                      : "INSERT INTO tasks (id, job, kind, payload, attempts, failed_by, "
                        "failed_token, failed_fingerprint) VALUES (9, 1, 2, x'00', 1, 1, '', '')"));
    }
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, SqliteResultStore::Create({.path = path}));
    EXPECT_THAT(store->LoadLives(), IsOkAndHolds(::testing::IsEmpty()));
    EXPECT_THAT(store->BeginEpoch(), IsOkAndHolds(8));
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LifeRecord> lives, store->LoadLives());
    ASSERT_EQ(lives.size(), 1u);
    EXPECT_EQ(lives[0].epoch, 8);
    EXPECT_EQ(lives[0].tasks_before, 9);
    EXPECT_THAT(store->LoadTasks(1), IsOkAndHolds(::testing::SizeIs(1)));
  }
}

TEST_F(SqliteResultStoreTest, AFileIsHeldByOneStoreAtATime) {
  FORALL_ASSERT_OK_AND_ASSIGN(auto store, Open());
  EXPECT_THAT(OpenError(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("store.db"), HasSubstr(std::to_string(getpid())),
                             HasSubstr("stop that controller"))));
  std::filesystem::create_symlink(path_, folder_ / "alias.db");
  EXPECT_THAT(SqliteResultStore::Create({.path = folder_ / "alias.db"}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  store.reset();
  FORALL_EXPECT_OK(OpenError());
}

TEST_F(SqliteResultStoreTest, WrongPathsAreNamed) {
  EXPECT_THAT(SqliteResultStore::Create({.path = folder_ / "missing/store.db"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("create " + (folder_ / "missing"))));
  EXPECT_THAT(SqliteResultStore::Create({.path = folder_.path()}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(folder_.path())));
  EXPECT_THAT(SqliteResultStore::Create({.path = ""}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(SqliteResultStoreTest, AFileOfAnotherProgramIsRefusedAndLeftAlone) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = path_}));
    FORALL_ASSERT_OK(db->Execute("CREATE TABLE notes (text TEXT)"));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string before, ReadFile(path_));
  EXPECT_THAT(OpenError(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                    AllOf(HasSubstr(path_), HasSubstr("another program"))));
  EXPECT_THAT(ReadFile(path_), IsOkAndHolds(before));

  FORALL_ASSERT_OK(WriteFileAtomically(path_, std::string(5000, 'x')));
  std::filesystem::remove(path_ + ".lock");
  EXPECT_THAT(OpenError(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("no forall store")));
  EXPECT_THAT(ReadFile(path_), IsOkAndHolds(std::string(5000, 'x')));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".lock")) << "nothing is left beside it";
}

TEST_F(SqliteResultStoreTest, ANewerSchemaIsRefusedAndLeftAlone) {
  FORALL_ASSERT_OK(OpenError());
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = path_}));
    FORALL_ASSERT_OK(db->Execute("PRAGMA user_version = 99"));
  }
  EXPECT_THAT(OpenError(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                    AllOf(HasSubstr("schema 99"), HasSubstr("upgrade forall"))));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = path_}));
  EXPECT_THAT(db->QueryInt64("PRAGMA user_version"), IsOkAndHolds(99));
}

TEST_F(SqliteResultStoreTest, AReadOnlyFileIsRefused) {
  FORALL_ASSERT_OK(OpenError());
  std::filesystem::remove(path_ + ".lock");
  ASSERT_EQ(chmod(folder_.path().c_str(), 0777), 0);
  ASSERT_EQ(chmod(path_.c_str(), 0444), 0);
  const OrdinaryUser user;
  EXPECT_THAT(OpenError(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                    AllOf(HasSubstr(path_), HasSubstr("read-only"))));
}

TEST_F(SqliteResultStoreTest, AReadOnlyFolderIsRefused) {
  ASSERT_EQ(chmod(folder_.path().c_str(), 0555), 0);
  const OrdinaryUser user;
  EXPECT_THAT(OpenError(), StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr(path_)));
}

TEST_F(SqliteResultStoreTest, ADamagedFileGivesErrorsAndNeverAborts) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
    FORALL_ASSERT_OK(store->Commit(NewJob(1)));
    for (int64_t i = 1; i <= 200; ++i) {
      StoreBatch batch = NewEvent(i, 200);
      batch.insert_trials = {testing::MakeTrial(i, 1, i)};
      batch.insert_measurements = {testing::MakeMeasurement(i, 1, i, 0)};
      batch.insert_evidence = {testing::MakeEvidence(i)};
      store->CommitAsync(std::move(batch), [](absl::Status status) { FORALL_EXPECT_OK(status); });
    }
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string good, ReadFile(path_));
  Random random(1);
  int refused = 0;
  for (int round = 0; round < 40; ++round) {
    std::string bad = good;
    if (round % 4 == 0) bad.resize(random.Uniform(bad.size()));
    // Half a page of noise, past the header.
    const size_t start = 100 + random.Uniform(good.size() - 2200);
    for (size_t i = start; i < start + 2048 && i < bad.size(); ++i) {
      bad[i] = static_cast<char>(random.Next());
    }
    FORALL_ASSERT_OK(WriteFileAtomically(path_, bad));
    std::filesystem::remove(path_ + "-wal");
    std::filesystem::remove(path_ + "-shm");
    const auto store = Open();
    std::vector<absl::Status> results = {store.status()};
    if (store.ok()) {
      results = {(*store)->LoadJobs().status(),      (*store)->LoadTrials(1).status(),
                 (*store)->LoadTasks(1).status(),    (*store)->LoadEvents(1, 0, 1000).status(),
                 (*store)->LoadArtifacts().status(), (*store)->LoadMeasurements().status(),
                 (*store)->LoadEvidence(7).status(), (*store)->LoadIds().status(),
                 (*store)->Commit(NewEvent(1000))};
    }
    for (const absl::Status& status : results) {
      if (status.ok()) continue;
      EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
      if (status.code() == absl::StatusCode::kDataLoss) {
        ++refused;
        break;
      }
    }
  }
  EXPECT_GT(refused, 20);
}

// Whoever mends a store must know where to look.
TEST_F(SqliteResultStoreTest, ADamagedRowIsNamed) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
    StoreBatch batch = NewJob(1);
    batch.insert_trials = {MakeTrial(17, 1, 1)};
    batch.insert_tasks = {MakeTask(23, 1, 17)};
    batch.insert_measurements = {MakeMeasurement(31, 1, 17, 23)};
    batch.upsert_devices = {{"pi5", "arm", "a board", "f1", {{"cores", "4"}}}};
    FORALL_ASSERT_OK(store->Commit(std::move(batch)));
  }
  const auto damaged = [](const char* row, const char* why) {
    return StatusIs(absl::StatusCode::kDataLoss, AllOf(HasSubstr(row), HasSubstr(why)));
  };
  RunSql(absl::StrCat("UPDATE trials SET choices = '0,1,", std::string(100'000, 'x'), "'"));
  RunSql("UPDATE tasks SET kind = 99");
  RunSql("UPDATE measurements SET reasons = '[1'");
  RunSql("UPDATE devices SET properties = '[[['");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  const absl::Status trial = store->LoadTrials(1).status();
  EXPECT_THAT(trial, damaged("trial 17", "list of integers"));
  EXPECT_LT(trial.message().size(), 1000) << "it need not all be repeated";
  EXPECT_THAT(store->LoadTasks(1).status(), damaged("task 23", "task kind 99"));
  EXPECT_THAT(store->LoadMeasurements().status(), damaged("measurement 31", "JSON"));
  EXPECT_THAT(store->LoadDevices().status(), damaged("device pi5", "JSON"));
}

TEST_F(SqliteResultStoreTest, AStartFindsEventsAnewWhereSomeAreInNoRun) {
  StoreBatch batch = NewJob(1);
  const int64_t first = static_cast<int64_t>(batch.append_events.size()) + 1;
  for (int64_t i = first; i <= 9; ++i) batch.append_events.push_back(MakeEvent(1, i));
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
    FORALL_ASSERT_OK(store->Commit(std::move(batch)));
  }
  const auto events = [&]() -> absl::StatusOr<size_t> {
    FORALL_ASSIGN_OR_RETURN(const auto store, Open());
    FORALL_ASSIGN_OR_RETURN(const auto all, store->LoadEvents(1, 0, 100));
    return all.size();
  };
  EXPECT_THAT(events(), IsOkAndHolds(9));
  RunSql("UPDATE event_runs SET last = 4, events = '1,2,3,4'");
  EXPECT_THAT(events(), IsOkAndHolds(9));
  RunSql("DELETE FROM event_runs");
  EXPECT_THAT(events(), IsOkAndHolds(9));
  // What is lost in the log itself is not made up.
  RunSql("DROP TRIGGER job_events_keep_rows; DELETE FROM job_events WHERE seq = 5");
  EXPECT_THAT(events(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("event 6 where 5")));
  RunSql(
      "DROP TRIGGER job_events_keep_content; "
      "UPDATE job_events SET seq = 9223372036854775807 WHERE seq = 1");
  EXPECT_THAT(events(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("an event 92233720368")));
}

TEST_F(SqliteResultStoreTest, QueuedBatchesShareOneCommit) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto store,
      SqliteResultStore::Create({.path = path_, .commit_window = absl::InfiniteDuration()}));
  FORALL_ASSERT_OK(store->Commit(NewJob(1)));
  std::vector<absl::Status> results(3, absl::UnknownError("not answered"));
  Held held(store.get());
  const int64_t before = store->counters().commits;
  for (size_t i = 0; i < results.size(); ++i) {
    store->CommitAsync(NewEvent(static_cast<int64_t>(i) + 1),
                       [&results, i](absl::Status status) { results[i] = std::move(status); });
  }
  held.Release();
  store->Stop();
  EXPECT_THAT(results, Each(IsOk()));
  EXPECT_EQ(store->counters().commits, before + 1);
  EXPECT_EQ(CountEvents(store.get()), 3);
}

TEST_F(SqliteResultStoreTest, ARefusedBatchLeavesItsNeighboursAlone) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto store,
      SqliteResultStore::Create({.path = path_, .commit_window = absl::InfiniteDuration()}));
  FORALL_ASSERT_OK(store->Commit(NewJob(1)));
  std::vector<absl::Status> results(6, absl::UnknownError("not answered"));
  const auto answer = [&](size_t i) {
    return [&results, i](absl::Status status) { results[i] = std::move(status); };
  };
  StoreBatch half = NewEvent(3);  // Its first event would do.
  half.append_events.push_back(NewEvent(5).append_events[0]);
  Held held(store.get());
  store->CommitAsync(NewEvent(1), answer(0));
  store->CommitAsync(NewJob(1), answer(1));  // taken
  store->CommitAsync(NewEvent(2), answer(2));
  store->CommitAsync(NewEvent(7), answer(3));  // a gap
  store->CommitAsync(std::move(half), answer(4));
  store->CommitAsync(NewEvent(3), answer(5));
  held.Release();
  store->Stop();
  FORALL_EXPECT_OK(results[0]);
  EXPECT_THAT(results[1], StatusIs(absl::StatusCode::kAlreadyExists));
  FORALL_EXPECT_OK(results[2]);
  EXPECT_THAT(results[3], StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(results[4], StatusIs(absl::StatusCode::kInvalidArgument));
  FORALL_EXPECT_OK(results[5]);
  EXPECT_EQ(store->counters().refused, 3);
  EXPECT_EQ(CountEvents(store.get()), 3);
}

TEST_F(SqliteResultStoreTest, WhatARefusedBatchMadeIsNotTakenForThere) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  const auto measured_on = [](int64_t id, const std::string& device, const std::string& subject) {
    MeasurementRecord record = MakeMeasurement(id, 0, 0, 0);
    record.key.device = device;
    record.key.subject = subject;
    return record;
  };
  StoreBatch refused;
  refused.insert_measurements = {measured_on(1, "devices/a", "a"),
                                 measured_on(1, "devices/a", "b")};
  EXPECT_THAT(store->Commit(std::move(refused)), StatusIs(absl::StatusCode::kAlreadyExists));
  const std::vector<MeasurementRecord> kept = {measured_on(1, "devices/a", "c"),
                                               measured_on(2, "devices/b", "d"),
                                               measured_on(3, "devices/a", "a")};
  for (const MeasurementRecord& record : kept) {
    StoreBatch batch;
    batch.insert_measurements = {record};
    FORALL_ASSERT_OK(store->Commit(std::move(batch)));
  }
  EXPECT_THAT(store->LoadMeasurements(), IsOkAndHolds(::testing::ElementsAreArray(kept)));
}

TEST_F(SqliteResultStoreTest, LogsAreIndexedWhenAskedFor) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = path_, .read_only = true}));
  const auto unindexed = [&] {
    return db->QueryInt64(
        "SELECT count(*) FROM job_events WHERE id > (SELECT indexed_event FROM controller)");
  };
  FORALL_ASSERT_OK(store->Commit(NewJob(1)));
  for (int64_t i = 1; i <= 6; ++i) {
    FORALL_ASSERT_OK(store->Commit(NewEvent(i)));
    if (i % 3 != 0) continue;
    EXPECT_THAT(unindexed(), IsOkAndHolds(3));
    FORALL_EXPECT_OK(store->IndexEvents());
    EXPECT_THAT(unindexed(), IsOkAndHolds(0));
    EXPECT_EQ(CountEvents(store.get()), i);
  }
  EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM event_runs"), IsOkAndHolds(2));
  // Nothing is left to do.
  const int64_t commits = store->counters().commits;
  FORALL_EXPECT_OK(store->IndexEvents());
  EXPECT_EQ(store->counters().commits, commits);
}

TEST_F(SqliteResultStoreTest, ATransactionTakesNoMoreThanItsWindowAndItsLimit) {
  FakeClock clock;
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto store,
      SqliteResultStore::Create(
          {.path = ":memory:", .commit_window = absl::ZeroDuration(), .clock = &clock}));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto pairs,
                              SqliteResultStore::Create({.path = ":memory:",
                                                         .commit_window = absl::InfiniteDuration(),
                                                         .max_batches_per_commit = 2}));
  for (SqliteResultStore* each : {store.get(), pairs.get()}) {
    Held held(each);
    for (int i = 0; i < 6; ++i) each->CommitAsync({}, [](absl::Status) {});
    held.Release();
    each->Stop();
  }
  EXPECT_EQ(store->counters().commits, 1 + 6);
  EXPECT_EQ(pairs->counters().commits, 1 + 3);
}

TEST_F(SqliteResultStoreTest, AStoppedStoreAnswersWhatWasQueuedAndRefusesTheRest) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  absl::Status queued = absl::UnknownError("not answered");
  store->CommitAsync(NewJob(1), [&](absl::Status status) { queued = std::move(status); });
  store->Stop();
  FORALL_EXPECT_OK(queued);
  EXPECT_THAT(store->Commit(NewJob(2)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(store->LoadJobs(), IsOkAndHolds(SizeIs(1)));
  store->Stop();
}

TEST_F(SqliteResultStoreTest, TheLogIsCopiedBackAndDoesNotGrowWithoutEnd) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store,
                              SqliteResultStore::Create({.path = path_, .checkpoint_pages = 20}));
  FORALL_ASSERT_OK(store->Commit(NewJob(1)));
  for (int64_t i = 1; i <= 400; ++i) FORALL_ASSERT_OK(store->Commit(NewEvent(i, 1000)));
  EXPECT_GT(store->counters().checkpoints, 0);
  // 400 commits rewrite well over 1,000 pages; the limit is four times 20, and a commit on top.
  EXPECT_LT(std::filesystem::file_size(path_ + "-wal"), 120u * 4200u);
}

TEST_F(SqliteResultStoreTest, AFullStoreRefusesKeepsAndGoesOn) {
  int64_t kept = 0;
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open(/*max_pages=*/80));
    FORALL_ASSERT_OK(store->Commit(NewJob(1)));
    absl::Status status;
    while (kept < 1000) {
      status = store->Commit(NewEvent(kept + 1, 2000));
      if (!status.ok()) break;
      ++kept;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                                 AllOf(HasSubstr(path_), HasSubstr("free some space"))));
    EXPECT_GT(kept, 0);
    EXPECT_EQ(CountEvents(store.get()), kept);
    // An update needs no new page.
    StoreBatch update;
    update.update_jobs = {MakeJob(1)};
    FORALL_EXPECT_OK(store->Commit(update));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store, Open());
  EXPECT_EQ(CountEvents(store.get()), kept);
  FORALL_EXPECT_OK(store->Commit(NewEvent(kept + 1, 2000)));
}

TEST_F(SqliteResultStoreTest, ABatchTooLargeForTheDiskLeavesItsNeighboursAlone) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto store,
      SqliteResultStore::Create(
          {.path = path_, .commit_window = absl::InfiniteDuration(), .max_pages = 80}));
  FORALL_ASSERT_OK(store->Commit(NewJob(1)));
  Held held(store.get());
  std::vector<absl::Status> results(3, absl::UnknownError("not answered"));
  const auto answer = [&](size_t i) {
    return [&results, i](absl::Status status) { results[i] = std::move(status); };
  };
  store->CommitAsync(NewEvent(1), answer(0));
  store->CommitAsync(NewEvent(2, 1 << 20), answer(1));
  store->CommitAsync(NewEvent(2), answer(2));
  held.Release();
  store->Stop();
  FORALL_EXPECT_OK(results[0]);
  EXPECT_THAT(results[1], StatusIs(absl::StatusCode::kResourceExhausted));
  FORALL_EXPECT_OK(results[2]);
  EXPECT_EQ(CountEvents(store.get()), 2);
}

class FaultyDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FORALL_ASSERT_OK_AND_ASSIGN(
        store_, SqliteResultStore::Create({.path = path_,
                                           .commit_window = absl::InfiniteDuration(),
                                           .checkpoint_pages = 1 << 20,
                                           .vfs = disk_.name()}));
    FORALL_ASSERT_OK(store_->Commit(NewJob(1)));
  }

  TempDir folder_;
  const std::string path_ = folder_ / "store.db";
  FaultVfs disk_{"forall-fault-test"};
  std::unique_ptr<SqliteResultStore> store_;
};

TEST_F(FaultyDiskTest, NothingIsAcknowledgedBeforeASync) {
  for (int64_t i = 1; i <= 5; ++i) {
    const int64_t before = disk_.syncs();
    int64_t at_answer = 0;
    store_->CommitAsync(NewEvent(i), [&](absl::Status) { at_answer = disk_.syncs(); });
    FORALL_ASSERT_OK(store_->Commit({}));
    EXPECT_GT(at_answer, before);
  }
}

TEST_F(FaultyDiskTest, EveryPointOfFailureKeepsWhatWasAcknowledgedAndNothingElse) {
  struct Fault {
    void (FaultVfs::*arm)(int64_t, int);
    int code;
    absl::StatusCode expected;
  };
  const Fault faults[] = {
      {&FaultVfs::FailWritesAfter, SQLITE_FULL, absl::StatusCode::kResourceExhausted},
      {&FaultVfs::FailWritesAfter, SQLITE_IOERR_WRITE, absl::StatusCode::kUnavailable},
      {&FaultVfs::FailSyncsAfter, SQLITE_IOERR_FSYNC, absl::StatusCode::kUnavailable},
  };
  int64_t kept = 0;
  for (const Fault& fault : faults) {
    int64_t refused = 0;
    // Each round lets one more operation through, until a whole commit passes.
    for (int64_t allowed = 0;; ++allowed) {
      ASSERT_LT(allowed, 200);
      (disk_.*fault.arm)(allowed, fault.code);
      const absl::Status status = store_->Commit(NewEvent(kept + 1, 9000));
      disk_.Heal();
      if (status.ok()) {
        ++kept;
        break;
      }
      ++refused;
      EXPECT_THAT(status, StatusIs(fault.expected, HasSubstr(path_)));
      ASSERT_EQ(CountEvents(store_.get()), kept);
      // The disk is well again, and so is the store.
      FORALL_ASSERT_OK(store_->Commit(NewEvent(kept + 1)));
      ++kept;
    }
    EXPECT_GT(refused, 0);
  }
  store_.reset();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto again, SqliteResultStore::Create({.path = path_}));
  EXPECT_EQ(CountEvents(again.get()), kept);
}

TEST(FaultyDeletionTest, AJobIsDeletedWholeOrNotAtAllWhateverFails) {
  constexpr int64_t kTrials = 12;
  FaultVfs disk("forall-deletion-test");
  int64_t refused = 0;
  int64_t kept = 0;
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    for (int64_t after = 0;; ++after) {
      SCOPED_TRACE(absl::StrCat("code ", code, " after ", after));
      ASSERT_LT(after, 500);
      const TempDir folder;
      const std::string path = folder / "store.db";
      const int64_t faults = disk.faults();
      absl::Status status;
      {
        FORALL_ASSERT_OK_AND_ASSIGN(
            const auto store,
            SqliteResultStore::Create({.path = path, .checkpoint_pages = 8, .vfs = disk.name()}));
        StoreBatch batch;
        batch.insert_jobs = {MakeJob(1)};
        for (int64_t id = 1; id <= kTrials; ++id) {
          batch.insert_trials.push_back(MakeTrial(id, 1, id));
          batch.insert_tasks.push_back(Done(MakeTask(id, 1, id)));
          batch.insert_measurements.push_back(MakeMeasurement(id, 1, id, id));
          batch.append_events.push_back(MakeEvent(1, id));
        }
        FORALL_ASSERT_OK(store->Commit(std::move(batch)));
        StoreBatch deletion;
        deletion.delete_jobs = {{.job = 1, .time = TestTime(9)}};
        disk.Fail({.after = after, .code = code});
        status = store->Commit(std::move(deletion));
        disk.Heal();
        // Whether it went or not, the next commit is checked as ever.
        StoreBatch orphan;
        orphan.insert_trials = {MakeTrial(kTrials + 1, 7, 1)};
        EXPECT_THAT(store->Commit(std::move(orphan)), StatusIs(absl::StatusCode::kInvalidArgument));
      }
      FORALL_ASSERT_OK_AND_ASSIGN(const auto again, SqliteResultStore::Create({.path = path}));
      const size_t rows = status.ok() ? 0 : kTrials;
      refused += status.ok() ? 0 : 1;
      kept += status.ok() ? 1 : 0;
      EXPECT_THAT(again->LoadJobs(), IsOkAndHolds(SizeIs(status.ok() ? 0 : 1)));
      EXPECT_THAT(again->LoadTrials(1), IsOkAndHolds(SizeIs(rows)));
      EXPECT_THAT(again->LoadTasks(1), IsOkAndHolds(SizeIs(rows)));
      EXPECT_THAT(again->LoadEvents(1, 0, 1000), IsOkAndHolds(SizeIs(rows)));
      FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> measurements,
                                  again->LoadMeasurements());
      ASSERT_THAT(measurements, SizeIs(kTrials));
      EXPECT_EQ(measurements[0].job_id, status.ok() ? 0 : 1);
      if (disk.faults() == faults) break;
    }
  }
  EXPECT_GT(refused, 4);
  EXPECT_GT(kept, 1);
}

// A script of commits and checkpoints in which every single operation on the disk fails once, or
// from then on until the disk is well again.
TEST(FaultyScriptTest, WhateverFailsWhatWasAcknowledgedIsThereAndNothingElse) {
  struct Case {
    int code;
    bool once;
    absl::StatusCode expected;
  };
  const Case cases[] = {
      {SQLITE_FULL, true, absl::StatusCode::kResourceExhausted},
      {SQLITE_FULL, false, absl::StatusCode::kResourceExhausted},
      {SQLITE_IOERR_WRITE, false, absl::StatusCode::kUnavailable},
      {SQLITE_READONLY, false, absl::StatusCode::kFailedPrecondition},
  };
  FaultVfs disk("forall-script-test");
  for (const Case& fault : cases) {
    int64_t refused = 0;
    for (int64_t after = 0;; ++after) {
      SCOPED_TRACE(absl::StrCat("code ", fault.code, " after ", after));
      ASSERT_LT(after, 500);
      const TempDir folder;
      const std::string path = folder / "store.db";
      const int64_t faults = disk.faults();
      std::vector<size_t> kept;  // sizes of the payloads
      {
        FORALL_ASSERT_OK_AND_ASSIGN(
            const auto store,
            SqliteResultStore::Create({.path = path, .checkpoint_pages = 8, .vfs = disk.name()}));
        FORALL_ASSERT_OK(store->Commit(NewJob(1)));
        disk.Fail({.after = after, .code = fault.code, .once = fault.once});
        for (const size_t bytes : {10, 9000, 500, 20000, 30}) {
          const absl::Status status =
              store->Commit(NewEvent(static_cast<int64_t>(kept.size()) + 1, bytes));
          if (status.ok()) {
            kept.push_back(bytes);
          } else {
            ++refused;
            EXPECT_EQ(status.code(), fault.expected) << status;
          }
          ASSERT_EQ(CountEvents(store.get()), static_cast<int64_t>(kept.size()));
        }
        disk.Heal();
        FORALL_ASSERT_OK(store->Probe());
        FORALL_ASSERT_OK(store->Commit(NewEvent(static_cast<int64_t>(kept.size()) + 1, 77)));
        kept.push_back(77);
      }
      FORALL_ASSERT_OK_AND_ASSIGN(const auto again, SqliteResultStore::Create({.path = path}));
      FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<EventRecord> events,
                                  again->LoadEvents(1, 0, 1000));
      ASSERT_THAT(events, SizeIs(kept.size()));
      for (size_t i = 0; i < kept.size(); ++i) ASSERT_EQ(events[i].payload.size(), kept[i]);
      if (disk.faults() == faults) break;
    }
    EXPECT_GT(refused, 0);
  }
}

TEST(FaultyScriptTest, AStoreThatCannotBeOpenedSaysSoAndOpensLater) {
  const TempDir folder;
  const std::string path = folder / "store.db";
  FORALL_ASSERT_OK((*SqliteResultStore::Create({.path = path}))->Commit(NewJob(1)));
  FaultVfs disk("forall-open-test");
  int64_t refused = 0;
  for (int64_t after = 0;; ++after) {
    ASSERT_LT(after, 200);
    disk.Fail({.operations = FaultVfs::kOpen | FaultVfs::kRead | FaultVfs::kEveryChange,
               .after = after,
               .code = SQLITE_IOERR});
    const auto store = SqliteResultStore::Create({.path = path, .vfs = disk.name()});
    disk.Heal();
    if (store.ok()) break;
    ++refused;
    EXPECT_THAT(store.status().message(), HasSubstr(path));
  }
  EXPECT_GT(refused, 2);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto again, SqliteResultStore::Create({.path = path}));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<JobRecord> jobs, again->LoadJobs());
  EXPECT_THAT(jobs, SizeIs(1));
}

TEST_F(FaultyDiskTest, AProbeTellsWhetherTheDiskCanBeWritten) {
  FORALL_EXPECT_OK(store_->Probe());
  disk_.Fail({.code = SQLITE_READONLY});
  EXPECT_THAT(store_->Probe(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("write permission")));
  disk_.Heal();
  // A few bytes are left: not enough.
  disk_.LimitFileSize(static_cast<int64_t>(std::filesystem::file_size(path_ + "-wal")) + 20000);
  EXPECT_THAT(store_->Probe(), StatusIs(absl::StatusCode::kResourceExhausted));
  disk_.Heal();
  FORALL_EXPECT_OK(store_->Probe());
  store_.reset();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
  sqlite3_stmt* find = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(db, "SELECT count(*) FROM keys WHERE text LIKE 'probe%'", -1, &find,
                               nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_step(find), SQLITE_ROW);
  EXPECT_EQ(sqlite3_column_int(find, 0), 0);
  sqlite3_finalize(find);
  sqlite3_close(db);
}

TEST_F(FaultyDiskTest, WhenTheCommonCommitFailsEachBatchIsTriedAlone) {
  Held held(store_.get());
  std::vector<absl::Status> results(4, absl::UnknownError("not answered"));
  const auto answer = [&](size_t i) {
    return [&results, i](absl::Status status) { results[i] = std::move(status); };
  };
  store_->CommitAsync(NewEvent(1), answer(0));
  store_->CommitAsync(NewEvent(2), answer(1));
  store_->CommitAsync(NewEvent(3, 1 << 20), answer(2));
  store_->CommitAsync(NewEvent(3), answer(3));
  // SQLite learns only at the common COMMIT that the log has no room for a megabyte more.
  disk_.LimitFileSize(static_cast<int64_t>(std::filesystem::file_size(path_ + "-wal")) + 100000);
  held.Release();
  store_->Stop();
  EXPECT_GT(disk_.faults(), 0);
  FORALL_EXPECT_OK(results[0]);
  FORALL_EXPECT_OK(results[1]);
  EXPECT_THAT(results[2], StatusIs(absl::StatusCode::kResourceExhausted));
  FORALL_EXPECT_OK(results[3]);
  EXPECT_EQ(CountEvents(store_.get()), 3);
}

TEST_F(FaultyDiskTest, AFailingCheckpointLosesNothing) {
  store_.reset();
  FORALL_ASSERT_OK_AND_ASSIGN(
      store_,
      SqliteResultStore::Create({.path = path_, .checkpoint_pages = 1, .vfs = disk_.name()}));
  int64_t kept = 0;
  for (int round = 0; round < 30; ++round) {
    disk_.FailSyncsAfter(round % 7, SQLITE_IOERR_FSYNC);
    for (int i = 0; i < 5; ++i) {
      if (store_->Commit(NewEvent(kept + 1, 500)).ok()) ++kept;
    }
    disk_.Heal();
    ASSERT_EQ(CountEvents(store_.get()), kept);
  }
  EXPECT_GT(kept, 0);
  store_.reset();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto again, SqliteResultStore::Create({.path = path_}));
  EXPECT_EQ(CountEvents(again.get()), kept);
}

}  // namespace
}  // namespace forall
