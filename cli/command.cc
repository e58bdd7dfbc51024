// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <netdb.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/spelling.h"
#include "net/host_port.h"
#include "supernet/importer/torch_checkpoint.h"

namespace forall {

std::string UnknownCommand(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--controller" || word == "--tls-ca" || word == "--tls-cert" ||
        word == "--tls-key" || word == "--token-file") {
      ++i;  // and its value
      continue;
    }
    if (word.empty() || word[0] == '-') continue;
    if (std::find(names.begin(), names.end(), word) != names.end()) return "";
    const std::string meant = DidYouMean(word, names);
    return absl::StrCat("there is no command \"", word, "\"", meant.empty() ? "." : meant,
                        " Commands: ", absl::StrJoin(names, ", "), "; `forall --help` explains");
  }
  return "";
}

absl::Status CheckAddress(const std::string& address) {
  FORALL_ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(address, 1));
  std::string host = parsed.host;
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
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return 6;
    default:
      return 1;
  }
}

std::string Advice(const absl::Status& status, const CommandContext& context) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      // It is there, and has said itself what to do.
      if (absl::StrContains(status.message(), "read-only since")) return "";
      return absl::StrCat(
          "Is a controller running there? Start one with\n  forall-controller --db forall.db "
          "--listen ",
          context.controller.address,
          "\nor name another with --controller HOST:PORT or FORALL_CONTROLLER. One that serves TLS "
          "is reached with --tls-ca FILE, the authority of its certificate.");
    case absl::StatusCode::kNotFound: {
      // Only where the name of a resource was not known: other things may be missing too.
      const std::pair<absl::string_view, const char*> lists[] = {{"searchJobs/", "forall jobs"},
                                                                 {"supernets/", "forall supernets"},
                                                                 {"workers/", "forall workers"}};
      for (const auto& [collection, command] : lists) {
        if (absl::StrContains(status.message(), absl::StrCat("there is no ", collection))) {
          return absl::StrCat("See what there is: ", command, ".");
        }
      }
      return "";
    }
    case absl::StatusCode::kResourceExhausted:
      if (absl::StrContains(status.message(), "is overloaded")) return "";
      return "Make room on the controller's disk and try again; nothing that was acknowledged is "
             "lost.";
    default:
      return "";
  }
}

}  // namespace forall
