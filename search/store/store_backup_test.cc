// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_backup.h"

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "search/store/artifact_store.h"
#include "search/store/file_lock.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/store_check.h"
#include "search/store/testing/make_records.h"

namespace forall {
namespace {

using ::forall::testing::MakeEvent;
using ::forall::testing::MakeJob;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StoreBackupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FORALL_ASSERT_OK_AND_ASSIGN(store_, SqliteResultStore::Create({.path = db_}));
    FORALL_ASSERT_OK_AND_ASSIGN(artifacts_, ArtifactStore::Create({.folder = db_ + ".artifacts"}));
    StoreBatch batch;
    batch.insert_jobs = {MakeJob(1)};
    batch.append_events = {MakeEvent(1, 1)};
    batch.append_events[0].kind = "submitted";
    FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  }

  std::string PutArtifact(const std::string& content) {
    const std::string sha256 = artifacts_->Put(content).value();
    StoreBatch batch;
    batch.insert_artifacts = {{sha256, static_cast<int64_t>(content.size()), testing::TestTime(1)}};
    FORALL_EXPECT_OK(store_->Commit(std::move(batch)));
    return sha256;
  }
  absl::StatusOr<BackupSummary> BackUp(const std::string& file) {
    return BackUpStore({.db = db_, .artifacts = db_ + ".artifacts", .file = file});
  }
  static std::string Findings(const std::string& db) {
    const absl::StatusOr<CheckReport> report =
        CheckStore({.db = db, .artifacts = db + ".artifacts", .deep = true});
    FORALL_EXPECT_OK(report.status());
    std::string all;
    for (const Finding& finding : report->findings) absl::StrAppend(&all, finding.what, "\n");
    return all;
  }

  TempDir folder_;
  const std::string db_ = folder_ / "store.db";
  std::unique_ptr<SqliteResultStore> store_;
  std::unique_ptr<ArtifactStore> artifacts_;
};

TEST_F(StoreBackupTest, HasNoSecretOfTheStore) {
  for (int i = 0; i < 3; ++i) FORALL_ASSERT_OK(store_->BeginEpoch().status());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LifeRecord> lives, store_->LoadLives());
  const std::string file = folder_ / "backup.db";
  FORALL_ASSERT_OK(BackUp(file).status());
  EXPECT_THAT(Findings(file), IsEmpty());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(file));
  for (const LifeRecord& life : lives) {
    EXPECT_EQ(bytes.find(life.secret), std::string::npos) << "life " << life.epoch;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto copy, SqliteResultStore::Create({.path = file}));
  EXPECT_THAT(copy->LoadLives(), testing::IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(copy->BeginEpoch(), testing::IsOkAndHolds(4));
  // The store itself has them still.
  EXPECT_THAT(store_->LoadLives(), testing::IsOkAndHolds(lives));
}

// Whatever the writer is at: the copy is a store that holds all that was acknowledged before the
// backup began, and of what came later a beginning.
TEST_F(StoreBackupTest, TakenDuringWritesItHoldsAPrefix) {
  std::atomic<bool> stop = false;
  std::atomic<int64_t> acknowledged = 1;
  Thread writer("writer", [&] {
    while (!stop) {
      StoreBatch batch;
      const int64_t sequence = acknowledged + 1;
      batch.append_events = {MakeEvent(1, sequence)};
      batch.append_events[0].kind = "note";
      batch.append_events[0].payload = std::string(3000, static_cast<char>('a' + sequence % 26));
      FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
      acknowledged = sequence;
    }
  });
  int64_t before = 0;
  for (int round = 0; round < 10; ++round) {
    while (acknowledged < before + 5 && !HasFailure()) {
      Clock::Real()->SleepFor(absl::Milliseconds(1));
    }
    ASSERT_FALSE(HasFailure());
    before = acknowledged;
    const std::string file = folder_ / absl::StrCat("backup-", round, ".db");
    FORALL_ASSERT_OK(BackUp(file).status());
    const int64_t after = acknowledged;
    EXPECT_THAT(Findings(file), IsEmpty());
    FORALL_ASSERT_OK_AND_ASSIGN(const auto copy, SqliteResultStore::Create({.path = file}));
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<EventRecord> events,
                                copy->LoadEvents(1, 0, 1 << 30));
    const int64_t count = static_cast<int64_t>(events.size());
    EXPECT_GE(count, before);
    EXPECT_LE(count, after + 1);  // One may be committed and not yet acknowledged.
    for (int64_t i = 1; i < count; ++i) {
      ASSERT_EQ(events[i].payload, std::string(3000, static_cast<char>('a' + (i + 1) % 26)));
    }
    // It is a store of its own.
    StoreBatch batch;
    batch.append_events = {MakeEvent(1, count + 1)};
    FORALL_EXPECT_OK(copy->Commit(std::move(batch)));
  }
  stop = true;
  writer.Join();
}

