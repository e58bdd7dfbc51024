// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "cli/command.h"

namespace forall {

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 2;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 3;
    case absl::StatusCode::kNotFound:
      return 4;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
      return 5;
    default:
      return 1;
  }
}

std::string Advice(const absl::Status& status, const CommandContext& context) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return absl::StrCat(
          "Is a controller running there? Start one with\n  forall-controller --db forall.db "
          "--listen ",
          context.controller,
          "\nor name another with --controller HOST:PORT or FORALL_CONTROLLER.");
    case absl::StatusCode::kNotFound:
      return "See what there is: forall jobs, forall supernets, forall workers.";
    case absl::StatusCode::kResourceExhausted:
      return "Make room on the controller's disk and try again; nothing that was acknowledged is "
             "lost.";
    default:
      return "";
  }
}

}  // namespace forall
