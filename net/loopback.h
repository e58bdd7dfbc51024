// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_NET_LOOPBACK_H_
#define FORALL_NET_LOOPBACK_H_

#include <string>

#include "absl/status/statusor.h"

namespace forall {

// Whether HOST:PORT is this machine's own 127.0.0.1, [::1] or localhost: what no other machine
// reaches. False also for the rest of 127.0.0.0/8, which gRPC's local credentials do not take.
// InvalidArgument, naming no flag, when it is no HOST:PORT with a port from 0 to 65535.
absl::StatusOr<bool> IsLoopback(const std::string& address);

}  // namespace forall

#endif  // FORALL_NET_LOOPBACK_H_
