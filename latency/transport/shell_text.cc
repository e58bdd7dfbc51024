// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/shell_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"

namespace forall {
namespace {

bool IsName(absl::string_view name) {
  return !name.empty() && !absl::ascii_isdigit(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

}  // namespace

absl::StatusOr<std::string> ShellQuoted(absl::string_view text) {
  if (absl::StrContains(text, '\0')) {
    return absl::InvalidArgumentError("an argument of a command must not hold a zero byte");
  }
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

absl::StatusOr<std::string> ShellCommand(const std::vector<std::string>& argv) {
  std::string command;
  for (const std::string& argument : argv) {
    FORALL_ASSIGN_OR_RETURN(const std::string word, ShellQuoted(argument));
    absl::StrAppend(&command, command.empty() ? "" : " ", word);
  }
  return command;
}

absl::StatusOr<std::string> ShellExports(const std::vector<std::string>& environment) {
  std::string text;
  for (const std::string& entry : environment) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || !IsName(entry.substr(0, equals))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", entry, "\" is no NAME=value: a name is letters, digits and underscores"));
    }
    FORALL_ASSIGN_OR_RETURN(const std::string value, ShellQuoted(entry.substr(equals + 1)));
    absl::StrAppend(&text, "export ", entry.substr(0, equals), "=", value, "; ");
  }
  return text;
}

absl::Status CheckExtension(absl::string_view extension) {
  const bool fine = !extension.empty() && extension.size() <= 16 &&
                    std::all_of(extension.begin(), extension.end(),
                                [](char c) { return absl::ascii_isalnum(c) || c == '.'; });
  if (fine) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", extension, "\" is no file extension: it must be 1 to 16 letters, digits and dots"));
}

}  // namespace forall
