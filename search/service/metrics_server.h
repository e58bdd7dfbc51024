// SPDX-License-Identifier: Apache-2.0
// Serves metrics over HTTP, under /metrics, in Prometheus' text format.
#ifndef FORALL_SEARCH_SERVICE_METRICS_SERVER_H_
#define FORALL_SEARCH_SERVICE_METRICS_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "search/controller/metrics.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace forall {

// Thread-safe.
class MetricsServer {
 public:
  using Collect = std::function<std::vector<MetricFamily>()>;

  // `listen` is HOST:PORT of this machine alone, since there is no TLS: 127.0.0.1, localhost; port
  // 0 takes a free one. `collect` is called on the server's threads until it is destroyed.
  // InvalidArgument: no HOST:PORT. FailedPrecondition: not loopback. Unavailable: the port is in
  // use.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& listen,
                                                              Collect collect);
  ~MetricsServer();

  int port() const { return port_; }

 private:
  class Adapter;
  MetricsServer();

  std::shared_ptr<Adapter> adapter_;
  std::unique_ptr<prometheus::Exposer> exposer_;  // before the adapter goes
  int port_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_METRICS_SERVER_H_
