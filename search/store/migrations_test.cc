// SPDX-License-Identifier: Apache-2.0
#include "search/store/migrations.h"

#include <memory>
#include <vector>

#include "base/testing/matchers.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

constexpr Migration kCreate = {1, "0001_create", "CREATE TABLE pets (name TEXT NOT NULL) STRICT;"};
constexpr Migration kAddLegs = {2, "0002_legs",
                                "ALTER TABLE pets ADD COLUMN legs INTEGER NOT NULL DEFAULT 0;"
                                "UPDATE pets SET legs = 4;"};
constexpr Migration kRename = {3, "0003_rename", "ALTER TABLE pets RENAME COLUMN name TO called;"};

class MigrateTest : public ::testing::Test {
 protected:
  void SetUp() override { FORALL_ASSERT_OK_AND_ASSIGN(db_, Db::Open({.path = ":memory:"})); }

  std::unique_ptr<Db> db_;
};

TEST_F(MigrateTest, TakesAnEmptyDatabaseToTheNewestSchema) {
  FORALL_ASSERT_OK(Migrate(db_.get(), {kCreate, kAddLegs, kRename}));
  EXPECT_THAT(db_->QueryInt64("PRAGMA user_version"), IsOkAndHolds(3));
  EXPECT_THAT(db_->QueryInt64("PRAGMA application_id"), IsOkAndHolds(kStoreApplicationId));
  FORALL_EXPECT_OK(db_->Run("INSERT INTO pets (called, legs) VALUES (?, ?)", "rex", 4));
}

TEST_F(MigrateTest, CarriesDataFromEveryOlderSchema) {
  FORALL_ASSERT_OK(Migrate(db_.get(), {kCreate}));
  FORALL_ASSERT_OK(db_->Run("INSERT INTO pets (name) VALUES (?)", "rex"));
  FORALL_ASSERT_OK(Migrate(db_.get(), {kCreate, kAddLegs}));
  FORALL_ASSERT_OK(Migrate(db_.get(), {kCreate, kAddLegs, kRename}));
  FORALL_ASSERT_OK(Migrate(db_.get(), {kCreate, kAddLegs, kRename}));
  EXPECT_THAT(db_->QueryInt64("SELECT legs FROM pets WHERE called = 'rex'"), IsOkAndHolds(4));
}

TEST_F(MigrateTest, RefusesANewerSchemaAndSaysToUpgrade) {
  FORALL_ASSERT_OK(Migrate(db_.get(), {kCreate, kAddLegs, kRename}));
  EXPECT_THAT(Migrate(db_.get(), {kCreate, kAddLegs}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("upgrade forall")));
  EXPECT_THAT(db_->QueryInt64("PRAGMA user_version"), IsOkAndHolds(3));
}

TEST_F(MigrateTest, RefusesADatabaseOfAnotherProgram) {
  for (const char* sql :
       {"CREATE TABLE notes (text TEXT)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto other, Db::Open({.path = ":memory:"}));
    FORALL_ASSERT_OK(other->Execute(sql));
    EXPECT_THAT(Migrate(other.get(), {kCreate}),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another program")))
        << sql;
    EXPECT_THAT(other->QueryInt64("SELECT count(*) FROM sqlite_schema WHERE name = 'pets'"),
                IsOkAndHolds(0));
  }
}

TEST_F(MigrateTest, AFailingMigrationLeavesTheSchemaBeforeIt) {
  constexpr Migration kBroken = {2, "0002_broken", "CREATE TABLE half (x INTEGER); SELEKT;"};
  EXPECT_THAT(Migrate(db_.get(), {kCreate, kBroken}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("0002_broken")));
  EXPECT_THAT(db_->QueryInt64("PRAGMA user_version"), IsOkAndHolds(1));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM sqlite_schema WHERE name = 'half'"),
              IsOkAndHolds(0));
  FORALL_EXPECT_OK(Migrate(db_.get(), {kCreate, kAddLegs}));
}

TEST_F(MigrateTest, AMigrationMayNotLeaveDanglingReferences) {
  constexpr Migration kDangling = {2, "0002_dangling", "DELETE FROM keepers;"};
  constexpr Migration kKeepers = {
      1, "0001_keepers",
      "CREATE TABLE keepers (id INTEGER PRIMARY KEY) STRICT;"
      "CREATE TABLE animals (keeper INTEGER REFERENCES keepers) STRICT;"};
  FORALL_ASSERT_OK(Migrate(db_.get(), {kKeepers}));
  FORALL_ASSERT_OK(db_->Execute("INSERT INTO keepers VALUES (5); INSERT INTO animals VALUES (5)"));
  EXPECT_THAT(Migrate(db_.get(), {kKeepers, kDangling}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("animals")));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM keepers"), IsOkAndHolds(1));
}

TEST_F(MigrateTest, RefusesMigrationsOutOfOrder) {
  EXPECT_THAT(Migrate(db_.get(), {kAddLegs}), StatusIs(absl::StatusCode::kInternal));
}

TEST_F(MigrateTest, TheStoresOwnSchemaIsStrictAndWhole) {
  FORALL_ASSERT_OK(Migrate(db_.get(), StoreMigrations()));
  EXPECT_THAT(db_->QueryInt64("PRAGMA user_version"),
              IsOkAndHolds(static_cast<int64_t>(StoreMigrations().size())));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM pragma_table_list "
                              "WHERE schema = 'main' AND NOT strict AND name NOT LIKE 'sqlite_%'"),
              IsOkAndHolds(0));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM pragma_table_list "
                              "WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'"),
              IsOkAndHolds(22));
}

