// SPDX-License-Identifier: Apache-2.0
// WatchSearchJob: a stream that follows one job. Changes that come faster than the client reads are
// sent together; while nothing changes no thread is held.
#ifndef FORALL_SEARCH_SERVICE_WATCH_CALL_H_
#define FORALL_SEARCH_SERVICE_WATCH_CALL_H_

#include <grpcpp/grpcpp.h>

#include "proto/forall/v1/search_service.pb.h"
#include "search/service/access/guarded_controller.h"

namespace forall {

// The reactor owns itself and is gone when the stream is. `controller` must outlive it.
grpc::ServerWriteReactor<v1::SearchJobUpdate>* StartWatch(grpc::CallbackServerContext* context,
                                                          const v1::WatchSearchJobRequest& request,
                                                          const GuardedController* controller);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_WATCH_CALL_H_
