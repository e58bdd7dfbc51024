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
  int results_per_commit = 256;
  double seconds = 2;
};

// Results per second of a loop of durable transactions, prepared statements and one connection. A
// result is one closed task, one measurement with its latency and evidence, two job events and one
// updated trial.
absl::StatusOr<double> MeasureSqliteLimit(const SqliteLimitOptions& options);

// The same results through SqliteResultStore, one batch made while another is stored: what the
// store takes beside SQLite.
absl::StatusOr<double> MeasureStoreLimit(const SqliteLimitOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_SQLITE_LIMIT_H_
