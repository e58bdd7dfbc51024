// SPDX-License-Identifier: Apache-2.0
// How many calls of each method ended how.
#ifndef FORALL_SEARCH_SERVICE_RPC_METRICS_H_
#define FORALL_SEARCH_SERVICE_RPC_METRICS_H_

#include <grpcpp/support/server_interceptor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "search/controller/metrics.h"

namespace forall {

// Thread-safe.
class RpcMetrics {
 public:
  // `method` as gRPC names it: "/forall.v1.FleetService/Heartbeat".
  void Count(const std::string& method, grpc::StatusCode code);
  // forall_rpcs_total{method, code}.
  MetricFamily Collect() const;

 private:
  mutable Mutex mu_;
  std::map<std::pair<std::string, int>, int64_t> counts_ ABSL_GUARDED_BY(mu_);
};

// For a server's builder: counts every call whose status is sent. `metrics` is not owned and must
// outlive the server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> CountRpcs(
    RpcMetrics* metrics);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_RPC_METRICS_H_
