// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/fleet_client.h"

#include <grpcpp/create_channel.h>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "evaluator/worker/grpc_status.h"

namespace forall {
namespace {

void SetDeadline(absl::Duration timeout, grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(Clock::Real()->Now() + timeout));
}

// Calls a unary method of the stub.
template <typename Request, typename Response>
absl::StatusOr<Response> Call(v1::FleetService::Stub* stub,
                              grpc::Status (v1::FleetService::Stub::*method)(grpc::ClientContext*,
                                                                             const Request&,
                                                                             Response*),
                              const Request& request, absl::Duration timeout) {
  grpc::ClientContext context;
  SetDeadline(timeout, &context);
  Response response;
  const grpc::Status status = (stub->*method)(&context, request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response;
}

}  // namespace

std::shared_ptr<grpc::Channel> ConnectToController(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // A controller whose machine has gone does not close its connections.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // A proxy for the web is none for a fleet.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // see net/artifact_chunk.h
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

FleetClient::FleetClient(const std::shared_ptr<grpc::Channel>& channel, const Options& options)
    : options_(options), stub_(v1::FleetService::NewStub(channel)) {}

absl::StatusOr<v1::RegisterWorkerResponse> FleetClient::Register(
    const v1::RegisterWorkerRequest& request) {
  return Call(stub_.get(), &v1::FleetService::Stub::RegisterWorker, request, options_.call_timeout);
}

absl::StatusOr<v1::LeaseTasksResponse> FleetClient::Lease(const v1::LeaseTasksRequest& request) {
  grpc::ClientContext context;
  SetDeadline(options_.call_timeout + absl::Seconds(request.wait().seconds()) + absl::Seconds(1),
              &context);
  {
    MutexLock lock(&mu_);
    if (interrupted_) return absl::CancelledError("no more leases are wanted");
    lease_context_ = &context;
  }
  v1::LeaseTasksResponse response;
  const grpc::Status status = stub_->LeaseTasks(&context, request, &response);
  {
    MutexLock lock(&mu_);
    lease_context_ = nullptr;
  }
  if (!status.ok()) return FromGrpcStatus(status);
  return response;
}

void FleetClient::InterruptLease() {
  MutexLock lock(&mu_);
  interrupted_ = true;
  // The context cannot go away meanwhile: Lease needs the mutex to let go of it.
  if (lease_context_ != nullptr) lease_context_->TryCancel();
}

absl::StatusOr<v1::HeartbeatResponse> FleetClient::Heartbeat(const v1::HeartbeatRequest& request) {
  return Call(stub_.get(), &v1::FleetService::Stub::Heartbeat, request, options_.call_timeout);
}

absl::StatusOr<v1::CompleteTasksResponse> FleetClient::Complete(
    const v1::CompleteTasksRequest& request) {
  FORALL_ASSIGN_OR_RETURN(
      v1::CompleteTasksResponse response,
      Call(stub_.get(), &v1::FleetService::Stub::CompleteTasks, request, options_.call_timeout));
  if (response.completions_size() != request.results_size()) {
    return absl::InternalError(absl::StrCat("the controller answered ", response.completions_size(),
                                            " completions for ", request.results_size(),
                                            " results"));
  }
  return response;
}

absl::Status FleetClient::Release(const v1::ReleaseTaskRequest& request) {
  return Call(stub_.get(), &v1::FleetService::Stub::ReleaseTask, request, options_.farewell_timeout)
      .status();
}

absl::Status FleetClient::Drain(const std::string& worker, const std::string& instance) {
  v1::DrainWorkerRequest request;
  request.set_name(worker);
  request.set_instance(instance);
  return Call(stub_.get(), &v1::FleetService::Stub::DrainWorker, request, options_.farewell_timeout)
      .status();
}

}  // namespace forall
