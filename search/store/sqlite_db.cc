// SPDX-License-Identifier: Apache-2.0
#include "search/store/sqlite_db.h"

#include <sqlite3.h>

#include <cmath>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

// How long a statement waits for a lock that an operator's own sqlite3 shell may hold.
constexpr int kBusyTimeoutMs = 5000;

absl::Status LastError(sqlite3* db) {
  return SqliteError(sqlite3_extended_errcode(db), sqlite3_errmsg(db));
}

absl::Status ConstraintError(int extended_code, absl::string_view message) {
  switch (extended_code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return absl::AlreadyExistsError(message);
    case SQLITE_CONSTRAINT_TRIGGER:
      return absl::FailedPreconditionError(message);
    case SQLITE_CONSTRAINT_FOREIGNKEY:
      return absl::InvalidArgumentError(
          absl::StrCat(message, ": it refers to a record that the store does not have"));
    default:
      return absl::InvalidArgumentError(message);
  }
}

}  // namespace

absl::Status SqliteError(int extended_code, absl::string_view message) {
  switch (extended_code) {
    case SQLITE_IOERR_NOMEM:
      return absl::ResourceExhaustedError(message);
    case SQLITE_IOERR_CORRUPTFS:
      return absl::DataLossError(message);
    default:
      break;
  }
  switch (extended_code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
      return absl::OkStatus();
    case SQLITE_CONSTRAINT:
      return ConstraintError(extended_code, message);
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(message, ": free some space on the disk"));
    case SQLITE_NOMEM:
    case SQLITE_NOLFS:
      return absl::ResourceExhaustedError(message);
    case SQLITE_READONLY:
      return absl::FailedPreconditionError(
          absl::StrCat(message, ": give the controller's user write permission"));
    case SQLITE_CANTOPEN:
      return absl::FailedPreconditionError(
          absl::StrCat(message, ": check that its folder exists and that permissions allow it"));
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(message);
    case SQLITE_CORRUPT:
      return absl::DataLossError(
          absl::StrCat(message,
                       ": the file is damaged; restore a backup, or save what can be read "
                       "(docs/operations.md has both)"));
    case SQLITE_NOTADB:
      return absl::DataLossError(
          absl::StrCat(message, ": it is no forall store, or its first page is damaged"));
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return absl::UnavailableError(message);
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
      return absl::InvalidArgumentError(message);
    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
      return absl::CancelledError(message);
    default:
      return absl::InternalError(message);
  }
}

Statement::~Statement() {
  if (statement_ == nullptr) return;
  // The result repeats the error of the last step, which its caller has seen.
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

bool Statement::BindNull(int index) {
  bound_ = sqlite3_bind_null(statement_, index);
  return bound_ == SQLITE_OK;
}

bool Statement::BindInt64(int index, int64_t value) {
  bound_ = sqlite3_bind_int64(statement_, index, value);
  return bound_ == SQLITE_OK;
}

bool Statement::BindDouble(int index, double value) {
  bound_ = std::isnan(value) ? SQLITE_MISMATCH : sqlite3_bind_double(statement_, index, value);
  return bound_ == SQLITE_OK;
}

bool Statement::BindText(int index, absl::string_view value) {
  // A null pointer would bind NULL.
  const char* data = value.empty() ? "" : value.data();
  bound_ = sqlite3_bind_text64(statement_, index, data, value.size(), SQLITE_STATIC, SQLITE_UTF8);
  return bound_ == SQLITE_OK;
}

bool Statement::BindBlob(int index, absl::string_view value) {
  const char* data = value.empty() ? "" : value.data();
  bound_ = sqlite3_bind_blob64(statement_, index, data, value.size(), SQLITE_STATIC);
  return bound_ == SQLITE_OK;
}

absl::Status Statement::BindError() const {
  if (bound_ == SQLITE_MISMATCH) return absl::InvalidArgumentError("a number to store is NaN");
  return SqliteError(bound_, sqlite3_errstr(bound_));
}

absl::StatusOr<bool> Statement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return LastError(db_);
}

absl::Status Statement::ForEachRow(absl::FunctionRef<absl::Status()> body) {
  while (true) {
    FORALL_ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
    FORALL_RETURN_IF_ERROR(body());
  }
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}
int64_t Statement::Int64(int column) const { return sqlite3_column_int64(statement_, column); }
double Statement::Double(int column) const { return sqlite3_column_double(statement_, column); }

std::string Statement::Text(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (data == nullptr || size <= 0) return "";
  return std::string(static_cast<const char*>(data), static_cast<size_t>(size));
}

absl::StatusOr<std::unique_ptr<Db>> Db::Open(const Options& options) {
  sqlite3* handle = nullptr;
  // NOMUTEX: each connection has one user at a time, who holds the store's own lock.
  const int flags =
      SQLITE_OPEN_NOMUTEX |
      (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const int code = sqlite3_open_v2(options.path.c_str(), &handle, flags,
                                   options.vfs.empty() ? nullptr : options.vfs.c_str());
  if (handle == nullptr) return absl::ResourceExhaustedError("no memory to open a database");
  std::unique_ptr<Db> db(new Db(handle));
  if (code != SQLITE_OK) return LastError(handle);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  // The file may come from anybody: its schema gets no more power than its rows.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return db;
}

Db::~Db() {
  for (const auto& [sql, statement] : prepared_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

absl::Status Db::Execute(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) {
    return absl::OkStatus();
  }
  return LastError(db_);
}

absl::StatusOr<Statement> Db::Prepare(absl::string_view sql) {
  const auto found = prepared_.find(sql);
  if (found != prepared_.end()) return Statement(db_, found->second);
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return LastError(db_);
  prepared_.emplace(std::string(sql), statement);
  return Statement(db_, statement);
}

absl::StatusOr<int64_t> Db::QueryInt64(absl::string_view sql) {
  FORALL_ASSIGN_OR_RETURN(Statement statement, Query(sql));
  FORALL_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return absl::InternalError(absl::StrCat("no row from: ", sql));
  return statement.Int64(0);
}

int64_t Db::changes() const { return sqlite3_changes64(db_); }
bool Db::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
bool Db::read_only() const { return sqlite3_db_readonly(db_, "main") == 1; }

absl::StatusOr<Transaction> Transaction::Begin(Db* db) {
  FORALL_RETURN_IF_ERROR(db->Run("BEGIN IMMEDIATE"));
  return Transaction(db);
}

absl::Status Transaction::Commit() {
  absl::Status status = db_->Run("COMMIT");
  if (status.ok()) {
    db_ = nullptr;
  } else {
    Rollback();
  }
  return status;
}

void Transaction::Rollback() {
  if (db_ == nullptr) return;
  // Some errors make SQLite roll back by itself; then there is nothing left to do.
  if (db_->in_transaction()) db_->Run("ROLLBACK").IgnoreError();
  db_ = nullptr;
}

}  // namespace forall
