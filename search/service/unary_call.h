// SPDX-License-Identifier: Apache-2.0
// A unary RPC that a controller's method answers, on whatever thread that happens: no thread waits.
#ifndef FORALL_SEARCH_SERVICE_UNARY_CALL_H_
#define FORALL_SEARCH_SERVICE_UNARY_CALL_H_

#include <grpcpp/grpcpp.h>

#include <utility>

#include "search/controller/controller.h"
#include "search/service/grpc_status.h"

namespace forall {

template <typename Request, typename Response>
grpc::ServerUnaryReactor* AnswerUnary(grpc::CallbackServerContext* context, Controller* controller,
                                      void (Controller::*method)(const Request&, Done<Response>),
                                      const Request& request, Response* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  (controller->*method)(request, [reactor, response](absl::StatusOr<Response> answer) {
    const grpc::Status status = ToGrpcStatus(answer.status());
    if (answer.ok()) *response = *std::move(answer);
    reactor->Finish(status);
  });
  return reactor;
}

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_UNARY_CALL_H_
