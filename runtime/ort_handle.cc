// SPDX-License-Identifier: Apache-2.0
#include "runtime/ort_handle.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace forall {

absl::Status ToStatus(const OrtApi& api, OrtStatus* status, absl::string_view doing,
                      absl::StatusCode otherwise) {
  if (status == nullptr) return absl::OkStatus();
  const std::string message = absl::StrCat(doing, ": ", api.GetErrorMessage(status));
  const OrtErrorCode ort_code = api.GetErrorCode(status);
  api.ReleaseStatus(status);
  // The C API has no code for lack of memory, so here the text has to tell.
  if (absl::StrContains(message, "bad_alloc") || absl::StrContains(message, "bad allocation") ||
      absl::StrContains(message, "Failed to allocate memory")) {
    return absl::ResourceExhaustedError(message);
  }
  switch (ort_code) {
    case ORT_INVALID_ARGUMENT:
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH:
    case ORT_NO_MODEL:
    case ORT_NOT_IMPLEMENTED:
      return absl::InvalidArgumentError(message);
    case ORT_EP_FAIL:
      return absl::FailedPreconditionError(message);
    default:
      return absl::Status(otherwise, message);
  }
}

}  // namespace forall
