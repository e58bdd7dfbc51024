// SPDX-License-Identifier: Apache-2.0
#include "cli/spelling.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

// Levenshtein's distance, one row at a time.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j + 1] + 1, row[j] + 1, changed});
    }
  }
  return row.back();
}

}  // namespace

std::string DidYouMean(absl::string_view word, const std::vector<std::string>& names, size_t most) {
  const auto nearest =
      std::min_element(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
        return EditDistance(word, a) < EditDistance(word, b);
      });
  if (nearest == names.end() || EditDistance(word, *nearest) > most) return "";
  return absl::StrCat("; did you mean ", *nearest, "?");
}

}  // namespace forall
