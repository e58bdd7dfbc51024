// SPDX-License-Identifier: Apache-2.0
// What is wrong with a lookup table, before a search believes it.
#ifndef FORALL_LATENCY_TABLE_TABLE_LINT_H_
#define FORALL_LATENCY_TABLE_TABLE_LINT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "latency/table/latency_table.h"
#include "space/family.h"

namespace forall {

enum class TableProblem {
  kMissing,      // a layer of the space has no row: networks that use it cannot be summed
  kNotPositive,  // a mean of zero or less, or a negative deviation: not a measurement
  kCopied,       // equal to the last digit to a row of another device or resolution
  kNotMonotone,  // more work in less time, by more than the noise: suspect, or a tuned kernel
};
// "missing", "not-positive", "copied", "not-monotone".
const char* TableProblemName(TableProblem problem);
// One sentence: what it means for a search.
const char* TableProblemMeaning(TableProblem problem);

struct TableFinding {
  TableProblem problem = TableProblem::kMissing;
  int32_t resolution = 0;
  std::string key;
  std::string detail;
};

// A table and what to call it.
struct NamedTable {
  std::string name;
  LatencyTable table;
};

// Every key that networks of the family have at `resolution`, sorted. FailedPrecondition for a
// family that tables cannot describe, InvalidArgument for a resolution that it does not have.
absl::StatusOr<std::vector<std::string>> SpaceKeys(const Family& family, int32_t resolution);

// Findings about `table`, by resolution, then problem and key. `required`: keys that must be there,
// by resolution (may be empty). `others`: tables of other devices to look for copied rows in; rows
// are also looked for in the table's own other resolutions, unless forall measured it: then equal
// keys were measured once.
//
// Monotone: of two rows that differ only in kernel or only in expansion, the one with more work
// must not be faster by more than two standard errors of the difference (0.5 % of the mean where
// the table has no deviations) and 2 %.
std::vector<TableFinding> LintTable(const LatencyTable& table,
                                    const std::map<int32_t, std::vector<std::string>>& required,
                                    const std::vector<NamedTable>& others);

}  // namespace forall

#endif  // FORALL_LATENCY_TABLE_TABLE_LINT_H_
