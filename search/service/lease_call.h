// SPDX-License-Identifier: Apache-2.0
// LeaseTasks: a long poll that holds no thread, and that gives tasks back when its client has gone
// before they could be delivered.
#ifndef FORALL_SEARCH_SERVICE_LEASE_CALL_H_
#define FORALL_SEARCH_SERVICE_LEASE_CALL_H_

#include <grpcpp/grpcpp.h>

#include <string>

#include "proto/forall/v1/fleet_service.pb.h"
#include "search/service/access/guarded_controller.h"

namespace forall {

// The reactor owns itself and is gone when the call is. `controller` must outlive it.
grpc::ServerUnaryReactor* StartLease(grpc::CallbackServerContext* context,
                                     const v1::LeaseTasksRequest& request,
                                     v1::LeaseTasksResponse* response,
                                     const GuardedController* controller);

// Gives back what could not be delivered. Should that fail, the leases run out by themselves.
void GiveBack(const std::string& worker, const std::string& instance,
              const v1::LeaseTasksResponse& leased, Controller* controller);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_LEASE_CALL_H_
