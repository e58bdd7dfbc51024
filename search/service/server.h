// SPDX-License-Identifier: Apache-2.0
// The gRPC server of a controller: its three services, health and reflection, with limits set.
#ifndef FORALL_SEARCH_SERVICE_SERVER_H_
#define FORALL_SEARCH_SERVICE_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "search/controller/controller.h"
#include "search/service/artifact_service.h"
#include "search/service/fleet_service.h"
#include "search/service/search_service.h"
#include "search/store/artifact_store.h"

namespace forall {

// Thread-safe.
class ControllerServer {
 public:
  struct Options {
    // HOST:PORT; port 0 takes a free one. "": no port, for tests over InProcessChannel.
    std::string listen;
    // Plaintext on an address that other machines reach. Without it only loopback is accepted.
    bool insecure = false;
  };

  // Controller and artifacts are not owned and must outlive the server. InvalidArgument: no
  // HOST:PORT. FailedPrecondition: not loopback and not insecure. Unavailable: the port is in use
  // or the address is none of this machine's.
  static absl::StatusOr<std::unique_ptr<ControllerServer>> Start(const Options& options,
                                                                 Controller* controller,
                                                                 const ArtifactStore* artifacts);
  ~ControllerServer();

  int port() const { return port_; }
  // Where clients in this process reach it.
  std::shared_ptr<grpc::Channel> InProcessChannel();
  // Refuses new calls, lets those under way end for a moment, cuts off the others. The controller
  // must be stopped first, so that parked polls are answered.
  void Shutdown();

 private:
  ControllerServer(Controller* controller, const ArtifactStore* artifacts);

  SearchServiceImpl search_;
  FleetServiceImpl fleet_;
  ArtifactServiceImpl artifact_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

// Whether only this machine reaches HOST:PORT. InvalidArgument when it is no such text.
absl::StatusOr<bool> IsLoopback(const std::string& listen);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_SERVER_H_
