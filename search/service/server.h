// SPDX-License-Identifier: Apache-2.0
// The gRPC server of a controller: its three services, health and reflection, with limits set and a
// guard before every one (docs/security.md).
//
// Health (grpc.health.v1): while the controller is read-only, forall.v1.FleetService and
// forall.v1.ArtifactService are NOT_SERVING, for they are there to store; forall.v1.SearchService
// and "" stay SERVING, for reads are answered and a restart would mend nothing.
#ifndef FORALL_SEARCH_SERVICE_SERVER_H_
#define FORALL_SEARCH_SERVICE_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/certificate_keeper.h"
#include "search/controller/controller.h"
#include "search/service/access/audit_log.h"
#include "search/service/access/authorizer.h"
#include "search/service/access/guarded_controller.h"
#include "search/service/access/token_file.h"
#include "search/service/artifact_service.h"
#include "search/service/fleet_service.h"
#include "search/service/rpc_metrics.h"
#include "search/service/search_service.h"
#include "search/store/artifact_store.h"

namespace forall {

// Thread-safe.
class ControllerServer {
 public:
  struct Options {
    // HOST:PORT; port 0 takes a free one. "": no port, for tests over InProcessChannel.
    std::string listen = {};
    // PEM files, both or none; without them only loopback is accepted.
    std::string tls_certificate = {};
    std::string tls_key = {};
    // PEM file: clients may show certificates of these authorities, and are workers by them.
    std::string tls_client_authorities = {};
    // How often the files above are looked at; what is sound as a whole is taken over.
    absl::Duration tls_refresh = absl::Seconds(10);
    // The file of tokens; it need not be there. "": there are no tokens.
    std::string tokens = {};
    absl::Duration token_recheck = absl::Milliseconds(500);
    // The audit log. "": none is kept.
    std::string audit_log = {};
    // After so long without a word a client is asked whether it lives, and let go of when it does
    // not answer within as long again: one whose machine has vanished holds no connection for ever.
    absl::Duration keepalive = absl::Seconds(60);
    RpcMetrics* rpc_metrics = nullptr;  // counts calls; not owned, must outlive the server
  };

  // Controller and artifacts are not owned and must outlive the server. Nothing listens before all
  // files are found sound. InvalidArgument: no HOST:PORT, or a file that does not hold what it
  // should; NotFound, PermissionDenied: a file that cannot be read. FailedPrecondition: not
  // loopback and no TLS. Unavailable: the port is in use or the address is none of this machine's.
  static absl::StatusOr<std::unique_ptr<ControllerServer>> Start(const Options& options,
                                                                 Controller* controller,
                                                                 const ArtifactStore* artifacts);
  ~ControllerServer();

  int port() const { return port_; }
  // No token was made yet and nothing else lets anybody in.
  bool nobody_may_call() const { return nobody_may_call_; }
  const AuditLog& audit() const { return audit_; }
  // When certificates end; nothing without TLS.
  MetricFamily CollectCertificates() const;
  // Where clients in this process reach it.
  std::shared_ptr<grpc::Channel> InProcessChannel();
  // Refuses new calls, lets those under way end for a moment, cuts off the others. The controller
  // must be stopped first, so that parked polls are answered.
  void Shutdown();

 private:
  // What the controller's news are told to, for as long as the server lives.
  struct Health;

  ControllerServer(const Options& options, bool this_machine_only, Controller* controller,
                   const ArtifactStore* artifacts, std::unique_ptr<TokenBook> tokens);

  Controller* const controller_;
  std::shared_ptr<Health> health_;
  std::unique_ptr<CertificateKeeper> certificates_;  // nullptr: no TLS
  const std::unique_ptr<TokenBook> tokens_;
  const Authorizer authorizer_;
  AuditLog audit_;
  const GuardedController guarded_;
  SearchServiceImpl search_;
  FleetServiceImpl fleet_;
  ArtifactServiceImpl artifact_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  bool nobody_may_call_ = false;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_SERVER_H_
