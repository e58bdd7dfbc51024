// SPDX-License-Identifier: Apache-2.0
#include "cli/wrapped_text.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace forall {

std::string Printable(absl::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return clean;
}

std::string WrappedText(absl::string_view head, absl::string_view text, size_t indent,
                        size_t width) {
  const std::string clean = Printable(text);
  std::string lines;
  std::string line(head);
  bool empty = true;
  for (const absl::string_view word : absl::StrSplit(clean, ' ', absl::SkipEmpty())) {
    if (!empty && line.size() + 1 + word.size() > width) {
      absl::StrAppend(&lines, line, "\n");
      line = std::string(indent, ' ');
      empty = true;
    }
    absl::StrAppend(&line, empty ? "" : " ", word);
    empty = false;
  }
  return absl::StrCat(lines, line, "\n");
}

}  // namespace forall
