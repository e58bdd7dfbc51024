// SPDX-License-Identifier: Apache-2.0
#include "search/controller/resource_names.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/identifier.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr int32_t kMaxPageSize = 1000;

// What a message quotes of text that a client sent.
std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, 80)), "\"");
}

absl::Status BadName(absl::string_view name, absl::string_view form) {
  return absl::InvalidArgumentError(absl::StrCat("name: want ", form, ", got ", Quoted(name)));
}

// Only as we write it: a resource has one name.
bool ParseNumber(absl::string_view text, int64_t* number) {
  return !text.empty() && text[0] != '0' &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); }) &&
         absl::SimpleAtoi(text, number);
}

absl::StatusOr<int64_t> ParseNumbered(absl::string_view name, absl::string_view collection) {
  absl::string_view rest = name;
  int64_t number = 0;
  if (!absl::ConsumePrefix(&rest, collection) || !absl::ConsumePrefix(&rest, "/") ||
      !ParseNumber(rest, &number)) {
    return BadName(name, absl::StrCat(collection, "/NUMBER"));
  }
  return number;
}

absl::StatusOr<std::string> ParseNamed(absl::string_view name, absl::string_view collection) {
  absl::string_view rest = name;
  if (!absl::ConsumePrefix(&rest, collection) || !absl::ConsumePrefix(&rest, "/")) {
    return BadName(name, absl::StrCat(collection, "/ID"));
  }
  FORALL_RETURN_IF_ERROR(CheckId(rest, absl::StrCat(collection, "/ID")));
  return std::string(rest);
}

}  // namespace

std::string JobName(int64_t job) { return absl::StrCat("searchJobs/", job); }
std::string TrialName(int64_t job, int64_t ordinal) {
  return absl::StrCat("searchJobs/", job, "/trials/", ordinal);
}
std::string TaskName(int64_t task) { return absl::StrCat("tasks/", task); }
std::string SupernetName(absl::string_view id) { return absl::StrCat("supernets/", id); }
std::string SearchSpaceName(absl::string_view id) { return absl::StrCat("searchSpaces/", id); }
std::string DeviceName(absl::string_view id) { return absl::StrCat("devices/", id); }
std::string WorkerName(absl::string_view id) { return absl::StrCat("workers/", id); }

absl::StatusOr<int64_t> ParseJobName(absl::string_view name) {
  return ParseNumbered(name, "searchJobs");
}

absl::StatusOr<TrialId> ParseTrialName(absl::string_view name) {
  TrialId id;
  const std::vector<absl::string_view> parts = absl::StrSplit(name.substr(0, 128), '/');
  if (parts.size() != 4 || parts[0] != "searchJobs" || parts[2] != "trials" ||
      !ParseNumber(parts[1], &id.job) || !ParseNumber(parts[3], &id.ordinal)) {
    return BadName(name, "searchJobs/NUMBER/trials/NUMBER");
  }
  return id;
}

absl::StatusOr<int64_t> ParseTaskName(absl::string_view name) {
  return ParseNumbered(name, "tasks");
}
absl::StatusOr<std::string> ParseSupernetName(absl::string_view name) {
  return ParseNamed(name, "supernets");
}
absl::StatusOr<std::string> ParseSearchSpaceName(absl::string_view name) {
  return ParseNamed(name, "searchSpaces");
}
absl::StatusOr<std::string> ParseDeviceName(absl::string_view name) {
  return ParseNamed(name, "devices");
}
absl::StatusOr<std::string> ParseWorkerName(absl::string_view name) {
  return ParseNamed(name, "workers");
}

absl::Status CheckId(absl::string_view id, absl::string_view field) {
  if (IsIdentifier(id)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", kIdentifierRule, ", got ", Quoted(id)));
}

absl::StatusOr<int32_t> CheckPageSize(int32_t page_size, int32_t fallback) {
  if (page_size < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size: must not be negative, got ", page_size));
  }
  return page_size == 0 ? fallback : std::min(page_size, kMaxPageSize);
}

}  // namespace forall
