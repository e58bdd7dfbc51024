// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_NET_ARTIFACT_CHUNK_H_
#define FORALL_NET_ARTIFACT_CHUNK_H_

#include <cstddef>

namespace forall {

// The most bytes of an artifact in one message of an upload or a download, and what their senders
// take. Controller and workers leave gRPC's probing for the bandwidth-delay product off
// (GRPC_ARG_HTTP2_BDP_PROBE): it costs a ping and a timer beside nearly every call of a fleet whose
// workers have something to say a few times a second. Without it HTTP/2's windows are as large as
// the message that is waited for, so that one of these crosses the path in each round trip: no more
// than 20 MB/s at 50 ms. GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES does not help: it widens the windows
// of streams, and not that of the connection (gRPC 1.51).
inline constexpr size_t kArtifactChunkBytes = size_t{1} << 20;

}  // namespace forall

#endif  // FORALL_NET_ARTIFACT_CHUNK_H_
