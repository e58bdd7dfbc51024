// SPDX-License-Identifier: Apache-2.0
#include "cli/text_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace forall {
namespace {

constexpr size_t kGap = 2;
// Words of more columns are broken as readily as lines are between words.
constexpr size_t kLongWord = 24;
// Narrower than this no column is made by breaking words.
constexpr size_t kNarrowest = 6;

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Columns on a terminal: every byte but UTF-8's continuation bytes.
size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !Continues(c); }));
}

// Bytes of the first `columns` columns.
size_t BytesOf(absl::string_view text, size_t columns) {
  size_t bytes = 0;
  for (size_t seen = 0; bytes < text.size(); ++bytes) {
    if (!Continues(text[bytes]) && seen++ == columns) break;
  }
  return bytes;
}

// Where a word that does not fit is best broken: after a mark in the later half of what fits.
size_t BreakOf(absl::string_view word, size_t columns) {
  const size_t most = BytesOf(word, columns);
  for (size_t end = most; end > most / 2; --end) {
    if (absl::string_view("/,:@_-.|").find(word[end - 1]) != absl::string_view::npos) return end;
  }
  return most;
}

std::vector<std::string> LinesOf(absl::string_view cell, size_t columns) {
  std::vector<std::string> lines(1);
  size_t used = 0;
  if (DisplayWidth(cell) <= columns) return {std::string(cell)};
  for (absl::string_view word : absl::StrSplit(cell, ' ', absl::SkipEmpty())) {
    size_t width = DisplayWidth(word);
    if (used > 0 && used + 1 + width > columns) {
      lines.emplace_back();
      used = 0;
    }
    while (width > columns) {
      const size_t bytes = BreakOf(word, columns);
      absl::StrAppend(&lines.back(), word.substr(0, bytes));
      lines.emplace_back();
      word.remove_prefix(bytes);
      width = DisplayWidth(word);
    }
    if (used > 0) lines.back() += ' ';
    absl::StrAppend(&lines.back(), word);
    used = DisplayWidth(lines.back());
  }
  return lines;
}

size_t LongestWord(absl::string_view cell) {
  size_t longest = 0;
  for (const absl::string_view word : absl::StrSplit(cell, ' ', absl::SkipEmpty())) {
    longest = std::max(longest, DisplayWidth(word));
  }
  return longest;
}

// Takes from the widest columns, none below its floor, until all of them are `most` together.
void Narrow(const std::vector<size_t>& floors, size_t most, std::vector<size_t>* widths) {
  size_t total = 0;
  for (const size_t width : *widths) total += width;
  while (total > most) {
    size_t widest = widths->size();
    for (size_t i = 0; i < widths->size(); ++i) {
      if ((*widths)[i] <= floors[i]) continue;
      if (widest == widths->size() || (*widths)[i] > (*widths)[widest]) widest = i;
    }
    if (widest == widths->size()) return;
    --(*widths)[widest];
    --total;
  }
}

}  // namespace

std::string TextTable::Render(size_t width) const {
  const size_t columns = rows_[0].size();
  std::vector<size_t> widths(columns, 0);
  std::vector<size_t> words(columns, 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < columns; ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
      words[i] = std::max(words[i], LongestWord(row[i]));
    }
  }
  if (width > 0) {
    const size_t gaps = kGap * (columns - 1);
    const size_t most = width > gaps ? width - gaps : 0;
    for (const size_t word : {kLongWord, kNarrowest}) {
      std::vector<size_t> floors(columns);
      for (size_t i = 0; i < columns; ++i) floors[i] = std::min(words[i], word);
      Narrow(floors, most, &widths);
    }
  }
  std::vector<std::vector<std::vector<std::string>>> lines;  // by row and cell
  std::vector<size_t> used(columns, 0);
  for (const auto& row : rows_) {
    lines.emplace_back();
    for (size_t i = 0; i < columns; ++i) {
      lines.back().push_back(LinesOf(row[i], widths[i]));
      for (const std::string& line : lines.back().back()) {
        used[i] = std::max(used[i], DisplayWidth(line));
      }
    }
  }
  std::string text;
  for (const auto& cells : lines) {
    size_t height = 1;
    for (const auto& cell : cells) height = std::max(height, cell.size());
    for (size_t at = 0; at < height; ++at) {
      std::string line;
      for (size_t i = 0; i < columns; ++i) {
        const std::string piece = at < cells[i].size() ? cells[i][at] : "";
        line += piece;
        if (i + 1 < columns) line.append(used[i] - DisplayWidth(piece) + kGap, ' ');
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
  }
  return text;
}

}  // namespace forall
