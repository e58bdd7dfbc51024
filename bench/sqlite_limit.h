// SPDX-License-Identifier: Apache-2.0
// What SQLite alone could store: the rows that a controller writes for latency results, in the
// same schema, with nothing around them.
#ifndef FORALL_BENCH_SQLITE_LIMIT_H_
#define FORALL_BENCH_SQLITE_LIMIT_H_

#include <string>

#include "absl/status/statusor.h"

namespace forall {

struct SqliteLimitOptions {
  std::string folder;  // on the disk in question; a file is made in it
  int callers = 32;    // threads, each of which waits until its results are durable
  int results_per_call = 8;
  double seconds = 2;
};

// Results per second of a loop of durable transactions with prepared statements on one connection.
// A transaction takes what all callers have handed over meanwhile. A result is one closed task, one
// measurement with its latency and evidence, two job events and one updated trial.
absl::StatusOr<double> MeasureSqliteLimit(const SqliteLimitOptions& options);

// The same by a caller without equal: every transaction holds what all callers could hand over, and
// nobody waits for it.
absl::StatusOr<double> MeasureFullBatches(const SqliteLimitOptions& options);

// Full batches through SqliteResultStore, one made while another is stored: what the store takes
// beside SQLite.
absl::StatusOr<double> MeasureStoreLimit(const SqliteLimitOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_SQLITE_LIMIT_H_
