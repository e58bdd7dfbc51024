// SPDX-License-Identifier: Apache-2.0
// Turns texts and measurement conditions that many rows repeat into small integers: a row of `keys`
// or of `conditions`, made when it is missing.
#ifndef FORALL_SEARCH_STORE_INTERNER_H_
#define FORALL_SEARCH_STORE_INTERNER_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/store/result_store.h"
#include "search/store/sqlite_db.h"

namespace forall {

// Thread-compatible. Remembers what it has looked up, so whoever rolls back must call Forget().
class Interner {
 public:
  explicit Interner(Db* db) : db_(db) {}

  // Id in `keys`.
  absl::StatusOr<int64_t> KeyId(absl::string_view text);
  // Id in `conditions` of everything in `key` but subject and metric.
  absl::StatusOr<int64_t> ConditionId(const MeasurementKey& key);
  // Call after any rollback: rows made since may be gone.
  void Forget();

 private:
  using Condition = std::array<int64_t, 8>;
  struct LastCondition {
    std::array<std::string, 7> texts;
    int batch = 0;
    int64_t id = 0;  // 0: none
  };

  absl::StatusOr<int64_t> ConditionId(const Condition& c);

  Db* const db_;
  absl::flat_hash_map<std::string, int64_t> keys_;
  absl::flat_hash_map<Condition, int64_t> conditions_;
  LastCondition last_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_INTERNER_H_
