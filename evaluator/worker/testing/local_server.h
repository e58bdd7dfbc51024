// SPDX-License-Identifier: Apache-2.0
// Services behind a Unix socket in a temporary folder: no port, no network. (gRPC 1.51's in-process
// transport hangs when a service answers a client stream before its end.)
#ifndef FORALL_EVALUATOR_WORKER_TESTING_LOCAL_SERVER_H_
#define FORALL_EVALUATOR_WORKER_TESTING_LOCAL_SERVER_H_

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/temp_dir.h"
#include "evaluator/worker/fleet_client.h"

namespace forall::testing {

class LocalServer {
 public:
  // The services must outlive it.
  explicit LocalServer(std::vector<grpc::Service*> services) : services_(std::move(services)) {
    Start();
  }
  ~LocalServer() { Stop(); }
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  void Stop() {
    if (server_ != nullptr) server_->Shutdown();
    server_ = nullptr;
  }
  void Start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(Address(), grpc::InsecureServerCredentials());
    for (grpc::Service* service : services_) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
  }
  std::shared_ptr<grpc::Channel> Channel() { return ConnectToController(Address()); }

 private:
  std::string Address() const { return "unix:" + (directory_ / "socket"); }

  const TempDir directory_;
  const std::vector<grpc::Service*> services_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace forall::testing

#endif  // FORALL_EVALUATOR_WORKER_TESTING_LOCAL_SERVER_H_
