// SPDX-License-Identifier: Apache-2.0
// The one rule for names that become parts of resource names, file names and hashed bytes.
#ifndef FORALL_BASE_IDENTIFIER_H_
#define FORALL_BASE_IDENTIFIER_H_

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

namespace forall {

// For messages: what IsIdentifier asks for.
inline constexpr char kIdentifierRule[] =
    "want 1 to 63 lower-case letters, digits, '-', '_' or '.', the first a letter or digit";

inline bool IsIdentifier(absl::string_view text) {
  const auto plain = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  return !text.empty() && text.size() <= 63 && plain(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return plain(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace forall

#endif  // FORALL_BASE_IDENTIFIER_H_