TEST_F(StoreBackupTest, ArtifactsComeWithItByLinkAndByCopy) {
  const std::string one = PutArtifact("a model");
  const std::string two = PutArtifact("another model");
  // One that no row names stays behind: it may be half of an upload.
  const std::string stray = artifacts_->Put("nobody's").value();
  const std::string file = folder_ / "backup.db";
  FORALL_ASSERT_OK_AND_ASSIGN(const BackupSummary summary, BackUp(file));
  EXPECT_EQ(summary.jobs, 1);
  EXPECT_EQ(summary.linked, 2);
  EXPECT_EQ(summary.artifact_bytes, 20);
  for (const char* suffix : {".partial", ".partial-wal", "-wal", "-journal"}) {
    EXPECT_FALSE(std::filesystem::exists(file + suffix)) << suffix;
  }
  EXPECT_THAT(Findings(file), IsEmpty());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto copies,
                              ArtifactStore::Create({.folder = file + ".artifacts"}));
  EXPECT_TRUE(copies->Exists(one));
  EXPECT_TRUE(copies->Exists(two));
  EXPECT_FALSE(copies->Exists(stray));
  EXPECT_EQ(std::filesystem::hard_link_count(copies->PathOf(one).value()), 2);
}

TEST_F(StoreBackupTest, ItGoesOnWhereAnEarlierOneStoppedAndNamesWhatIsMissing) {
  const std::string whole = PutArtifact("a model");
  const std::string short_one = PutArtifact("another model");
  const std::string file = folder_ / "backup.db";
  const std::string copy = absl::StrCat(file, ".artifacts/", whole.substr(0, 2));
  FORALL_ASSERT_OK(CreateDirectories(copy));
  FORALL_ASSERT_OK(WriteFileAtomically(absl::StrCat(copy, "/", whole.substr(2)), "a model"));
  FORALL_ASSERT_OK(WriteFileAtomically(artifacts_->PathOf(short_one).value(), "another"));
  FORALL_ASSERT_OK_AND_ASSIGN(const BackupSummary summary, BackUp(file));
  EXPECT_EQ(summary.present, 1);
  EXPECT_THAT(summary.missing, ElementsAre(short_one));
}

// A row is no path to other files.
TEST_F(StoreBackupTest, AnArtifactWithoutAHashForANameIsMissing) {
  FORALL_ASSERT_OK(WriteFileAtomically(folder_ / "precious", "precious"));
  StoreBatch batch;
  batch.insert_artifacts = {{"..precious", 8, absl::UnixEpoch()}};
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  FORALL_ASSERT_OK_AND_ASSIGN(const BackupSummary summary, BackUp(folder_ / "backup.db"));
  EXPECT_THAT(summary.missing, ElementsAre("..precious"));
  EXPECT_THAT(ReadFile(folder_ / "precious"), testing::IsOkAndHolds("precious"));
}

TEST_F(StoreBackupTest, TwoAtOnceDoNotSpoilEachOther) {
  const std::string folder = folder_ / "backups";
  ASSERT_TRUE(std::filesystem::create_directory(folder));
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto other,
                                FileLock::Acquire(folder + "/.forall-backup.lock"));
    EXPECT_THAT(BackUp(folder + "/a.db").status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another backup")));
    EXPECT_FALSE(std::filesystem::exists(folder + "/a.db"));
  }
  FORALL_EXPECT_OK(BackUp(folder + "/a.db").status());
}

TEST_F(StoreBackupTest, NothingIsWrittenOverAndMistakesAreNamed) {
  const std::string file = folder_ / "backup.db";
  FORALL_ASSERT_OK(WriteFileAtomically(file, "precious"));
  EXPECT_THAT(BackUp(file), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("another name")));
  EXPECT_THAT(ReadFile(file), testing::IsOkAndHolds("precious"));
  EXPECT_THAT(BackUp(folder_ / "no/such/backup.db"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("create ")));
  EXPECT_THAT(BackUpStore({.db = folder_ / "none.db", .file = folder_ / "b.db"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.db")));
  EXPECT_THAT(BackUpStore({.db = file, .file = folder_ / "b.db"}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("no forall store")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "b.db"));
}

}  // namespace
}  // namespace forall
