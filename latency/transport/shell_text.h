// SPDX-License-Identifier: Apache-2.0
// Text for a POSIX shell on a device.
#ifndef FORALL_LATENCY_TRANSPORT_SHELL_TEXT_H_
#define FORALL_LATENCY_TRANSPORT_SHELL_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

// One word of a command line that a shell takes as exactly these bytes. InvalidArgument for a zero
// byte, which no argument can hold.
absl::StatusOr<std::string> ShellQuoted(absl::string_view text);

// The words of a command line.
absl::StatusOr<std::string> ShellCommand(const std::vector<std::string>& argv);

// "export NAME='value'; " for each "NAME=value". InvalidArgument when a name is none.
absl::StatusOr<std::string> ShellExports(const std::vector<std::string>& environment);

// InvalidArgument unless it is 1 to 16 letters, digits and dots.
absl::Status CheckExtension(absl::string_view extension);

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_SHELL_TEXT_H_
