// SPDX-License-Identifier: Apache-2.0
#include "search/store/sqlite_db.h"

#include <sqlite3.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "base/testing/matchers.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

class DbTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FORALL_ASSERT_OK_AND_ASSIGN(db_, Db::Open({.path = ":memory:"}));
    FORALL_ASSERT_OK(db_->Execute(
        "PRAGMA foreign_keys = ON;"
        "CREATE TABLE t (i INTEGER PRIMARY KEY, r REAL NOT NULL, s TEXT UNIQUE, b BLOB,"
        " parent INTEGER REFERENCES t) STRICT"));
  }

  std::unique_ptr<Db> db_;
};

TEST_F(DbTest, ValuesComeBackAsTheyWereBound) {
  const std::string text("a\0'b", 4);
  const std::string bytes("\xff\0\x01", 3);
  FORALL_ASSERT_OK(db_->Run("INSERT INTO t VALUES (?, ?, ?, ?, ?)", int64_t{1} << 60, -0.1, text,
                            Blob{bytes}, std::optional<int64_t>()));
  FORALL_ASSERT_OK_AND_ASSIGN(Statement rows, db_->Query("SELECT * FROM t WHERE s = ?", text));
  EXPECT_THAT(rows.Step(), IsOkAndHolds(true));
  EXPECT_EQ(rows.Int64(0), int64_t{1} << 60);
  EXPECT_EQ(rows.Double(1), -0.1);
  EXPECT_EQ(rows.Text(2), text);
  EXPECT_EQ(rows.Text(3), bytes);
  EXPECT_TRUE(rows.IsNull(4));
  EXPECT_THAT(rows.Step(), IsOkAndHolds(false));
}

TEST_F(DbTest, AnEmptyTextIsNotNull) {
  FORALL_ASSERT_OK(db_->Run("INSERT INTO t VALUES (1, 0.0, ?, ?, NULL)", "", Blob{""}));
  EXPECT_THAT(db_->QueryInt64("SELECT s IS NULL OR b IS NULL FROM t"), IsOkAndHolds(0));
}

TEST_F(DbTest, APreparedStatementStartsAfreshEachTime) {
  for (int i = 1; i <= 3; ++i) {
    FORALL_ASSERT_OK(db_->Run("INSERT INTO t VALUES (?, 0.0, NULL, NULL, NULL)", i));
    EXPECT_EQ(db_->changes(), 1);
  }
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM t"), IsOkAndHolds(3));
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM t"), IsOkAndHolds(3));
}

TEST_F(DbTest, BrokenConstraintsHaveTheirCodes) {
  constexpr absl::string_view kInsert = "INSERT INTO t VALUES (?, ?, ?, NULL, ?)";
  const std::optional<int64_t> none;
  FORALL_ASSERT_OK(db_->Run(kInsert, 1, 0.0, "a", none));
  EXPECT_THAT(db_->Run(kInsert, 1, 0.0, "b", none),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("t.i")));
  EXPECT_THAT(db_->Run(kInsert, 2, 0.0, "a", none),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("t.s")));
  EXPECT_THAT(db_->Run(kInsert, 2, 0.0, "b", std::optional<int64_t>(9)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("does not have")));
  EXPECT_THAT(db_->Run(kInsert, 2, std::numeric_limits<double>::quiet_NaN(), "b", none),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NaN")));
  EXPECT_THAT(db_->Run(kInsert, 2, "text", "b", none),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(db_->Run("SELEKT"), StatusIs(absl::StatusCode::kInternal));
}

TEST_F(DbTest, ATransactionThatIsNotCommittedLeavesNothing) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const Transaction dropped, Transaction::Begin(db_.get()));
    FORALL_ASSERT_OK(db_->Run("INSERT INTO t VALUES (1, 0.0, NULL, NULL, NULL)"));
    EXPECT_TRUE(db_->in_transaction());
  }
  EXPECT_FALSE(db_->in_transaction());
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM t"), IsOkAndHolds(0));
  FORALL_ASSERT_OK_AND_ASSIGN(Transaction kept, Transaction::Begin(db_.get()));
  FORALL_ASSERT_OK(db_->Run("INSERT INTO t VALUES (1, 0.0, NULL, NULL, NULL)"));
  FORALL_EXPECT_OK(kept.Commit());
  EXPECT_THAT(db_->QueryInt64("SELECT count(*) FROM t"), IsOkAndHolds(1));
}

TEST(SqliteErrorTest, MapsCodesToWhatTheCallerCanDo) {
  const std::pair<int, absl::StatusCode> cases[] = {
      {SQLITE_OK, absl::StatusCode::kOk},
      {SQLITE_FULL, absl::StatusCode::kResourceExhausted},
      {SQLITE_NOMEM, absl::StatusCode::kResourceExhausted},
      {SQLITE_IOERR_NOMEM, absl::StatusCode::kResourceExhausted},
      {SQLITE_READONLY_DIRECTORY, absl::StatusCode::kFailedPrecondition},
      {SQLITE_CANTOPEN_ISDIR, absl::StatusCode::kFailedPrecondition},
      {SQLITE_CONSTRAINT_PRIMARYKEY, absl::StatusCode::kAlreadyExists},
      {SQLITE_CONSTRAINT_NOTNULL, absl::StatusCode::kInvalidArgument},
      {SQLITE_CORRUPT_INDEX, absl::StatusCode::kDataLoss},
      {SQLITE_IOERR_CORRUPTFS, absl::StatusCode::kDataLoss},
      {SQLITE_NOTADB, absl::StatusCode::kDataLoss},
      {SQLITE_IOERR_FSYNC, absl::StatusCode::kUnavailable},
      {SQLITE_BUSY_RECOVERY, absl::StatusCode::kUnavailable},
      {SQLITE_TOOBIG, absl::StatusCode::kInvalidArgument},
      {SQLITE_PERM, absl::StatusCode::kPermissionDenied},
      {SQLITE_ERROR, absl::StatusCode::kInternal},
  };
  for (const auto& [code, expected] : cases) {
    EXPECT_EQ(SqliteError(code, "message").code(), expected) << sqlite3_errstr(code);
  }
}

}  // namespace
}  // namespace forall
