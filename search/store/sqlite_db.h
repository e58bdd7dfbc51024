// SPDX-License-Identifier: Apache-2.0
// A thin layer over SQLite's C interface: every call returns absl::Status, parameters are typed
// binds, statements are prepared once and kept. Only search/store includes it.
//
//   FORALL_RETURN_IF_ERROR(db->Run("INSERT INTO keys (id, text) VALUES (?, ?)", id, text));
//   FORALL_ASSIGN_OR_RETURN(Statement rows, db->Query("SELECT text FROM keys WHERE id > ?", id));
//   FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] { texts.push_back(rows.Text(0)); return
//   absl::OkStatus(); }));
#ifndef FORALL_SEARCH_STORE_SQLITE_DB_H_
#define FORALL_SEARCH_STORE_SQLITE_DB_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

struct sqlite3;
struct sqlite3_stmt;

namespace forall {

// What an SQLite result code means for us, with advice where there is any:
// full -> ResourceExhausted, read-only -> FailedPrecondition, taken key -> AlreadyExists, other
// broken constraint -> InvalidArgument, damaged file -> DataLoss, I/O error or busy -> Unavailable,
// ...
absl::Status SqliteError(int extended_code, absl::string_view message);

// Marks bytes that are bound as BLOB rather than TEXT.
struct Blob {
  absl::string_view bytes;
};

// A prepared statement on loan from its Db, reset when it goes out of scope. Bound text is not
// copied: it must outlive the statement's execution. Thread-compatible.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  Statement(Statement&& other) noexcept
      : db_(other.db_),
        statement_(std::exchange(other.statement_, nullptr)),
        bound_(other.bound_) {}
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Binds parameters from ?1 on: integers, bools, enums, doubles, text, Blob, optional integers.
  // NaN is refused: SQLite would turn it into NULL.
  template <typename... Args>
  absl::Status Bind(const Args&... args) {
    int index = 0;
    const bool bound = (BindOne(++index, args) && ...);
    return bound ? absl::OkStatus() : BindError();
  }

  // True when there is a row, false at the end.
  absl::StatusOr<bool> Step();
  // Calls `body` for each remaining row; stops at the first error.
  absl::Status ForEachRow(absl::FunctionRef<absl::Status()> body);

  // Of the current row; columns count from 0.
  bool IsNull(int column) const;
  int64_t Int64(int column) const;
  double Double(int column) const;
  std::string Text(int column) const;  // TEXT or BLOB

 private:
  template <typename T>
  bool BindOne(int index, const T& value) {
    if constexpr (std::is_same_v<T, Blob>) {
      return BindBlob(index, value.bytes);
    } else if constexpr (std::is_same_v<T, std::optional<int64_t>>) {
      return value.has_value() ? BindInt64(index, *value) : BindNull(index);
    } else if constexpr (std::is_floating_point_v<T>) {
      return BindDouble(index, value);
    } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      return BindInt64(index, static_cast<int64_t>(value));
    } else {
      return BindText(index, value);
    }
  }
  bool BindNull(int index);
  bool BindInt64(int index, int64_t value);
  bool BindDouble(int index, double value);
  bool BindText(int index, absl::string_view value);
  bool BindBlob(int index, absl::string_view value);
  absl::Status BindError() const;

  sqlite3* db_;
  sqlite3_stmt* statement_;
  int bound_ = 0;  // code of the last bind
};

// One connection. Thread-compatible.
class Db {
 public:
  struct Options {
    std::string path;      // or ":memory:"
    std::string vfs = {};  // "" is SQLite's default
    bool read_only = false;
  };
  // Opens for reading and writing and creates the file when it does not exist; read-only, it must
  // exist. Checks nothing of its content: SQLite reads it only when it must.
  static absl::StatusOr<std::unique_ptr<Db>> Open(const Options& options);
  ~Db();
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;

  // Runs one or more statements without parameters and throws their rows away.
  absl::Status Execute(const std::string& sql);
  // Runs one statement to its end. `sql` must be a literal: it stays prepared under its text.
  template <typename... Args>
  absl::Status Run(absl::string_view sql, const Args&... args) {
    FORALL_ASSIGN_OR_RETURN(Statement statement, Query(sql, args...));
    return statement.ForEachRow([] { return absl::OkStatus(); });
  }
  // Prepared and bound. One loan per text at a time.
  template <typename... Args>
  absl::StatusOr<Statement> Query(absl::string_view sql, const Args&... args) {
    FORALL_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
    FORALL_RETURN_IF_ERROR(statement.Bind(args...));
    return statement;
  }
  // The single integer that `sql` yields.
  absl::StatusOr<int64_t> QueryInt64(absl::string_view sql);
  // Rows changed by the last INSERT or UPDATE.
  int64_t changes() const;
  bool in_transaction() const;
  // The file, or the whole connection, cannot be written.
  bool read_only() const;
  // For what has no wrapper here.
  sqlite3* handle() const { return db_; }

 private:
  explicit Db(sqlite3* db) : db_(db) {}
  absl::StatusOr<Statement> Prepare(absl::string_view sql);

  sqlite3* db_;
  absl::flat_hash_map<std::string, sqlite3_stmt*> prepared_;
};

// BEGIN IMMEDIATE, rolled back unless committed. Thread-compatible.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(Db* db);
  Transaction(Transaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction() { Rollback(); }

  // After an error nothing is kept.
  absl::Status Commit();
  void Rollback();

 private:
  explicit Transaction(Db* db) : db_(db) {}
  Db* db_;  // null once finished
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_SQLITE_DB_H_
