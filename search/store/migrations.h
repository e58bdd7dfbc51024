// SPDX-License-Identifier: Apache-2.0
// The schema's history: schema/NNNN_name.sql, applied in order, each in one transaction. The file's
// user_version says how far it is, its application_id that it is ours.
#ifndef FORALL_SEARCH_STORE_MIGRATIONS_H_
#define FORALL_SEARCH_STORE_MIGRATIONS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "search/store/sqlite_db.h"

namespace forall {

// "FORL", in the database header; `file` and the sqlite3 shell show it.
inline constexpr int64_t kStoreApplicationId = 0x464f524c;

struct Migration {
  int version;             // 1, 2, ... without gaps
  absl::string_view name;  // of its file
  absl::string_view sql;
};

// Everything under schema/, embedded at build.
absl::Span<const Migration> StoreMigrations();

// FailedPrecondition unless the database is ours, or empty, and of a schema that this build knows.
absl::Status CheckOwnership(Db* db, absl::Span<const Migration> migrations);

// Brings an empty database or an older store to the newest version. An error leaves the version
// that was reached; a migration is never half applied. Foreign keys must still be off, so that a
// migration may rebuild tables; they are checked after each. FailedPrecondition: another program's
// database, or a newer schema. DataLoss: no database at all, or broken references. Internal: a
// migration that does not run.
absl::Status Migrate(Db* db, absl::Span<const Migration> migrations);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_MIGRATIONS_H_
