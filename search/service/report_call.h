// SPDX-License-Identifier: Apache-2.0
// GetReport: takes a snapshot of the job, renders it on one of gRPC's threads, sends it in chunks.
#ifndef FORALL_SEARCH_SERVICE_REPORT_CALL_H_
#define FORALL_SEARCH_SERVICE_REPORT_CALL_H_

#include <grpcpp/grpcpp.h>

#include "proto/forall/v1/search_service.pb.h"
#include "search/service/access/guarded_controller.h"

namespace forall {

// The reactor owns itself and is gone when the stream is. `controller` must outlive it.
grpc::ServerWriteReactor<v1::ReportChunk>* StartReport(grpc::CallbackServerContext* context,
                                                       const v1::GetReportRequest& request,
                                                       const GuardedController* controller);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_REPORT_CALL_H_
