// SPDX-License-Identifier: Apache-2.0
#include "search/controller/page_tokens.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/sha256.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr char kVersion[] = "1";
constexpr size_t kMacBytes = 12;
constexpr size_t kLongestToken = 256;

absl::Status BadToken() {
  return absl::InvalidArgumentError(
      "page_token: it is not one that this list gave for this question; leave it empty to start "
      "again from the beginning");
}

}  // namespace

PageTokens::PageTokens(const std::vector<LifeRecord>& lives) {
  for (const LifeRecord& life : lives) {
    // Another than that of leases, so that neither can be taken for the other.
    keys_[life.epoch] = HmacSha256(life.secret, "forall.page.v1");
  }
  FORALL_CHECK(!keys_.empty()) << "a controller without a life";
}

std::string PageTokens::TokenOf(int64_t life, const PageScope& scope,
                                absl::string_view position) const {
  // The position comes last: nothing before it can hold a space.
  const std::string text = absl::StrCat(kVersion, " ", life, " ", position);
  const std::string filter = HmacSha256(keys_.at(life), scope.filter);
  const std::string mac =
      HmacSha256(keys_.at(life), absl::StrCat(scope.list, " ", filter, " ", text));
  return absl::WebSafeBase64Escape(absl::StrCat(absl::string_view(mac).substr(0, kMacBytes), text));
}

std::string PageTokens::Make(const PageScope& scope, absl::string_view position) const {
  return TokenOf(keys_.rbegin()->first, scope, position);
}

std::string PageTokens::Make(const PageScope& scope, int64_t position) const {
  return Make(scope, absl::StrCat(position));
}

absl::StatusOr<std::string> PageTokens::Read(const PageScope& scope,
                                             absl::string_view token) const {
  if (token.empty()) return std::string();
  std::string bytes;
  if (token.size() > kLongestToken || !absl::WebSafeBase64Unescape(token, &bytes) ||
      bytes.size() <= kMacBytes) {
    return BadToken();
  }
  const std::vector<absl::string_view> parts =
      absl::StrSplit(absl::string_view(bytes).substr(kMacBytes), absl::MaxSplits(' ', 2));
  int64_t life = 0;
  if (parts.size() != 3 || parts[0] != kVersion || !absl::SimpleAtoi(parts[1], &life) ||
      keys_.count(life) == 0) {
    return BadToken();
  }
  // As a whole: base64 and numbers have several spellings, ours is one.
  if (!EqualsInConstantTime(TokenOf(life, scope, parts[2]), token)) return BadToken();
  return std::string(parts[2]);
}

absl::StatusOr<int64_t> PageTokens::ReadNumber(const PageScope& scope,
                                               absl::string_view token) const {
  if (token.empty()) return 0;
  FORALL_ASSIGN_OR_RETURN(const std::string text, Read(scope, token));
  int64_t position = 0;
  if (absl::SimpleAtoi(text, &position) && position > 0) return position;
  return BadToken();
}

}  // namespace forall
