// SPDX-License-Identifier: Apache-2.0
// A copy of a store, taken while a controller may be writing it.
#ifndef FORALL_SEARCH_STORE_STORE_BACKUP_H_
#define FORALL_SEARCH_STORE_STORE_BACKUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace forall {

struct BackupOptions {
  std::string db;
  std::string artifacts;  // the folder of artifacts that belongs to it
  std::string file;       // where the copy goes; it must not exist
  bool with_artifacts = true;
};

struct BackupSummary {
  int64_t bytes = 0;  // of the database
  int64_t jobs = 0;
  int64_t measurements = 0;
  int64_t linked = 0;   // artifacts that share their bytes with the original
  int64_t copied = 0;   // artifacts with bytes of their own
  int64_t present = 0;  // artifacts that were there already
  int64_t artifact_bytes = 0;
  std::vector<std::string> missing;  // hashes that the store has no file of, or not of its size
};

// Copies the database as it is at one moment, checks the copy, gives it its name last, then puts
// every artifact that it refers to into FILE.artifacts: by a hard link where that is the same file
// system, else by a copy. Writers do not wait for it. The copy lacks the secrets of leases
// (LoadLives), so that none is good for two controllers. AlreadyExists: FILE is there. NotFound: no
// such store, or no folder for FILE. ResourceExhausted: disk full; nothing under the name FILE is
// left. Otherwise as OpenStoreFile.
absl::StatusOr<BackupSummary> BackUpStore(const BackupOptions& options);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_STORE_BACKUP_H_
