// SPDX-License-Identifier: Apache-2.0
// What SQLite alone could store: the very rows that a controller has stored for latency results,
// once more into a copy of its database as it was before them, with nothing around it.
#ifndef FORALL_BENCH_SQLITE_LIMIT_H_
#define FORALL_BENCH_SQLITE_LIMIT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace forall {

// In which order results are written.
enum class SqliteLimitOrder {
  kAsStored,  // of all jobs that were searched at the time
  kByJob,     // one job after the other: neighbours in every index
};

struct SqliteLimitOptions {
  int callers = 32;  // threads, each of which waits until its results are durable
  int results_per_call = 8;
  double seconds = 2;
  SqliteLimitOrder order = SqliteLimitOrder::kAsStored;
  // Otherwise a transaction holds what all callers could hand over, and nobody waits for it.
  bool callers_wait = true;
  // Of the log before a commit also copies it back: SQLite's own number.
  int checkpoint_pages = 1000;
};

// Thread-compatible.
class SqliteLimit {
 public:
  // Copies the database, which a controller may be writing, and remembers how far it went. The copy
  // and those that are written to lie beside it, on the same disk.
  static absl::StatusOr<std::unique_ptr<SqliteLimit>> Begin(const std::string& db);
  ~SqliteLimit();
  SqliteLimit(const SqliteLimit&) = delete;
  SqliteLimit& operator=(const SqliteLimit&) = delete;

  // Reads what was stored since, up to `most` latency results. A result is how its task ended, its
  // measurement with the latency and evidence that belong to it, and the events of its job.
  absl::Status Load(int64_t most);

  // Results per second of a loop of durable transactions with prepared statements on one
  // connection. A transaction takes what all callers have handed over meanwhile.
  absl::StatusOr<double> Measure(const SqliteLimitOptions& options) const;

 private:
  struct Result;

  SqliteLimit(std::string db, std::string copy);

  const std::string db_;
  const std::string copy_;
  std::vector<Result> results_;
};

}  // namespace forall

#endif  // FORALL_BENCH_SQLITE_LIMIT_H_
