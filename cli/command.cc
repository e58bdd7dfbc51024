// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <netdb.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "supernet/importer/torch_checkpoint.h"

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

std::string UnknownCommand(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--controller") {
      ++i;  // and its value
      continue;
    }
    if (word.empty() || word[0] == '-') continue;
    if (std::find(names.begin(), names.end(), word) != names.end()) return "";
    const auto nearest = std::min_element(names.begin(), names.end(),
                                          [&](const std::string& a, const std::string& b) {
                                            return EditDistance(word, a) < EditDistance(word, b);
                                          });
    const bool close = nearest != names.end() && EditDistance(word, *nearest) <= 2;
    return absl::StrCat("there is no command \"", word, "\"",
                        close ? absl::StrCat("; did you mean ", *nearest, "?") : ".",
                        " Commands: ", absl::StrJoin(names, ", "), "; `forall --help` explains");
  }
  return "";
}

absl::Status CheckAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(absl::string_view(address).substr(colon + 1), &port) || port < 1 ||
      port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("want HOST:PORT with a port from 1 to 65535, got \"", address, "\""));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, nullptr, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("no address is known for host \"", host, "\": ", gai_strerror(error)));
  }
  freeaddrinfo(found);
  return absl::OkStatus();
}

absl::Status RefuseCheckpoint(const std::string& path, const std::string& command) {
  const auto file = MappedFile::Open(path);
  if (!file.ok() || !TorchCheckpoint::LooksLikeCheckpoint((*file)->bytes())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      path, " is a PyTorch checkpoint; turn it into what is wanted here with ", command));
}

std::string DefaultData() {
  const char* const data = std::getenv("FORALL_DATA");
  return data != nullptr && *data != '\0' ? data : "build/deps";
}

absl::Status LocalFile(const absl::Status& status) {
  if (status.ok()) return status;
  // Whatever it is, nothing on the controller would mend it.
  if (absl::IsResourceExhausted(status)) return absl::InternalError(status.message());
  return absl::InvalidArgumentError(status.message());
}

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 2;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 3;
    case absl::StatusCode::kNotFound:
      return 4;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
      return 5;
    default:
      return 1;
  }
}

std::string Advice(const absl::Status& status, const CommandContext& context) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return absl::StrCat(
          "Is a controller running there? Start one with\n  forall-controller --db forall.db "
          "--listen ",
          context.controller,
          "\nor name another with --controller HOST:PORT or FORALL_CONTROLLER.");
    case absl::StatusCode::kNotFound:
      return "See what there is: forall jobs, forall supernets, forall workers.";
    case absl::StatusCode::kResourceExhausted:
      return "Make room on the controller's disk and try again; nothing that was acknowledged is "
             "lost.";
    default:
      return "";
  }
}

}  // namespace forall
