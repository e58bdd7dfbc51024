// SPDX-License-Identifier: Apache-2.0
// A store's file as an operator's tools read it, also while a controller writes it.
#ifndef FORALL_SEARCH_STORE_STORE_FILE_H_
#define FORALL_SEARCH_STORE_STORE_FILE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/store/result_store.h"
#include "search/store/sqlite_db.h"

namespace forall {

// A connection that cannot write, in one transaction: whatever is read through it is of one moment.
// NotFound: no such file. FailedPrecondition: not ours, a newer schema, no permission. DataLoss: no
// database, or damaged. Messages name the file.
absl::StatusOr<std::unique_ptr<Db>> OpenStoreFile(const std::string& path);
// The same where the disk has no room for the index of the write-ahead log, which readers share in
// a file: it is then in memory, and whoever else opens the store meanwhile waits. `vfs`: SQLite's
// name of a file system layer, "" is the default.
absl::StatusOr<std::unique_ptr<Db>> OpenStoreFileOnFullDisk(const std::string& path,
                                                            const std::string& vfs = "");

// Every artifact that the store has, by hash.
absl::StatusOr<std::vector<ArtifactRecord>> ArtifactsOf(Db* db);
// Where an artifact lies below the folder: "ab/cdef...".
std::string ArtifactPath(absl::string_view sha256);
// Makes the names in a folder durable.
absl::Status SyncFolder(const std::string& folder);
absl::Status FileError(int error, absl::string_view what, absl::string_view path);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_STORE_FILE_H_
