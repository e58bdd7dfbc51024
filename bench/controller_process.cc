// SPDX-License-Identifier: Apache-2.0
#include "bench/controller_process.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "net/testing/certificate_maker.h"
#include "proto/forall/v1/artifact_service.grpc.pb.h"
#include "search/service/testing/http_get.h"

namespace forall {

absl::Status Patience(absl::Duration patience, const std::string& what,
                      const std::function<absl::StatusOr<bool>()>& reached) {
  const absl::Time deadline = Clock::Real()->Now() + patience;
  while (true) {
    FORALL_ASSIGN_OR_RETURN(const bool done, reached());
    if (done) return absl::OkStatus();
    if (Clock::Real()->Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat("fleet: waited in vain for ", what));
    }
    Clock::Real()->SleepFor(absl::Milliseconds(20));
  }
}

absl::StatusOr<std::unique_ptr<ControllerProcess>> ControllerProcess::Start(
    const std::string& supernet, bool mtls) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string program = (self.parent_path() / "forall-controller").string();
  if (error || !std::filesystem::exists(program)) {
    return absl::FailedPreconditionError(
        absl::StrCat("fleet: there is no ", program, ": build forall-controller as well"));
  }
  std::string pattern = (std::filesystem::temp_directory_path() / "forall_fleet_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    return absl::UnavailableError(absl::StrCat("fleet: cannot make a folder ", pattern));
  }
  std::unique_ptr<ControllerProcess> controller(new ControllerProcess(pattern));
  std::vector<std::string> argv = {program,
                                   "--db",
                                   pattern + "/forall.db",
                                   "--listen",
                                   "127.0.0.1:0",
                                   "--port-file",
                                   pattern + "/port",
                                   "--supernet",
                                   supernet,
                                   "--metrics-listen",
                                   "127.0.0.1:0"};
  if (mtls) {
    FORALL_RETURN_IF_ERROR(controller->MakeIdentities(program));
    argv.insert(argv.end(), {"--tls-cert", pattern + "/server.pem", "--tls-key",
                             pattern + "/server.key", "--tls-client-ca", pattern + "/ca.pem"});
  }
  FORALL_ASSIGN_OR_RETURN(
      controller->process_,
      ChildProcess::Start({.argv = std::move(argv), .log_path = pattern + "/log"}));
  FORALL_RETURN_IF_ERROR(controller->WaitForPorts());
  FORALL_ASSIGN_OR_RETURN(const auto credentials, MakeChannelCredentials(controller->user_));
  controller->channel_ = grpc::CreateChannel(controller->address(), credentials);
  return controller;
}
ControllerProcess::~ControllerProcess() {
  process_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string ControllerProcess::address() const { return absl::StrCat("127.0.0.1:", port_); }
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ControllerProcess::WorkerCredentials()
    const {
  return MakeChannelCredentials(worker_);
}

absl::StatusOr<std::map<std::string, double>> ControllerProcess::Metrics() const {
  FORALL_ASSIGN_OR_RETURN(const std::string text, testing::HttpGet(metrics_port_, "/metrics"));
  return testing::ParseExposition(text);
}

absl::StatusOr<ControllerProcess::Usage> ControllerProcess::ReadUsage() const {
  Usage usage;
  FORALL_ASSIGN_OR_RETURN(const std::string status, ReadFile(Proc("status")));
  for (const absl::string_view line : absl::StrSplit(status, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.size() < 2) continue;
    double number = 0;
    if (words[0] == "Threads:" && absl::SimpleAtod(words[1], &number)) {
      usage.threads = static_cast<int>(number);
    }
    if (words[0] == "VmRSS:" && absl::SimpleAtod(words[1], &number)) {
      usage.rss_mib = number / 1024;
    }
  }
  FORALL_ASSIGN_OR_RETURN(const std::string stat, ReadFile(Proc("stat")));
  // After the name in parentheses; user and system time are fields 14 and 15 of all.
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(stat.rfind(')') + 2), ' ');
  double user = 0;
  double system = 0;
  if (fields.size() < 13 || !absl::SimpleAtod(fields[11], &user) ||
      !absl::SimpleAtod(fields[12], &system)) {
    return absl::UnavailableError("fleet: /proc/PID/stat cannot be read");
  }
  usage.cpu_seconds = (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  std::error_code error;
  for (std::filesystem::directory_iterator it(Proc("fd"), error), end; !error && it != end;
       it.increment(error)) {
    ++usage.descriptors;
  }
  if (error) return absl::UnavailableError("fleet: /proc/PID/fd cannot be read");
  return usage;
}

ControllerProcess::ControllerProcess(std::string folder) : folder_(std::move(folder)) {}

std::string ControllerProcess::Proc(const char* file) const {
  return absl::StrCat("/proc/", process_->pid(), "/", file);
}

absl::Status ControllerProcess::MakeIdentities(const std::string& program) {
  const testing::CertificateMaker maker("fleet benchmark");
  const testing::KeyPair server = maker.Issue({"IP:127.0.0.1"});
  const testing::KeyPair worker = maker.Issue({"URI:forall:worker/bench-*"});
  for (const auto& [name, text] :
       {std::pair<const char*, const std::string&>{"/ca.pem", maker.authority()},
        {"/server.pem", server.certificate},
        {"/server.key", server.key},
        {"/worker.pem", worker.certificate},
        {"/worker.key", worker.key}}) {
    FORALL_RETURN_IF_ERROR(WriteFileAtomically(folder_ + name, text));
  }
  FORALL_ASSIGN_OR_RETURN(
      const ProgramOutput token,
      RunProgram({.argv = {program, "token", "add", "--db", folder_ + "/forall.db", "--name",
                           "bench", "--role", "admin"}}));
  if (!token.end.ok()) {
    return absl::UnavailableError(
        absl::StrCat("fleet: no token: ", LastLine(token.standard_error)));
  }
  user_.tls_ca = worker_.tls_ca = folder_ + "/ca.pem";
  user_.token = std::string(absl::StripAsciiWhitespace(token.standard_output));
  worker_.tls_certificate = folder_ + "/worker.pem";
  worker_.tls_key = folder_ + "/worker.key";
  return absl::OkStatus();
}

absl::Status ControllerProcess::WaitForPorts() {
  const absl::Status waited =
      Patience(absl::Seconds(60), "the controller", [&]() -> absl::StatusOr<bool> {
        if (!process_->IsRunning()) return absl::UnavailableError("it ended");
        const absl::StatusOr<std::string> port = ReadFile(folder_ + "/port");
        if (!port.ok() || !absl::SimpleAtoi(*port, &port_)) return false;
        FORALL_ASSIGN_OR_RETURN(const std::string log, ReadFile(folder_ + "/log"));
        constexpr char kLine[] = "serves metrics on port ";
        const size_t at = log.find(kLine);
        return at != std::string::npos &&
               absl::SimpleAtoi(
                   log.substr(at + sizeof(kLine) - 1, log.find('\n', at) - at - sizeof(kLine) + 1),
                   &metrics_port_);
      });
  if (waited.ok()) return waited;
  return absl::UnavailableError(absl::StrCat("fleet: forall-controller does not serve: ",
                                             LastLine(ReadFile(folder_ + "/log").value_or(""))));
}

absl::Status ControllerProcess::UploadArtifact(const std::string& bytes) const {
  const auto stub = v1::ArtifactService::NewStub(channel_);
  grpc::ClientContext context;
  v1::Artifact artifact;
  const auto stream = stub->UploadArtifact(&context, &artifact);
  v1::UploadArtifactRequest chunk;
  chunk.set_sha256(Sha256Hex(bytes));
  chunk.set_size_bytes(static_cast<int64_t>(bytes.size()));
  chunk.set_content(bytes);
  stream->Write(chunk);
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  if (status.ok()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("fleet: upload: ", status.error_message()));
}

}  // namespace forall
