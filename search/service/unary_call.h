// SPDX-License-Identifier: Apache-2.0
// A unary RPC that a controller's method answers, on whatever thread that happens: no thread waits.
#ifndef FORALL_SEARCH_SERVICE_UNARY_CALL_H_
#define FORALL_SEARCH_SERVICE_UNARY_CALL_H_

#include <grpcpp/grpcpp.h>

#include <utility>

#include "search/controller/controller.h"
#include "search/service/access/guarded_controller.h"
#include "search/service/grpc_status.h"

namespace forall {

// `call(pass, request, done)` asks the pass's controller.
template <typename Request, typename Response, typename Call>
grpc::ServerUnaryReactor* AnswerUnaryBy(grpc::CallbackServerContext* context,
                                        const GuardedController* controller, const Call& call,
                                        const Request& request, Response* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::StatusOr<GuardedController::Pass> pass = controller->Admit(*context, request);
  if (!pass.ok()) {
    reactor->Finish(ToGrpcStatus(pass.status()));
    return reactor;
  }
  call(*pass, request, [context, reactor, response, pass = *pass](absl::StatusOr<Response> answer) {
    const grpc::Status status = ToGrpcStatus(answer.status());
    // Understood by gRPC's own retries (gRFC A6), and read by whoever retries otherwise.
    if (absl::IsResourceExhausted(answer.status())) {
      context->AddTrailingMetadata("grpc-retry-pushback-ms", "1000");
    }
    pass.NoteEnd(answer.status(), answer.ok() ? &*answer : nullptr);
    if (answer.ok()) *response = *std::move(answer);
    reactor->Finish(status);
  });
  return reactor;
}

template <typename Request, typename Response>
grpc::ServerUnaryReactor* AnswerUnary(grpc::CallbackServerContext* context,
                                      const GuardedController* controller,
                                      void (Controller::*method)(const Request&, Done<Response>),
                                      const Request& request, Response* response) {
  const auto call = [method](const GuardedController::Pass& pass, const Request& what,
                             Done<Response> done) {
    (pass.controller()->*method)(what, std::move(done));
  };
  return AnswerUnaryBy(context, controller, call, request, response);
}

// For what depends on who asks.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* AnswerUnary(grpc::CallbackServerContext* context,
                                      const GuardedController* controller,
                                      void (Controller::*method)(const Principal&, const Request&,
                                                                 Done<Response>),
                                      const Request& request, Response* response) {
  const auto call = [method](const GuardedController::Pass& pass, const Request& what,
                             Done<Response> done) {
    (pass.controller()->*method)(pass.principal(), what, std::move(done));
  };
  return AnswerUnaryBy(context, controller, call, request, response);
}

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_UNARY_CALL_H_
