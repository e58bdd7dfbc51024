// SPDX-License-Identifier: Apache-2.0
#include "net/host_port.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace forall {

absl::StatusOr<HostPort> ParseHostPort(const std::string& address, int least_port) {
  constexpr int kMostPort = 65535;
  const size_t colon = address.rfind(':');
  HostPort parsed;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(absl::string_view(address).substr(colon + 1), &parsed.port) ||
      parsed.port < least_port || parsed.port > kMostPort) {
    return absl::InvalidArgumentError(absl::StrCat("want HOST:PORT with a port from ", least_port,
                                                   " to ", kMostPort, ", got \"", address, "\""));
  }
  parsed.host = address.substr(0, colon);
  return parsed;
}

absl::StatusOr<bool> IsLoopback(const std::string& address) {
  FORALL_ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(address, 0));
  return parsed.host == "localhost" || parsed.host == "127.0.0.1" || parsed.host == "[::1]";
}

}  // namespace forall
