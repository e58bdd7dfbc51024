// SPDX-License-Identifier: Apache-2.0
// The one place where a status becomes gRPC's.
#ifndef FORALL_SEARCH_SERVICE_GRPC_STATUS_H_
#define FORALL_SEARCH_SERVICE_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace forall {

// Same code; the message is cut at 1,024 bytes, since it travels in a header of limited size, and
// has no byte that a header must not hold.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_GRPC_STATUS_H_
