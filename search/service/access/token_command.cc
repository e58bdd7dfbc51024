// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/token_command.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "search/service/access/token_file.h"

namespace forall {
namespace {

constexpr char kHelp[] = R"(forall-controller token: who may do what

  forall-controller token add    --db FILE --name NAME --role ROLE [--worker ID]
  forall-controller token list   --db FILE
  forall-controller token revoke --db FILE --name NAME

add prints a token, once: the file beside the database (FILE.tokens) holds its SHA-256 alone. Give
it to forall or forall-worker in FORALL_TOKEN, or in a file by --token-file. A running controller
sees a change within a second.

  --db FILE      the controller's database
  --name NAME    whose token it is; the audit log has it
  --role ROLE    submit: searches, and reads everything
                 work: leases tasks and reports results
                 admin: everything
  --worker ID    with work: may act as this worker only, or as all whose id begins so: lab-*

From the first token on every call needs one, on loopback too, and after the last is revoked nobody
may call until another is made. Without the file, loopback is open to everybody on the machine.
)";

struct Command {
  std::string verb;
  std::string db;
  std::string name;
  std::string role;
  std::string worker;
};

absl::StatusOr<Command> Parse(const std::vector<std::string>& arguments) {
  Command command;
  command.verb = arguments[0];
  const bool list = command.verb == "list";
  const bool add = command.verb == "add";
  if (!list && !add && command.verb != "revoke") {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no ", command.verb, "; want add, list or revoke"));
  }
  std::map<std::string, std::string*> values = {{"--db", &command.db}};
  if (!list) values["--name"] = &command.name;
  if (add) values["--role"] = &command.role;
  if (add) values["--worker"] = &command.worker;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const size_t equals = arguments[i].find('=');
    const auto value = values.find(arguments[i].substr(0, equals));
    if (value == values.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown argument ", arguments[i], "; --help lists them"));
    }
    if (equals == std::string::npos && i + 1 == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrCat(arguments[i], ": a value is missing"));
    }
    *value->second = equals == std::string::npos ? arguments[++i] : arguments[i].substr(equals + 1);
  }
  for (const auto& [flag, value] : values) {
    if (value->empty() && flag != "--worker") {
      return absl::InvalidArgumentError(absl::StrCat(flag, ": required"));
    }
  }
  if (command.db == ":memory:") {
    return absl::InvalidArgumentError("--db: a database in memory has no file of tokens beside it");
  }
  return command;
}

absl::Status Add(const Command& command, absl::Time now, std::ostream& out, std::ostream& err) {
  const absl::StatusOr<Role> role = ParseRole(command.role);
  if (!role.ok()) return WithContext(role.status(), "--role");
  std::error_code ignored;  // What cannot be looked at is told when the file is written.
  if (!std::filesystem::exists(command.db, ignored)) {
    err << "note: there is no " << command.db << " yet; is that the controller's --db?\n";
  }
  FORALL_ASSIGN_OR_RETURN(const std::string token, AddToken(TokenPathOf(command.db), command.name,
                                                            *role, command.worker, now));
  err << "The token of " << command.name << " (" << command.role
      << "), which is shown this once; keep it in a file that only its user reads:\n";
  out << token << std::endl;
  return absl::OkStatus();
}

absl::Status List(const Command& command, std::ostream& out, std::ostream& err) {
  const absl::StatusOr<std::vector<TokenRecord>> tokens = ReadTokens(TokenPathOf(command.db));
  if (absl::IsNotFound(tokens.status())) {
    err << "There are no tokens: on loopback everybody on this machine may do everything.\n";
    return absl::OkStatus();
  }
  FORALL_RETURN_IF_ERROR(tokens.status());
  size_t width = 4;
  for (const TokenRecord& record : *tokens) width = std::max(width, record.name.size());
  out << absl::StrFormat("%-*s  %-6s  %-20s  %s\n", static_cast<int>(width), "NAME", "ROLE",
                         "CREATED", "WORKER");
  for (const TokenRecord& record : *tokens) {
    out << absl::StrFormat(
        "%-*s  %-6s  %-20s  %s\n", static_cast<int>(width), record.name, RoleName(record.role),
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", record.created, absl::UTCTimeZone()),
        record.worker.empty() ? "any" : record.worker);
  }
  return absl::OkStatus();
}

absl::Status Revoke(const Command& command, std::ostream& err) {
  FORALL_RETURN_IF_ERROR(RevokeToken(TokenPathOf(command.db), command.name));
  err << "The token of " << command.name << " is revoked.\n";
  return absl::OkStatus();
}

}  // namespace

int RunTokenCommand(const std::vector<std::string>& arguments, absl::Time now, std::ostream& out,
                    std::ostream& err) {
  if (arguments.empty() || std::any_of(arguments.begin(), arguments.end(), [](const auto& word) {
        return word == "--help" || word == "-h";
      })) {
    (arguments.empty() ? err : out) << kHelp;
    return arguments.empty() ? 2 : 0;
  }
  const absl::StatusOr<Command> command = Parse(arguments);
  absl::Status status = command.status();
  if (command.ok()) {
    status = command->verb == "add"    ? Add(*command, now, out, err)
             : command->verb == "list" ? List(*command, out, err)
                                       : Revoke(*command, err);
  }
  if (status.ok()) return 0;
  err << "forall-controller token: " << std::string(status.message()) << "\n";
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace forall
