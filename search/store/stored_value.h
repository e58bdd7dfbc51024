// SPDX-License-Identifier: Apache-2.0
// The stored form of values that SQLite has no type for: times, integer lists, text lists and maps.
// What is read back may be damaged, so every reader returns DataLoss rather than trust it.
#ifndef FORALL_SEARCH_STORE_STORED_VALUE_H_
#define FORALL_SEARCH_STORE_STORED_VALUE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace forall {

// Numbers (ids, and events within a log) are counted from 1, and no controller lives to give out so
// many: a row with a higher one is damaged. store_check.cc has it in SQL.
inline constexpr int64_t kMostNumber = int64_t{1} << 62;

// Nanoseconds since 1970; what lies beyond (years 1678 to 2262) is clamped.
inline int64_t ToStoredTime(absl::Time time) { return absl::ToUnixNanos(time); }
inline absl::Time FromStoredTime(int64_t time) { return absl::FromUnixNanos(time); }
std::optional<int64_t> ToStoredTime(const std::optional<absl::Time>& time);

// "0,3,2"
std::string ToStoredInts(const std::vector<int32_t>& values);
absl::StatusOr<std::vector<int32_t>> FromStoredInts(absl::string_view text);

// JSON; bytes that are not UTF-8 become U+FFFD. The empty list and map are the empty text.
std::string ToStoredList(const std::vector<std::string>& values);
absl::StatusOr<std::vector<std::string>> FromStoredList(const std::string& text);
std::string ToStoredMap(const std::map<std::string, std::string>& values);
absl::StatusOr<std::map<std::string, std::string>> FromStoredMap(const std::string& text);

// An enumeration of result_store.h, whose values are 1 ... `last`.
template <typename E>
absl::StatusOr<E> FromStoredEnum(int64_t value, E last, absl::string_view what) {
  if (value < 1 || value > static_cast<int64_t>(last)) {
    return absl::DataLossError(absl::StrCat("stored ", what, " ", value, " is unknown"));
  }
  return static_cast<E>(value);
}

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_STORED_VALUE_H_
