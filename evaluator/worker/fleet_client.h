// SPDX-License-Identifier: Apache-2.0
// The worker's side of FleetService: one call each, with a deadline, and errors as absl::Status.
// Retrying is the caller's business.
#ifndef FORALL_EVALUATOR_WORKER_FLEET_CLIENT_H_
#define FORALL_EVALUATOR_WORKER_FLEET_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "proto/forall/v1/fleet_service.grpc.pb.h"

namespace forall {

// A channel to HOST:PORT, or anything that gRPC understands, that tries to connect again every two
// seconds at most. `credentials` are those of net/controller_access.h.
std::shared_ptr<grpc::Channel> ConnectToController(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                                    grpc::InsecureChannelCredentials());

// Thread-safe.
class FleetClient {
 public:
  struct Options {
    // Of every call but Lease, which has `wait` more.
    absl::Duration call_timeout = absl::Seconds(20);
    // Of Release and Drain, which are courtesies of a worker that wants to leave.
    absl::Duration farewell_timeout = absl::Seconds(3);
  };
  FleetClient(const std::shared_ptr<grpc::Channel>& channel, const Options& options);

  absl::StatusOr<v1::RegisterWorkerResponse> Register(const v1::RegisterWorkerRequest& request);
  // Cancelled after InterruptLease.
  absl::StatusOr<v1::LeaseTasksResponse> Lease(const v1::LeaseTasksRequest& request);
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request);
  // The answer has exactly one completion per result.
  absl::StatusOr<v1::CompleteTasksResponse> Complete(const v1::CompleteTasksRequest& request);
  absl::Status Release(const v1::ReleaseTaskRequest& request);
  // Of a worker that leaves: while it is this instance.
  absl::Status Drain(const std::string& worker, const std::string& instance);

  // Ends the Lease call in progress and every later one.
  void InterruptLease();

 private:
  const Options options_;
  const std::unique_ptr<v1::FleetService::Stub> stub_;
  Mutex mu_;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
  grpc::ClientContext* lease_context_ ABSL_GUARDED_BY(mu_) = nullptr;
};

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_FLEET_CLIENT_H_
