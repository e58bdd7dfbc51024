// SPDX-License-Identifier: Apache-2.0
#include "search/service/metrics_server.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include <exception>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "net/host_port.h"

namespace forall {
namespace {

constexpr size_t kThreads = 1;  // one scraper at a time is answered; others wait

prometheus::MetricType TypeOf(MetricFamily::Type type) {
  switch (type) {
    case MetricFamily::Type::kCounter:
      return prometheus::MetricType::Counter;
    case MetricFamily::Type::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricFamily::Type::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::ClientMetric::Histogram Convert(const HistogramSnapshot& snapshot) {
  prometheus::ClientMetric::Histogram histogram;
  uint64_t total = 0;
  for (size_t i = 0; i < snapshot.counts.size(); ++i) {
    total += snapshot.counts[i];
    const double bound =
        i < snapshot.bounds.size() ? snapshot.bounds[i] : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({total, bound});
  }
  histogram.sample_count = total;
  histogram.sample_sum = snapshot.sum;
  return histogram;
}

prometheus::MetricFamily Convert(MetricFamily family) {
  prometheus::MetricFamily converted;
  converted.name = std::move(family.name);
  converted.help = std::move(family.help);
  converted.type = TypeOf(family.type);
  for (MetricFamily::Sample& sample : family.samples) {
    prometheus::ClientMetric metric;
    for (auto& [name, value] : sample.labels) {
      metric.label.push_back({std::move(name), std::move(value)});
    }
    metric.counter.value = sample.value;
    metric.gauge.value = sample.value;
    if (family.type == MetricFamily::Type::kHistogram) metric.histogram = Convert(sample.histogram);
    converted.metric.push_back(std::move(metric));
  }
  return converted;
}

}  // namespace

class MetricsServer::Adapter : public prometheus::Collectable {
 public:
  explicit Adapter(MetricsServer::Collect collect) : collect_(std::move(collect)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<prometheus::MetricFamily> families;
    for (MetricFamily& family : collect_()) families.push_back(Convert(std::move(family)));
    return families;
  }

 private:
  const MetricsServer::Collect collect_;
};

MetricsServer::MetricsServer() = default;
MetricsServer::~MetricsServer() = default;

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& listen,
                                                                    Collect collect) {
  const absl::StatusOr<bool> loopback = IsLoopback(listen);
  if (!loopback.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics-listen: want HOST:PORT, e.g. 127.0.0.1:7412, got ", listen));
  }
  if (!*loopback) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--metrics-listen: other machines reach ", listen,
        ", and metrics are served without TLS; listen on 127.0.0.1 and let a proxy or an agent on "
        "this machine pass them on"));
  }
  std::string address = listen;
  if (absl::StartsWith(address, "localhost:")) address.replace(0, 9, "127.0.0.1");
  std::unique_ptr<MetricsServer> server(new MetricsServer());
  server->adapter_ = std::make_shared<Adapter>(std::move(collect));
  // The library throws where the address cannot be had.
  try {
    server->exposer_ = std::make_unique<prometheus::Exposer>(address, kThreads);
    server->port_ = server->exposer_->GetListeningPorts().at(0);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("--metrics-listen: cannot listen on ", listen,
                                               ": the port is in use (", error.what(), ")"));
  }
  server->exposer_->RegisterCollectable(server->adapter_);
  return server;
}

}  // namespace forall
