// SPDX-License-Identifier: Apache-2.0
// Page tokens that nobody but the controller can make. A token says where a list goes on, by key
// and not by count, and carries 96 bits of HMAC-SHA256 over that, the list and what of the request
// chooses its entries, under a key derived from the secret of the life that gave it
// (LifeRecord): so it is good after a restart, for as long as the store keeps that secret (16
// starts), and for no other list or question.
#ifndef FORALL_SEARCH_CONTROLLER_PAGE_TOKENS_H_
#define FORALL_SEARCH_CONTROLLER_PAGE_TOKENS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/store/result_store.h"

namespace forall {

// Which list a token is of.
struct PageScope {
  absl::string_view list;  // "jobs": no spaces
  // What of the request chooses the entries, as text: a parent, filters; not the page's size.
  absl::string_view filter = "";
};

// Thread-safe: it never changes.
class PageTokens {
 public:
  // The last life is the one that gives tokens now; there must be one.
  explicit PageTokens(const std::vector<LifeRecord>& lives);

  // At most 256 characters of base64url for a position of up to 100 bytes.
  std::string Make(const PageScope& scope, absl::string_view position) const;
  std::string Make(const PageScope& scope, int64_t position) const;
  // The position; "" for "". InvalidArgument naming page_token for anything that Make, in this life
  // or one that the store remembers, did not make for this scope.
  absl::StatusOr<std::string> Read(const PageScope& scope, absl::string_view token) const;
  // The same of a number; 0 for "".
  absl::StatusOr<int64_t> ReadNumber(const PageScope& scope, absl::string_view token) const;

 private:
  std::string TokenOf(int64_t life, const PageScope& scope, absl::string_view position) const;

  std::map<int64_t, std::string> keys_;  // by epoch
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_PAGE_TOKENS_H_