TEST_F(MigrateTest, DatasetsOfTheSecondSchemaAreKeptAndOfUnknownSize) {
  ASSERT_GE(StoreMigrations().size(), 3u);
  FORALL_ASSERT_OK(Migrate(db_.get(), StoreMigrations().subspan(0, 2)));
  FORALL_ASSERT_OK(db_->Execute(
      "INSERT INTO datasets (name, split, checksum, create_time) VALUES ('d', 'test', 'c', 7)"));
  FORALL_ASSERT_OK(Migrate(db_.get(), StoreMigrations()));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM datasets WHERE name = 'd' AND split = 'test' "
                              "AND checksum = 'c' AND create_time = 7 AND images = 0"),
              IsOkAndHolds(1));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM accuracy_parts"), IsOkAndHolds(0));
}

TEST_F(MigrateTest, TasksOfTheThirdSchemaAreKeptAndOfUnknownDuration) {
  ASSERT_GE(StoreMigrations().size(), 4u);
  FORALL_ASSERT_OK(Migrate(db_.get(), StoreMigrations().subspan(0, 3)));
  FORALL_ASSERT_OK(db_->Execute(
      "INSERT INTO keys (id, text) VALUES (1, '');"
      "INSERT INTO jobs (id, spec, supernet, state, error, history_snapshot, create_time, "
      "update_time) VALUES (1, x'00', 1, 1, '', 0, 0, 0);"
      "INSERT INTO tasks (id, job, kind, payload, state, attempts, completed_by, completed_token, "
      "result_fingerprint, error) VALUES (9, 1, 2, x'00', 2, 1, 1, 't', 'f', '')"));
  FORALL_ASSERT_OK(Migrate(db_.get(), StoreMigrations()));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM task_ends WHERE task = 9 AND state = 2 AND "
                              "completed_token = 't' AND seconds = 0"),
              IsOkAndHolds(1));
}

TEST_F(MigrateTest, TheEventLogIsAppendOnly) {
  FORALL_ASSERT_OK(Migrate(db_.get(), StoreMigrations()));
  FORALL_ASSERT_OK(db_->Execute(
      "INSERT INTO keys (id, text) VALUES (1, '');"
      "INSERT INTO jobs (id, spec, supernet, state, error, history_snapshot, create_time, "
      "update_time) VALUES (1, x'00', 1, 1, '', 0, 0, 0);"
      "INSERT INTO job_events VALUES (1, 1, 1, 'kind', '{}', 0)"));
  EXPECT_THAT(db_->Run("UPDATE job_events SET kind = 'other'"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("append-only")));
  EXPECT_THAT(db_->Run("DELETE FROM job_events"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("append-only")));
  // Until its job is deleted.
  FORALL_ASSERT_OK(db_->Run("DELETE FROM jobs"));
  FORALL_EXPECT_OK(db_->Run("DELETE FROM job_events"));
}

