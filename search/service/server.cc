// SPDX-License-Identifier: Apache-2.0
#include "search/service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// The largest thing that is sent to us is 1 MiB of an artifact, or the raw samples of many tasks.
constexpr int kMaxReceiveBytes = 16 << 20;
constexpr int kMaxSendBytes = 64 << 20;
constexpr absl::Duration kShutdownGrace = absl::Seconds(2);

}  // namespace

absl::StatusOr<bool> IsLoopback(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen: want HOST:PORT, e.g. 127.0.0.1:7411, got ", listen));
  }
  const std::string host = listen.substr(0, colon);
  if (host == "localhost" || host == "[::1]") return true;
  // 127.0.0.0/8, and no name that merely begins so.
  const std::vector<std::string> parts = absl::StrSplit(host, '.');
  if (parts.size() != 4 || parts[0] != "127") return false;
  for (const std::string& part : parts) {
    int number = 0;
    if (!absl::SimpleAtoi(part, &number)) return false;
  }
  return true;
}

ControllerServer::ControllerServer(Controller* controller, const ArtifactStore* artifacts)
    : search_(controller), fleet_(controller), artifact_(controller, artifacts) {}

ControllerServer::~ControllerServer() { Shutdown(); }

absl::StatusOr<std::unique_ptr<ControllerServer>> ControllerServer::Start(
    const Options& options, Controller* controller, const ArtifactStore* artifacts) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  std::unique_ptr<ControllerServer> server(new ControllerServer(controller, artifacts));
  grpc::ServerBuilder builder;
  if (!options.listen.empty()) {
    FORALL_ASSIGN_OR_RETURN(const bool loopback, IsLoopback(options.listen));
    if (!loopback && !options.insecure) {
      return absl::FailedPreconditionError(absl::StrCat(
          "--listen: other machines reach ", options.listen,
          ", and there is no authentication yet; listen on 127.0.0.1, or say --insecure where the "
          "network is yours alone"));
    }
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &server->port_);
  }
  // Otherwise a second controller could share the port and get half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Workers keep an idle connection alive.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder.SetMaxSendMessageSize(kMaxSendBytes);
  builder.RegisterService(&server->search_);
  builder.RegisterService(&server->fleet_);
  builder.RegisterService(&server->artifact_);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || (!options.listen.empty() && server->port_ == 0)) {
    return absl::UnavailableError(absl::StrCat(
        "--listen: cannot listen on ", options.listen,
        ": the port is in use (another controller?) or the address is not this machine's"));
  }
  return server;
}

std::shared_ptr<grpc::Channel> ControllerServer::InProcessChannel() {
  return server_->InProcessChannel(grpc::ChannelArguments());
}

void ControllerServer::Shutdown() {
  if (server_ == nullptr) return;
  server_->Shutdown(absl::ToChronoTime(Clock::Real()->Now() + kShutdownGrace));
  server_->Wait();
  server_.reset();
}

}  // namespace forall
