// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/ssh_transport.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// ssh's exit code for its own failures (ssh(1), EXIT STATUS).
constexpr int kSshFailed = 255;
constexpr absl::Duration kAuthenticationTimeout = absl::Seconds(30);

bool IsHostOrUser(absl::string_view text) {
  return !text.empty() && text[0] != '-' && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("._-:%+", c);
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> SshTransport::Create(const Options& options) {
  if (!IsHostOrUser(options.host)) {
    return absl::InvalidArgumentError(
        absl::StrCat("host \"", options.host, "\": give a name or an address, and the user apart"));
  }
  if (!options.user.empty() && !IsHostOrUser(options.user)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", options.user, "\" is no user's name"));
  }
  if (options.port < 0 || options.port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("port ", options.port, " is out of range"));
  }
  if (options.connect_timeout < absl::Seconds(1)) {
    return absl::InvalidArgumentError("connect_timeout must be at least 1s");
  }
  FORALL_RETURN_IF_ERROR(Check(options.shell));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<ClientFolder> folder, ClientFolder::Create());
  return std::unique_ptr<Transport>(new SshTransport(options, std::move(folder)));
}

SshTransport::SshTransport(Options options, std::unique_ptr<ClientFolder> folder)
    : ShellTransport(options.shell), options_(std::move(options)), folder_(std::move(folder)) {}

SshTransport::~SshTransport() = default;

TransportDescription SshTransport::Describe() const {
  return {.kind = "ssh",
          .target = absl::StrCat(options_.user, options_.user.empty() ? "" : "@", options_.host,
                                 options_.port == 0 ? "" : absl::StrCat(":", options_.port))};
}

std::vector<std::string> SshTransport::Argv(const std::vector<std::string>& more,
                                            const std::string& script) const {
  std::vector<std::string> argv = {options_.program};
  const auto set = [&argv](const std::string& option) {
    argv.push_back("-o");
    argv.push_back(option);
  };
  set("BatchMode=yes");
  set("StrictHostKeyChecking=yes");
  set("UpdateHostKeys=no");
  set(absl::StrCat("ConnectTimeout=", absl::ToInt64Seconds(options_.connect_timeout)));
  set("ServerAliveInterval=15");
  set("ServerAliveCountMax=3");
  set("LogLevel=ERROR");
  set("ClearAllForwardings=yes");
  set("ForwardAgent=no");
  set("ForwardX11=no");
  set("PermitLocalCommand=no");
  set("RequestTTY=no");
  set(absl::StrCat("ControlPath=", *folder_ / "c"));
  if (!options_.known_hosts.empty()) {
    set(absl::StrCat("UserKnownHostsFile=\"", options_.known_hosts, "\""));
    set("GlobalKnownHostsFile=/dev/null");
  }
  if (!options_.identity.empty()) {
    set("IdentitiesOnly=yes");
    set(absl::StrCat("IdentityFile=\"", options_.identity, "\""));
  }
  if (options_.port != 0) set(absl::StrCat("Port=", options_.port));
  if (!options_.user.empty()) set(absl::StrCat("User=", options_.user));
  argv.insert(argv.end(), more.begin(), more.end());
  argv.push_back("--");
  argv.push_back(options_.host);
  if (!script.empty()) argv.push_back(script);
  return argv;
}

absl::Status SshTransport::MasterError() const {
  const absl::StatusOr<std::string> log = ReadFile(*folder_ / "log", 1 << 20);
  const std::string text = log.ok() ? *log : "";
  const std::string target = Describe().target;
  const std::string words = LastLine(text);
  if (absl::StrContains(text, "Host key verification failed") ||
      absl::StrContains(text, "REMOTE HOST IDENTIFICATION HAS CHANGED")) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the host key of ", target, " is not the known one: see to it that this is the device, ",
        "then write its key into ",
        options_.known_hosts.empty() ? "known_hosts" : options_.known_hosts,
        " (ssh-keyscan shows it): ", words));
  }
  if (absl::StrContains(text, "Permission denied")) {
    return absl::PermissionDeniedError(absl::StrCat(
        target,
        " does not let this user in (a key without a passphrase or an agent is needed): ", words));
  }
  return absl::UnavailableError(absl::StrCat("cannot reach ", target, ": ", words));
}

absl::Status SshTransport::Connect() {
  MutexLock lock(&mu_);
  const std::string socket = *folder_ / "c";
  if (master_ != nullptr && master_->IsRunning() && access(socket.c_str(), F_OK) == 0) {
    return absl::OkStatus();
  }
  master_.reset();
  for (const std::string& old : {socket, *folder_ / "log"}) unlink(old.c_str());
  absl::StatusOr<std::unique_ptr<ChildProcess>> master =
      ChildProcess::Start(Argv({"-n", "-N", "-o", "ControlMaster=yes"}, ""), *folder_ / "log");
  if (absl::IsNotFound(master.status())) {
    return absl::FailedPreconditionError(absl::StrCat(
        "\"", options_.program, "\" is not installed: install OpenSSH's client (openssh-client)"));
  }
  if (!master.ok()) return master.status();
  master_ = *std::move(master);
  // The socket appears once the device has let us in.
  const absl::Duration limit = options_.connect_timeout + kAuthenticationTimeout;
  const absl::Duration step = absl::Milliseconds(10);
  for (absl::Duration waited; waited < limit; waited += step) {
    if (access(socket.c_str(), F_OK) == 0) return absl::OkStatus();
    if (master_->Wait(step).has_value()) return MasterError();
  }
  master_.reset();
  return absl::UnavailableError(
      absl::StrCat(Describe().target, " did not let us in within ", absl::FormatDuration(limit)));
}

absl::StatusOr<ProgramOutput> SshTransport::RunClient(const Script& script) {
  FORALL_RETURN_IF_ERROR(Connect());
  // ProxyCommand: without its master a client would make a connection of its own.
  return RunProgram(
      {.argv = Argv({"-o", "ControlMaster=no", "-o", "ProxyCommand=false"}, script.text),
       .standard_input = script.standard_input,
       .timeout = script.timeout,
       .most_output_bytes = script.most_output_bytes,
       .cancelled = script.cancelled});
}

absl::Status SshTransport::ClientError(const ProgramOutput& output) {
  const std::string words = LastLine(output.standard_error);
  if (output.end.signal == 0 && output.end.exit_code != kSshFailed) {
    return absl::FailedPreconditionError(
        absl::StrCat("the shell of ", Describe().target, " runs no script (", output.end.ToString(),
                     "): ", words.empty() ? LastLine(output.standard_output) : words));
  }
  const absl::StatusOr<ProgramOutput> check =
      RunProgram({.argv = Argv({"-O", "check"}, ""), .timeout = absl::Seconds(5)});
  MutexLock lock(&mu_);
  if (!check.ok() || !check->end.ok()) master_.reset();
  return absl::UnavailableError(
      absl::StrCat("the connection to ", Describe().target, " was lost: ", words));
}

}  // namespace forall
