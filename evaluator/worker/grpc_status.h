// SPDX-License-Identifier: Apache-2.0
// gRPC's status as ours: the codes are the same numbers.
#ifndef FORALL_EVALUATOR_WORKER_GRPC_STATUS_H_
#define FORALL_EVALUATOR_WORKER_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace forall {

inline absl::Status FromGrpcStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_GRPC_STATUS_H_
