// SPDX-License-Identifier: Apache-2.0
// Addresses as people write them: HOST:PORT.
#ifndef FORALL_NET_HOST_PORT_H_
#define FORALL_NET_HOST_PORT_H_

#include <string>

#include "absl/status/statusor.h"

namespace forall {

struct HostPort {
  std::string host;  // "lab", "10.0.0.5", "[::1]"
  int port = 0;
};

// InvalidArgument, naming no flag, when it is no HOST:PORT with a port from `least_port` to 65535;
// 0 is the port of a listener that takes a free one.
absl::StatusOr<HostPort> ParseHostPort(const std::string& address, int least_port);

// Whether HOST:PORT is this machine's own 127.0.0.1, [::1] or localhost: what no other machine
// reaches. False also for the rest of 127.0.0.0/8, which gRPC's local credentials do not take.
// Errors as ParseHostPort from port 0 on.
absl::StatusOr<bool> IsLoopback(const std::string& address);

}  // namespace forall

#endif  // FORALL_NET_HOST_PORT_H_
