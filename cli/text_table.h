// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_CLI_TEXT_TABLE_H_
#define FORALL_CLI_TEXT_TABLE_H_

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
  std::string Render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace forall

#endif  // FORALL_CLI_TEXT_TABLE_H_
