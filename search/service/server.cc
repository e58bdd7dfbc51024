// SPDX-License-Identifier: Apache-2.0
#include "search/service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "net/certificate_keeper.h"
#include "net/host_port.h"

namespace forall {
namespace {

// The largest thing that is sent to us is 1 MiB of an artifact, or the raw samples of many tasks.
constexpr int kMaxReceiveBytes = 16 << 20;
constexpr int kMaxSendBytes = 64 << 20;
constexpr absl::Duration kShutdownGrace = absl::Seconds(2);
constexpr absl::Duration kMaxConnectionAge = absl::Hours(1);
// For calls under way when a connection's time is up: a large upload.
constexpr absl::Duration kMaxConnectionGrace = absl::Minutes(10);

absl::Status CheckTlsFlags(const ControllerServer::Options& options) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  if (!options.tls_client_authorities.empty() && options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-client-ca: goes with --tls-cert and --tls-key");
  }
  return absl::OkStatus();
}

// gRPC looks at the keeper's copies every second, the least that it can.
std::shared_ptr<grpc::ServerCredentials> TlsOf(const CertificateKeeper& certificates) {
  grpc::experimental::TlsServerCredentialsOptions tls(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          certificates.key(), certificates.certificate(), certificates.authorities(), 1));
  tls.watch_identity_key_cert_pairs();
  if (!certificates.authorities().empty()) {
    tls.watch_root_certs();
    // Who has a token needs no certificate; one that is shown must be good.
    tls.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(tls);
}

}  // namespace

struct ControllerServer::Health {
  Mutex mu;
  grpc::HealthCheckServiceInterface* service ABSL_GUARDED_BY(mu) = nullptr;  // null: it is over

  // Asks again under the lock, so that the last word is right whichever news comes first.
  void Update(const Controller& controller) {
    MutexLock lock(&mu);
    if (service == nullptr) return;
    const bool writes = !controller.read_only();
    service->SetServingStatus(v1::FleetService::service_full_name(), writes);
    service->SetServingStatus(v1::ArtifactService::service_full_name(), writes);
    service->SetServingStatus(v1::SearchService::service_full_name(), true);
  }
};

ControllerServer::ControllerServer(const Options& options, bool this_machine_only,
                                   Controller* controller, const ArtifactStore* artifacts,
                                   std::unique_ptr<TokenBook> tokens)
    : controller_(controller),
      health_(std::make_shared<Health>()),
      tokens_(std::move(tokens)),
      authorizer_({.tokens = tokens_.get(), .this_machine_only = this_machine_only}),
      audit_({.path = options.audit_log}),
      guarded_({.controller = controller,
                .artifacts = artifacts,
                .authorizer = &authorizer_,
                .audit = &audit_}),
      search_(&guarded_),
      fleet_(&guarded_),
      artifact_(&guarded_) {}

ControllerServer::~ControllerServer() { Shutdown(); }

