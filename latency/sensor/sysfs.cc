// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/sysfs.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// A sysfs file is one page; /proc/PID/status is smaller.
constexpr uint64_t kMostBytes = 1 << 16;
constexpr size_t kMostQuoted = 40;

}  // namespace

absl::StatusOr<std::string> LocalSysfs::ReadText(const std::string& path) const {
  FORALL_ASSIGN_OR_RETURN(std::string text, ReadFile(Name(path), kMostBytes));
  while (!text.empty() && (text.back() == '\0' || absl::ascii_isspace(text.back())))
    text.pop_back();
  return text;
}

absl::StatusOr<int64_t> Sysfs::ReadInteger(const std::string& path) const {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) {
    return absl::UnavailableError(absl::StrCat(Name(path), " should hold a number, but has '",
                                               absl::CHexEscape(text.substr(0, kMostQuoted)), "'"));
  }
  return value;
}

std::vector<std::string> LocalSysfs::List(const std::string& directory) const {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(Name(directory), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace forall
