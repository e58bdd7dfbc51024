// SPDX-License-Identifier: Apache-2.0
#include "search/service/grpc_status.h"

#include <string>

namespace forall {
namespace {

constexpr size_t kMaxMessage = 1024;

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // absl::StatusCode has gRPC's numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(status.message().substr(0, kMaxMessage)));
}

}  // namespace forall