TEST_F(MigrateTest, LogsOfEveryFormerSchemaAreKept) {
  const absl::Span<const Migration> all = StoreMigrations();
  ASSERT_GE(all.size(), 10u);
  for (size_t version = 1; version <= 9; ++version) {
    SCOPED_TRACE(version);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = ":memory:"}));
    FORALL_ASSERT_OK(Migrate(db.get(), all.subspan(0, version)));
    FORALL_ASSERT_OK(db->Execute(
        "INSERT INTO keys (id, text) VALUES (1, '');"
        "INSERT INTO jobs (id, spec, supernet, state, error, history_snapshot, create_time, "
        "update_time) VALUES (1, x'00', 1, 1, '', 0, 0, 0), (2, x'00', 1, 1, '', 0, 0, 0);"
        "INSERT INTO job_events VALUES (2, 1, 'submitted', '{}', 7), (1, 1, 'submitted', '{}', 8), "
        "(2, 2, 'bound', '{\"target\":0}', 9)"));
    FORALL_ASSERT_OK(Migrate(db.get(), all));
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM job_events"), IsOkAndHolds(3));
    EXPECT_THAT(db->QueryInt64("SELECT time FROM job_events WHERE job = 2 AND seq = 2 AND "
                               "kind = 'bound' AND payload = '{\"target\":0}'"),
                IsOkAndHolds(9));
    // The next start enters them.
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM event_runs"), IsOkAndHolds(0));
    EXPECT_THAT(db->QueryInt64("SELECT indexed_event FROM controller"), IsOkAndHolds(0));
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM deleted_jobs"), IsOkAndHolds(0));
    EXPECT_THAT(db->Run("UPDATE job_events SET time = 0"),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("append-only")));
    EXPECT_THAT(db->Run("DELETE FROM job_events"),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("append-only")));
    FORALL_ASSERT_OK(db->Execute("PRAGMA foreign_keys = ON"));
    EXPECT_THAT(db->Run("INSERT INTO job_events VALUES (4, 3, 1, 'kind', '{}', 0)"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FOREIGN KEY")));
  }
}

TEST_F(MigrateTest, TrialsOfEveryFormerSchemaAreKeptAsProposed) {
  const absl::Span<const Migration> all = StoreMigrations();
  ASSERT_GE(all.size(), 10u);
  for (size_t version = 1; version <= 9; ++version) {
    SCOPED_TRACE(version);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = ":memory:"}));
    FORALL_ASSERT_OK(Migrate(db.get(), all.subspan(0, version)));
    FORALL_ASSERT_OK(db->Execute(
        "INSERT INTO keys (id, text) VALUES (1, ''), (2, 'arch'), (3, 'graph'), (4, 'file');"
        "INSERT INTO jobs (id, spec, supernet, state, error, history_snapshot, create_time, "
        "update_time) VALUES (5, x'00', 1, 1, '', 0, 0, 0);"
        "INSERT INTO trials VALUES (8, 5, 2, 1, 3, '1,2', 2, 3, 4, 2, '', 1, 7, 9), "
        "(6, 5, 1, 1, 3, '0,2', 1, 3, 1, 1, '', 0, 6, NULL);"
        "INSERT INTO conditions VALUES (1, 1, 1, 1, 1, 1, 1, 1, 1);"
        "INSERT INTO measurements VALUES (5, 5, 8, NULL, 1, 1, 1, 2.5, 2, 3, 1, 20, 1, '[]', "
        "1, 1, 1, '', 7, '');"));
    FORALL_ASSERT_OK(Migrate(db.get(), all));
    EXPECT_THAT(db->QueryInt64("SELECT create_time FROM trials WHERE id = 8 AND job = 5 AND "
                               "ordinal = 2 AND search_space = 1 AND revision = 3 AND "
                               "choices = '1,2' AND arch = 2 AND graph = 3"),
                IsOkAndHolds(7));
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM trials"), IsOkAndHolds(2));
    // What referred to the old table refers to the new one.
    FORALL_ASSERT_OK(db->Execute("PRAGMA foreign_keys = ON"));
    EXPECT_THAT(db->Run("UPDATE measurements SET trial = 7"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FOREIGN KEY")));
    FORALL_EXPECT_OK(db->Run("UPDATE measurements SET trial = 6"));
    EXPECT_THAT(db->Run("DELETE FROM trials WHERE id = 6"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FOREIGN KEY")));
  }
}

TEST_F(MigrateTest, LatenciesOfEveryFormerSchemaKeepTheirSamples) {
  const absl::Span<const Migration> all = StoreMigrations();
  ASSERT_GE(all.size(), 7u);
  for (size_t version = 1; version <= 6; ++version) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = ":memory:"}));
    FORALL_ASSERT_OK(Migrate(db.get(), all.subspan(0, version)));
    FORALL_ASSERT_OK(db->Execute(
        "INSERT INTO keys (id, text) VALUES (1, '');"
        "INSERT INTO conditions VALUES (1, 1, 1, 1, 1, 1, 1, 1, 1);"
        "INSERT INTO measurements VALUES (5, NULL, NULL, NULL, 1, 1, 1, 2.5, 2, 3, 1, 20, 1, '[]', "
        "1, 1, 1, '', 7, '');"
        "INSERT INTO latencies VALUES (5, 1.5, 2, 3, 4, 1);"
        "INSERT INTO evidence VALUES (5, x'01', x'02', x'', x'03');"
        "INSERT INTO supernets (id, hash, spec, dataset, create_time) VALUES ('s', 1, '{}', 1, "
        "0);"));
    FORALL_ASSERT_OK(Migrate(db.get(), all));
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM latencies JOIN evidence USING (measurement) "
                               "WHERE measurement = 5 AND ratio = 1.5 AND samples_dropped IS NULL "
                               "AND samples = x'01' AND reference_samples = x'02'"),
                IsOkAndHolds(1))
        << version;
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM supernets"), IsOkAndHolds(1));
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM deleted_supernets"), IsOkAndHolds(0));
  }
}

