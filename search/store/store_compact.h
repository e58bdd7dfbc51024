// SPDX-License-Identifier: Apache-2.0
// Makes a store's file smaller: takes raw samples of old latencies away, and gives free pages back
// to the file system.
#ifndef FORALL_SEARCH_STORE_STORE_COMPACT_H_
#define FORALL_SEARCH_STORE_STORE_COMPACT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace forall {

struct CompactOptions {
  std::string db;
  // Raw samples of latencies that are older go; infinite: none goes.
  absl::Duration keep_raw_samples = absl::InfiniteDuration();
  // Only counts. A controller may run meanwhile.
  bool dry_run = false;
  // Latencies a transaction.
  int64_t slice = 2000;
  // SQLite's name of a file system layer; "" is the default. For fault injection.
  std::string vfs = {};
  Clock* clock = Clock::Real();
};

struct CompactReport {
  int64_t dropped = 0;       // latencies whose raw samples went
  int64_t sample_bytes = 0;  // that these took in the file
  int64_t bytes_before = 0;  // of the database and its write-ahead log
  int64_t bytes_after = 0;   // the same as before after a dry run
  int64_t free_bytes = 0;    // pages without content before, which the file holds all the same
  // Somebody reads the store: its pages are freed, but the file gets smaller only when the next
  // controller on it ends, or by another call.
  bool still_read = false;
  absl::Duration longest_slice;
  absl::Duration rewriting;  // the file
};

// In transactions of one slice each, then one that rewrites the file, for which the file system
// (and SQLITE_TMPDIR) must hold it once more. Whatever interrupts it, each latency either has its
// samples or says that they were dropped, nothing else is touched, and another call goes on.
// FailedPrecondition: a controller runs on the store (not for a dry run), it is of an older schema,
// or as OpenStoreFile. ResourceExhausted: the disk has no room to rewrite the file; what was
// dropped stays dropped.
absl::StatusOr<CompactReport> CompactStore(const CompactOptions& options);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_STORE_COMPACT_H_
