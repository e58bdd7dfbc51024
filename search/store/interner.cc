// SPDX-License-Identifier: Apache-2.0
#include "search/store/interner.h"

#include <algorithm>
#include <cstddef>

namespace forall {
namespace {

// Bounds memory: 85 MB, as 64 characters and their places in a table that is half empty add up. A
// miss costs a look-up in an index whose pages are not at hand.
constexpr size_t kMaxRemembered = 500'000;

}  // namespace

absl::StatusOr<int64_t> Interner::KeyId(absl::string_view text) {
  const auto known = keys_.find(text);
  if (known != keys_.end()) return known->second;
  int64_t id = 0;
  {
    FORALL_ASSIGN_OR_RETURN(Statement find, db_->Query("SELECT id FROM keys WHERE text = ?", text));
    FORALL_ASSIGN_OR_RETURN(const bool found, find.Step());
    if (found) id = find.Int64(0);
  }
  if (id == 0) {
    FORALL_ASSIGN_OR_RETURN(Statement insert,
                            db_->Query("INSERT INTO keys (text) VALUES (?) RETURNING id", text));
    FORALL_RETURN_IF_ERROR(insert.ForEachRow([&] {
      id = insert.Int64(0);
      return absl::OkStatus();
    }));
  }
  if (keys_.size() >= kMaxRemembered) keys_.clear();
  keys_.emplace(std::string(text), id);
  return id;
}

absl::StatusOr<int64_t> Interner::ConditionId(const MeasurementKey& key) {
  Condition c{};
  const std::array<const std::string*, 7> texts = {
      &key.device, &key.device_class, &key.device_fingerprint, &key.profile, &key.dataset,
      &key.split,  &key.recipe};
  // What is stored together was mostly measured together.
  if (last_.id != 0 && last_.batch == key.batch &&
      std::equal(texts.begin(), texts.end(), last_.texts.begin(),
                 [](const std::string* a, const std::string& b) { return *a == b; })) {
    return last_.id;
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    FORALL_ASSIGN_OR_RETURN(c[i], KeyId(*texts[i]));
  }
  c[7] = key.batch;
  FORALL_ASSIGN_OR_RETURN(const int64_t id, ConditionId(c));
  for (size_t i = 0; i < texts.size(); ++i) last_.texts[i] = *texts[i];
  last_.batch = key.batch;
  last_.id = id;
  return id;
}

absl::StatusOr<int64_t> Interner::ConditionId(const Condition& c) {
  const auto known = conditions_.find(c);
  if (known != conditions_.end()) return known->second;
  int64_t id = 0;
  {
    FORALL_ASSIGN_OR_RETURN(
        Statement find,
        db_->Query("SELECT id FROM conditions WHERE device = ? AND device_class = ? AND "
                   "device_fingerprint = ? AND profile = ? AND dataset = ? AND split = ? AND "
                   "recipe = ? AND batch = ?",
                   c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]));
    FORALL_ASSIGN_OR_RETURN(const bool found, find.Step());
    if (found) id = find.Int64(0);
  }
  if (id == 0) {
    FORALL_ASSIGN_OR_RETURN(
        Statement insert,
        db_->Query("INSERT INTO conditions (device, device_class, device_fingerprint, profile, "
                   "dataset, split, recipe, batch) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                   c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]));
    FORALL_RETURN_IF_ERROR(insert.ForEachRow([&] {
      id = insert.Int64(0);
      return absl::OkStatus();
    }));
  }
  if (conditions_.size() >= kMaxRemembered) conditions_.clear();
  conditions_.emplace(c, id);
  return id;
}

void Interner::Forget() {
  keys_.clear();
  conditions_.clear();
  last_.id = 0;
}

}  // namespace forall