TEST_F(MigrateTest, TasksOfEveryFormerSchemaKeepHowTheyEnded) {
  const absl::Span<const Migration> all = StoreMigrations();
  ASSERT_GE(all.size(), 8u);
  for (size_t version = 1; version <= 7; ++version) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = ":memory:"}));
    FORALL_ASSERT_OK(Migrate(db.get(), all.subspan(0, version)));
    FORALL_ASSERT_OK(db->Execute(
        "INSERT INTO keys (id, text) VALUES (1, ''), (2, 'w');"
        "INSERT INTO jobs (id, spec, supernet, state, error, history_snapshot, create_time, "
        "update_time) VALUES (1, x'00', 1, 1, '', 0, 0, 0);"
        "INSERT INTO tasks (id, job, kind, payload, state, attempts, completed_by, "
        "completed_token, result_fingerprint, error) VALUES (7, 1, 1, x'07', 1, 2, 2, 'u', 'e', "
        "''),"
        "(8, 1, 2, x'08', 3, 3, 2, '', '', 'hot'), (9, 1, 3, x'09', 2, 1, 2, 't', 'f', '');"
        "INSERT INTO conditions VALUES (1, 1, 1, 1, 1, 1, 1, 1, 1);"
        "INSERT INTO measurements VALUES (5, 1, NULL, 9, 1, 1, 1, 2.5, 2, 3, 1, 20, 1, '[]', "
        "1, 1, 1, '', 7, '');"));
    FORALL_ASSERT_OK(Migrate(db.get(), all));
    EXPECT_THAT(db->QueryInt64("SELECT attempts FROM tasks WHERE id = 7 AND job = 1 AND kind = 1 "
                               "AND trial IS NULL AND payload = x'07' AND failed_by = 2 "
                               "AND failed_token = 'u' AND failed_fingerprint = 'e'"),
                IsOkAndHolds(2))
        << version;
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM tasks WHERE job = 1"), IsOkAndHolds(3));
    EXPECT_THAT(db->QueryInt64("SELECT count(*) FROM task_ends"), IsOkAndHolds(2));
    EXPECT_THAT(db->QueryInt64("SELECT attempts FROM task_ends WHERE task = 8 AND state = 3 AND "
                               "completed_by = 2 AND error = 'hot'"),
                IsOkAndHolds(3));
    EXPECT_THAT(db->QueryInt64("SELECT attempts FROM task_ends WHERE task = 9 AND state = 2 AND "
                               "completed_token = 't' AND result_fingerprint = 'f'"),
                IsOkAndHolds(1));
    // What referred to the old table refers to the new one.
    FORALL_ASSERT_OK(db->Execute("PRAGMA foreign_keys = ON"));
    EXPECT_THAT(db->Run("DELETE FROM tasks WHERE id = 9"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FOREIGN KEY")));
    EXPECT_THAT(db->Run("UPDATE measurements SET task = 10"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FOREIGN KEY")));
    FORALL_EXPECT_OK(db->Run("UPDATE measurements SET task = 8"));
  }
}

}  // namespace
}  // namespace forall
