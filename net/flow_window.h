// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_NET_FLOW_WINDOW_H_
#define FORALL_NET_FLOW_WINDOW_H_

namespace forall {

// How much a worker and the controller may send each other ahead of what the other has read
// (HTTP/2's window, GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES). It is fixed, and gRPC's probing for the
// bandwidth-delay product (GRPC_ARG_HTTP2_BDP_PROBE) is off: it sends a ping, and waits on a timer,
// with nearly every message of a fleet whose workers each have something to say every second. A
// model goes up or down at 20 MB/s over a path of 50 ms.
inline constexpr int kFlowWindowBytes = 1 << 20;

}  // namespace forall

#endif  // FORALL_NET_FLOW_WINDOW_H_
