// SPDX-License-Identifier: Apache-2.0
#include "latency/table/table_lint.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "latency/table/space_parts.h"

namespace forall {
namespace {

constexpr double kStandardErrors = 2;
constexpr double kTolerance = 0.02;
constexpr double kUnknownError = 0.005;

// A key without one of its fields, and that field's number: "expanded_conv-...-kernel:5-..." gives
// the same rest for every kernel.
std::optional<std::pair<std::string, int64_t>> Without(const std::string& key,
                                                       absl::string_view field) {
  std::vector<absl::string_view> parts = absl::StrSplit(key, '-');
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    int64_t number = 0;
    if (absl::StartsWith(*part, field) && absl::SimpleAtoi(part->substr(field.size()), &number)) {
      parts.erase(part);
      return std::make_pair(absl::StrJoin(parts, "-"), number);
    }
  }
  return std::nullopt;
}

double StandardError(const LatencyRow& row) {
  if (row.count > 0 && row.stddev_ms > 0) {
    return row.stddev_ms / std::sqrt(static_cast<double>(row.count));
  }
  return kUnknownError * row.mean_ms;
}

void FindNotMonotone(int32_t resolution, const LatencyRows& rows, absl::string_view field,
                     std::vector<TableFinding>* findings) {
  // Rows that differ in this field only, by its value.
  std::map<std::string, std::map<int64_t, const std::string*>> groups;
  for (const auto& [key, row] : rows) {
    const auto rest = Without(key, field);
    if (rest.has_value()) groups[rest->first][rest->second] = &key;
  }
  for (const auto& [rest, group] : groups) {
    for (auto larger = group.begin(); larger != group.end(); ++larger) {
      if (larger == group.begin()) continue;
      const auto smaller = std::prev(larger);
      const LatencyRow& fast = rows.at(*larger->second);
      const LatencyRow& slow = rows.at(*smaller->second);
      const double gap = slow.mean_ms - fast.mean_ms;
      const double noise = kStandardErrors * std::hypot(StandardError(fast), StandardError(slow));
      if (gap <= noise || gap <= kTolerance * slow.mean_ms) continue;
      findings->push_back({TableProblem::kNotMonotone, resolution, *larger->second,
                           absl::StrFormat("%.4g ms, but %.4g ms with %s%d", fast.mean_ms,
                                           slow.mean_ms, std::string(field), smaller->first)});
    }
  }
}

}  // namespace

const char* TableProblemName(TableProblem problem) {
  switch (problem) {
    case TableProblem::kMissing:
      return "missing";
    case TableProblem::kNotPositive:
      return "not-positive";
    case TableProblem::kCopied:
      return "copied";
    case TableProblem::kNotMonotone:
      return "not-monotone";
  }
  return "unknown";
}

const char* TableProblemMeaning(TableProblem problem) {
  switch (problem) {
    case TableProblem::kMissing:
      return "networks with this layer cannot be summed: measure it, or leave that choice out";
    case TableProblem::kNotPositive:
      return "no time is zero or negative: the row is not a measurement";
    case TableProblem::kCopied:
      return "equal to the last digit to a row of another device or resolution: it was not "
             "measured here";
    case TableProblem::kNotMonotone:
      return "more work in less time than the noise allows: a search will be drawn to it, so "
             "measure it again";
  }
  return "";
}

absl::StatusOr<std::vector<std::string>> SpaceKeys(const Family& family, int32_t resolution) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<SpacePart> parts, SpaceParts(family, resolution));
  std::vector<std::string> keys;
  for (const SpacePart& part : parts) keys.push_back(part.key);
  return keys;
}

namespace {

// Where else this very row stands, or "".
std::string CopiedFrom(const LatencyTable& table, int32_t resolution, const std::string& key,
                       const LatencyRow& row, const std::vector<NamedTable>& others) {
  for (const auto& [other_resolution, rows] : table.resolutions) {
    // A table that forall measured has one number for one key, whatever the resolution.
    if (!table.provenance.empty()) break;
    const auto same = rows.find(key);
    if (other_resolution == resolution || same == rows.end() || same->second != row) continue;
    return absl::StrCat("at ", other_resolution, " pixels");
  }
  for (const NamedTable& other : others) {
    for (const auto& [other_resolution, rows] : other.table.resolutions) {
      const auto same = rows.find(key);
      if (same != rows.end() && same->second == row) return absl::StrCat("in ", other.name);
    }
  }
  return "";
}

}  // namespace

std::vector<TableFinding> LintTable(const LatencyTable& table,
                                    const std::map<int32_t, std::vector<std::string>>& required,
                                    const std::vector<NamedTable>& others) {
  std::vector<TableFinding> findings;
  for (const auto& [resolution, keys] : required) {
    const auto rows = table.resolutions.find(resolution);
    for (const std::string& key : keys) {
      if (rows != table.resolutions.end() && rows->second.count(key) == 1) continue;
      findings.push_back({TableProblem::kMissing, resolution, key, ""});
    }
  }
  for (const auto& [resolution, rows] : table.resolutions) {
    for (const auto& [key, row] : rows) {
      if (row.mean_ms > 0 && row.stddev_ms >= 0) continue;
      findings.push_back({TableProblem::kNotPositive, resolution, key,
                          absl::StrFormat("%.4g ms, deviation %.4g", row.mean_ms, row.stddev_ms)});
    }
    for (const auto& [key, row] : rows) {
      const std::string source = CopiedFrom(table, resolution, key, row, others);
      if (source.empty()) continue;
      findings.push_back({TableProblem::kCopied, resolution, key,
                          absl::StrFormat("%.6g ms, as %s", row.mean_ms, source)});
    }
    FindNotMonotone(resolution, rows, "kernel:", &findings);
    FindNotMonotone(resolution, rows, "expand:", &findings);
  }
  return findings;
}

}  // namespace forall
