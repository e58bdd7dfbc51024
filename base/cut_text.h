// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_BASE_CUT_TEXT_H_
#define FORALL_BASE_CUT_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace forall {

// At most `bytes` of a UTF-8 text, not ending within a character.
inline std::string CutText(absl::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  const auto continues = [&](size_t i) {
    return (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
  };
  while (bytes > 0 && continues(bytes)) --bytes;
  return std::string(text.substr(0, bytes));
}

}  // namespace forall

#endif  // FORALL_BASE_CUT_TEXT_H_
