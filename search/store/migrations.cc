// SPDX-License-Identifier: Apache-2.0
#include "search/store/migrations.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

absl::Status CheckReferences(Db* db) {
  FORALL_ASSIGN_OR_RETURN(Statement broken, db->Query("PRAGMA foreign_key_check"));
  FORALL_ASSIGN_OR_RETURN(const bool found, broken.Step());
  if (!found) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("row ", broken.Int64(1), " of ", broken.Text(0),
                                          " refers to a missing row of ", broken.Text(2)));
}

absl::Status Apply(Db* db, const Migration& migration) {
  FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(db));
  FORALL_RETURN_IF_ERROR(db->Execute(std::string(migration.sql)));
  FORALL_RETURN_IF_ERROR(CheckReferences(db));
  // A pragma takes no parameters; these two are our own integers.
  FORALL_RETURN_IF_ERROR(db->Execute(absl::StrCat("PRAGMA application_id = ", kStoreApplicationId,
                                                  "; PRAGMA user_version = ", migration.version)));
  return transaction.Commit();
}

}  // namespace

absl::Status CheckOwnership(Db* db, absl::Span<const Migration> migrations) {
  const int64_t newest = static_cast<int64_t>(migrations.size());
  FORALL_ASSIGN_OR_RETURN(const int64_t version, db->QueryInt64("PRAGMA user_version"));
  FORALL_ASSIGN_OR_RETURN(const int64_t application, db->QueryInt64("PRAGMA application_id"));
  if (application != kStoreApplicationId) {
    FORALL_ASSIGN_OR_RETURN(const int64_t objects,
                            db->QueryInt64("SELECT count(*) FROM sqlite_schema"));
    if (application != 0 || version != 0 || objects != 0) {
      return absl::FailedPreconditionError(
          "this is an SQLite database of another program: give another file");
    }
  }
  if (version > newest) {
    return absl::FailedPreconditionError(absl::StrCat("a newer forall wrote it (schema ", version,
                                                      ", this one knows schemas up to ", newest,
                                                      "): upgrade forall, or give another file"));
  }
  if (version < 0) return absl::DataLossError(absl::StrCat("its schema version is ", version));
  return absl::OkStatus();
}

absl::Status Migrate(Db* db, absl::Span<const Migration> migrations) {
  const int64_t newest = static_cast<int64_t>(migrations.size());
  FORALL_ASSIGN_OR_RETURN(const int64_t version, db->QueryInt64("PRAGMA user_version"));
  FORALL_RETURN_IF_ERROR(CheckOwnership(db, migrations));
  for (int64_t i = version; i < newest; ++i) {
    const Migration& migration = migrations[static_cast<size_t>(i)];
    if (migration.version != i + 1) {
      return absl::InternalError(absl::StrCat("migration ", migration.name, " is out of order"));
    }
    FORALL_RETURN_IF_ERROR(
        WithContext(Apply(db, migration), absl::StrCat("migration ", migration.name)));
  }
  return absl::OkStatus();
}

}  // namespace forall
