// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_BASE_UTF8_H_
#define FORALL_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace forall {

// Bytes of the UTF-8 character that `text` begins with; 0 when it begins with none: a cut one, an
// overlong form, half a surrogate pair, beyond U+10FFFF, or the text is empty.
inline size_t Utf8CharacterLength(absl::string_view text) {
  if (text.empty()) return 0;
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  uint32_t least = 0;
  uint32_t code = 0;
  if (first >> 5 == 0x06) {
    length = 2, least = 0x80, code = first & 0x1fu;
  } else if (first >> 4 == 0x0e) {
    length = 3, least = 0x800, code = first & 0x0fu;
  } else if (first >> 3 == 0x1e) {
    length = 4, least = 0x10000, code = first & 0x07u;
  }
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (at(i) >> 6 != 0x02) return 0;
    code = code << 6 | (at(i) & 0x3fu);
  }
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < least || code > 0x10ffff || surrogate ? 0 : length;
}

// How many bytes of `text`, from its beginning, are UTF-8: all of them, or up to the first that is
// not.
inline size_t Utf8PrefixLength(absl::string_view text) {
  size_t good = 0;
  while (good < text.size()) {
    const size_t length = Utf8CharacterLength(text.substr(good));
    if (length == 0) break;
    good += length;
  }
  return good;
}

}  // namespace forall

#endif  // FORALL_BASE_UTF8_H_
