// SPDX-License-Identifier: Apache-2.0
// Whether a store is whole: the file as SQLite sees it, the invariants of its content, and the
// artifacts it refers to. Changes nothing; a controller may be writing meanwhile.
#ifndef FORALL_SEARCH_STORE_STORE_CHECK_H_
#define FORALL_SEARCH_STORE_STORE_CHECK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace forall {

struct CheckOptions {
  std::string db;
  std::string artifacts;  // the folder of artifacts that belongs to it
  // Reads every artifact and compares its hash, and decompresses every piece of evidence.
  bool deep = false;
  // Of one kind so many findings are listed; the others are counted.
  int most_of_a_kind = 20;
  // Called once the database is let go of, before artifacts are looked at. For tests.
  std::function<void()> on_rows_read = {};
};

struct Finding {
  std::string what;
  std::string advice;
};

struct CheckReport {
  std::vector<Finding> findings;
  int64_t jobs = 0;
  int64_t measurements = 0;
  int64_t artifacts = 0;
};

// Errors mean that nothing could be checked: as OpenStoreFile; FailedPrecondition: an older schema.
// Damage that was found, whatever it is, is a finding.
absl::StatusOr<CheckReport> CheckStore(const CheckOptions& options);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_STORE_CHECK_H_
