// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_CLI_TEXT_TABLE_H_
#define FORALL_CLI_TEXT_TABLE_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace forall {

// Columns as wide as their widest cell, two blanks between, nothing after the last.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : rows_{std::move(header)} {}
  // As many cells as the header has.
  void AddRow(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // At most `width` columns (0: as many as it takes): the widest cells go on in further lines,
  // broken between words, and within long words, or within any once that is not enough. Nothing is
  // left out, so that a table of very many columns may still be wider.
  std::string Render(size_t width = 0) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace forall

#endif  // FORALL_CLI_TEXT_TABLE_H_
