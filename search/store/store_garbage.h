// SPDX-License-Identifier: Apache-2.0
// Artifacts that nothing refers to any more: uploads that were never used, a table or predictor of
// no job, what was left when a controller was killed between a file and its row.
#ifndef FORALL_SEARCH_STORE_STORE_GARBAGE_H_
#define FORALL_SEARCH_STORE_STORE_GARBAGE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace forall {

struct GarbageOptions {
  std::string db;
  std::string artifacts;
  // Hashes that a job's spec (serialized forall.v1.SearchJobSpec) names.
  std::function<std::vector<std::string>(const std::string& spec)> named_by_spec;
  // Younger ones stay: their job may not be submitted yet.
  absl::Duration least_age = absl::Hours(24);
  bool dry_run = false;
  // SQLite's name of a file system layer; "" is the default. For fault injection.
  std::string vfs = {};
  Clock* clock = Clock::Real();
};

struct GarbageReport {
  std::vector<std::string> removed;  // hashes, ascending
  int64_t bytes = 0;
  int64_t kept = 0;   // artifacts that something refers to
  int64_t young = 0;  // that nothing refers to yet
};

// Removes all files first, which makes room on a full disk, then their rows, for which there is
// room then. What is interrupted leaves rows without a file, which only check and backup notice and
// the next call removes. A file that cannot be removed keeps its row, and the others go.
// FailedPrecondition: a controller runs on the store (not for a dry run), or as OpenStoreFile.
absl::StatusOr<GarbageReport> CollectGarbage(const GarbageOptions& options);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_STORE_GARBAGE_H_
