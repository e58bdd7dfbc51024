// SPDX-License-Identifier: Apache-2.0
// Early return on error. The semantics are those of upstream Abseil's newer ABSL_* macros.
//
//   FORALL_RETURN_IF_ERROR(file.Sync());
//   FORALL_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
#ifndef FORALL_BASE_STATUS_MACROS_H_
#define FORALL_BASE_STATUS_MACROS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace forall {

// `status` with "context: " before its message; OK stays OK. Use it while passing an error up.
inline absl::Status WithContext(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace forall

#define FORALL_STATUS_CONCAT_INNER_(x, y) x##y
#define FORALL_STATUS_CONCAT_(x, y) FORALL_STATUS_CONCAT_INNER_(x, y)

#define FORALL_RETURN_IF_ERROR(expr)                                                    \
  do {                                                                                  \
    if (absl::Status forall_status = (expr); !forall_status.ok()) return forall_status; \
  } while (false)

#define FORALL_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                  \
  if (!tmp.ok()) return tmp.status();                 \
  lhs = std::move(tmp).value()

#define FORALL_ASSIGN_OR_RETURN(lhs, expr) \
  FORALL_ASSIGN_OR_RETURN_IMPL_(FORALL_STATUS_CONCAT_(forall_statusor_, __LINE__), lhs, expr)

#endif  // FORALL_BASE_STATUS_MACROS_H_