absl::StatusOr<std::unique_ptr<ControllerServer>> ControllerServer::Start(
    const Options& options, Controller* controller, const ArtifactStore* artifacts) {
  FORALL_RETURN_IF_ERROR(CheckTlsFlags(options));
  const bool tls = !options.tls_key.empty();
  bool loopback = true;
  if (!options.listen.empty()) {
    const absl::StatusOr<bool> checked = IsLoopback(options.listen);
    if (!checked.ok()) return WithContext(checked.status(), "--listen");
    loopback = *checked;
  }
  if (!loopback && !tls) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--listen: other machines reach ", options.listen,
        ", which needs TLS: give --tls-cert and --tls-key (docs/security.md has a script that "
        "makes them), or listen on 127.0.0.1"));
  }
  absl::StatusOr<std::unique_ptr<CertificateKeeper>> certificates = nullptr;
  if (tls) {
    certificates = CertificateKeeper::Create({.certificate = options.tls_certificate,
                                              .key = options.tls_key,
                                              .authorities = options.tls_client_authorities,
                                              .refresh = options.tls_refresh});
  }
  if (!certificates.ok()) {
    return WithContext(certificates.status(), "--tls-cert, --tls-key, --tls-client-ca");
  }
  FORALL_ASSIGN_OR_RETURN(
      std::unique_ptr<TokenBook> tokens,
      TokenBook::Create({.path = options.tokens, .recheck = options.token_recheck}));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  std::unique_ptr<ControllerServer> server(
      new ControllerServer(options, loopback && options.tls_client_authorities.empty(), controller,
                           artifacts, std::move(tokens)));
  server->certificates_ = *std::move(certificates);
  server->nobody_may_call_ =
      !loopback && options.tls_client_authorities.empty() && !server->tokens_->exists();
  grpc::ServerBuilder builder;
  if (!options.listen.empty()) {
    const std::shared_ptr<grpc::ServerCredentials> credentials =
        tls ? TlsOf(*server->certificates_) : grpc::experimental::LocalServerCredentials(LOCAL_TCP);
    credentials->SetAuthMetadataProcessor(server->guarded_.ForeignGuard());
    builder.AddListeningPort(options.listen, credentials, &server->port_);
  }
  if (tls) {
    // Certificates are looked at when a connection begins: none outlives its time by more.
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               static_cast<int>(absl::ToInt64Milliseconds(kMaxConnectionAge)));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                               static_cast<int>(absl::ToInt64Milliseconds(kMaxConnectionGrace)));
  }
  // Otherwise a second controller could share the port and get half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Workers keep an idle connection alive.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  const int keepalive_ms = static_cast<int>(absl::ToInt64Milliseconds(options.keepalive));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_ms);
  // See net/artifact_chunk.h.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder.SetMaxSendMessageSize(kMaxSendBytes);
  builder.RegisterService(&server->search_);
  builder.RegisterService(&server->fleet_);
  builder.RegisterService(&server->artifact_);
  if (options.rpc_metrics != nullptr) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> factories;
    factories.push_back(CountRpcs(options.rpc_metrics));
    builder.experimental().SetInterceptorCreators(std::move(factories));
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || (!options.listen.empty() && server->port_ == 0)) {
    return absl::UnavailableError(absl::StrCat(
        "--listen: cannot listen on ", options.listen,
        ": the port is in use (another controller?) or the address is not this machine's"));
  }
  {
    MutexLock lock(&server->health_->mu);
    server->health_->service = server->server_->GetHealthCheckService();
  }
  controller->WatchReadOnly(
      [health = server->health_, controller] { health->Update(*controller); });
  server->health_->Update(*controller);
  return server;
}

MetricFamily ControllerServer::CollectCertificates() const {
  MetricFamily family = {"forall_certificate_expires_timestamp_seconds",
                         "When the server's certificate ends, and the last of the authorities that "
                         "its callers are known by; seconds since 1970.",
                         MetricFamily::Type::kGauge,
                         {}};
  if (certificates_ == nullptr) return family;
  const CertificateKeeper::Ends ends = certificates_->ends();
  for (const auto& [file, end] :
       {std::pair("certificate", ends.certificate), std::pair("authorities", ends.authorities)}) {
    if (end == absl::InfiniteFuture()) continue;  // There are none.
    family.samples.push_back({{{"file", file}}, static_cast<double>(absl::ToUnixSeconds(end)), {}});
  }
  return family;
}

std::shared_ptr<grpc::Channel> ControllerServer::InProcessChannel() {
  return server_->InProcessChannel(grpc::ChannelArguments());
}

void ControllerServer::Shutdown() {
  if (server_ == nullptr) return;
  controller_->WatchReadOnly(nullptr);
  {
    MutexLock lock(&health_->mu);
    health_->service = nullptr;
  }
  server_->Shutdown(absl::ToChronoTime(Clock::Real()->Now() + kShutdownGrace));
  server_->Wait();
  server_.reset();
}

}  // namespace forall
