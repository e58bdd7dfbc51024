// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_SEARCH_SERVICE_FLEET_SERVICE_H_
#define FORALL_SEARCH_SERVICE_FLEET_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "proto/forall/v1/fleet_service.grpc.pb.h"
#include "search/service/access/guarded_controller.h"
#include "search/service/arena_requests.h"

namespace forall {

// FleetService over a controller, which must outlive it. Thread-safe.
class FleetServiceImpl : public v1::FleetService::CallbackService {
 public:
  explicit FleetServiceImpl(const GuardedController* controller) : controller_(controller) {
    SetMessageAllocatorFor_CompleteTasks(&results_);
  }

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  Unary* RegisterWorker(Context* context, const v1::RegisterWorkerRequest* request,
                        v1::RegisterWorkerResponse* response) override;
  Unary* LeaseTasks(Context* context, const v1::LeaseTasksRequest* request,
                    v1::LeaseTasksResponse* response) override;
  Unary* Heartbeat(Context* context, const v1::HeartbeatRequest* request,
                   v1::HeartbeatResponse* response) override;
  Unary* CompleteTasks(Context* context, const v1::CompleteTasksRequest* request,
                       v1::CompleteTasksResponse* response) override;
  Unary* ReleaseTask(Context* context, const v1::ReleaseTaskRequest* request,
                     v1::ReleaseTaskResponse* response) override;
  Unary* ListWorkers(Context* context, const v1::ListWorkersRequest* request,
                     v1::ListWorkersResponse* response) override;
  Unary* InspectWorker(Context* context, const v1::InspectWorkerRequest* request,
                       v1::WorkerInspection* response) override;
  Unary* DrainWorker(Context* context, const v1::DrainWorkerRequest* request,
                     v1::Worker* response) override;
  Unary* GetServerStatus(Context* context, const v1::GetServerStatusRequest* request,
                         v1::GetServerStatusResponse* response) override;
  Unary* RetractMeasurements(Context* context, const v1::RetractMeasurementsRequest* request,
                             v1::RetractMeasurementsResponse* response) override;

 private:
  const GuardedController* const controller_;
  ArenaRequests<v1::CompleteTasksRequest, v1::CompleteTasksResponse> results_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_FLEET_SERVICE_H_
