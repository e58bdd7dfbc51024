// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/task_failure.h"

#include <string>

namespace forall {
namespace {

v1::TaskFailure::Reason ReasonOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return v1::TaskFailure::DETERMINISTIC;
    case absl::StatusCode::kResourceExhausted:
      return v1::TaskFailure::OUT_OF_MEMORY;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kDataLoss:
      return v1::TaskFailure::WORKER_UNABLE;
    default:
      return v1::TaskFailure::TRANSIENT;
  }
}

}  // namespace

v1::TaskFailure ToTaskFailure(const absl::Status& status) {
  v1::TaskFailure failure;
  failure.set_reason(ReasonOf(status.code()));
  failure.set_message(std::string(status.message()));
  return failure;
}

}  // namespace forall
