// SPDX-License-Identifier: Apache-2.0
#include "search/service/fleet_service.h"

#include <utility>

#include "search/service/lease_call.h"
#include "search/service/unary_call.h"

namespace forall {

grpc::ServerUnaryReactor* FleetServiceImpl::RegisterWorker(Context* context,
                                                           const v1::RegisterWorkerRequest* request,
                                                           v1::RegisterWorkerResponse* response) {
  const auto call = [context](const GuardedController::Pass& pass,
                              const v1::RegisterWorkerRequest& what,
                              Done<v1::RegisterWorkerResponse> done) {
    pass.controller()->RegisterWorkerFrom(context->peer(), what, std::move(done));
  };
  return AnswerUnaryBy(context, controller_, call, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::Heartbeat(Context* context,
                                                      const v1::HeartbeatRequest* request,
                                                      v1::HeartbeatResponse* response) {
  return AnswerUnary(context, controller_, &Controller::Heartbeat, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::CompleteTasks(Context* context,
                                                          const v1::CompleteTasksRequest* request,
                                                          v1::CompleteTasksResponse* response) {
  const auto call = [context](const GuardedController::Pass& pass,
                              const v1::CompleteTasksRequest& what,
                              Done<v1::CompleteTasksResponse> done) {
    Controller* const controller = pass.controller();
    controller->CompleteTasks(what, [context, controller, &what, done = std::move(done)](
                                        absl::StatusOr<v1::CompleteTasksResponse> answer) {
      // The results are stored; whoever would have gone on with the next tasks is not there.
      if (answer.ok() && answer->next().tasks_size() > 0 && context->IsCancelled()) {
        GiveBack(what.worker(), what.instance(), answer->next(), controller);
        answer->clear_next();
      }
      done(std::move(answer));
    });
  };
  return AnswerUnaryBy(context, controller_, call, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::ReleaseTask(Context* context,
                                                        const v1::ReleaseTaskRequest* request,
                                                        v1::ReleaseTaskResponse* response) {
  return AnswerUnary(context, controller_, &Controller::ReleaseTask, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::ListWorkers(Context* context,
                                                        const v1::ListWorkersRequest* request,
                                                        v1::ListWorkersResponse* response) {
  return AnswerUnary(context, controller_, &Controller::ListWorkers, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::InspectWorker(Context* context,
                                                          const v1::InspectWorkerRequest* request,
                                                          v1::WorkerInspection* response) {
  return AnswerUnary(context, controller_, &Controller::InspectWorker, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::DrainWorker(Context* context,
                                                        const v1::DrainWorkerRequest* request,
                                                        v1::Worker* response) {
  return AnswerUnary(context, controller_, &Controller::DrainWorker, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::GetServerStatus(
    Context* context, const v1::GetServerStatusRequest* request,
    v1::GetServerStatusResponse* response) {
  return AnswerUnary(context, controller_, &Controller::GetServerStatus, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::RetractMeasurements(
    Context* context, const v1::RetractMeasurementsRequest* request,
    v1::RetractMeasurementsResponse* response) {
  return AnswerUnary(context, controller_, &Controller::RetractMeasurements, *request, response);
}

grpc::ServerUnaryReactor* FleetServiceImpl::LeaseTasks(Context* context,
                                                       const v1::LeaseTasksRequest* request,
                                                       v1::LeaseTasksResponse* response) {
  return StartLease(context, *request, response, controller_);
}

}  // namespace forall
