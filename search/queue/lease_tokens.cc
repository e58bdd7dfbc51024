// SPDX-License-Identifier: Apache-2.0
#include "search/queue/lease_tokens.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/sha256.h"

namespace forall {
namespace {

constexpr size_t kMacBytes = 12;

std::string TokenOf(int64_t epoch, int64_t number, int64_t task, absl::string_view worker,
                    HmacSha256Key* key) {
  // The worker comes last: nothing else can hold a space.
  const std::string mac =
      key->Sign(absl::StrCat("forall.lease.v1 ", epoch, " ", number, " ", task, " ", worker));
  return absl::StrCat(epoch, "-", number, "-",
                      absl::WebSafeBase64Escape(absl::string_view(mac).substr(0, kMacBytes)));
}

}  // namespace

LeaseTokens::LeaseTokens(const std::vector<LifeRecord>& lives) {
  for (const LifeRecord& life : lives) lives_[life.epoch] = life;
  FORALL_CHECK(!lives_.empty()) << "a controller without a life";
  life_ = lives_.rbegin()->first;
  key_.emplace(lives_.rbegin()->second.secret);
}

std::string LeaseTokens::Make(int64_t number, int64_t task, absl::string_view worker) {
  return TokenOf(life_, number, task, worker, &*key_);
}

bool LeaseTokens::GivenEarlier(absl::string_view token, int64_t task,
                               absl::string_view worker) const {
  const std::vector<absl::string_view> parts = absl::StrSplit(token, absl::MaxSplits('-', 2));
  int64_t epoch = 0;
  int64_t number = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &epoch) ||
      !absl::SimpleAtoi(parts[1], &number) || epoch >= life_) {
    return false;
  }
  const auto life = lives_.find(epoch);
  const auto next = lives_.find(epoch + 1);
  if (life == lives_.end() || next == lives_.end() || task > next->second.tasks_before) {
    return false;
  }
  HmacSha256Key key(life->second.secret);
  return EqualsInConstantTime(TokenOf(epoch, number, task, worker, &key), token);
}

}  // namespace forall
