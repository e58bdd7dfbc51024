// SPDX-License-Identifier: Apache-2.0
#include "space/metric_registry.h"

#include "absl/strings/str_join.h"
#include "base/log.h"

namespace forall {

const std::vector<MetricInfo>& Metrics() {
  static const auto* const metrics = new std::vector<MetricInfo>{
      {"accuracy_top1", "top-1 accuracy", "%", true, MetricSource::kAccuracy},
      {"accuracy_top5", "top-5 accuracy", "%", true, MetricSource::kAccuracy},
      {"predicted_accuracy_top1", "predicted top-1 accuracy", "%", true, MetricSource::kPrediction},
      {"latency_ms", "latency (median)", "ms", false, MetricSource::kLatency},
      {"latency_p90_ms", "latency (90th percentile)", "ms", false, MetricSource::kLatency, 90},
      {"latency_p95_ms", "latency (95th percentile)", "ms", false, MetricSource::kLatency, 95},
      {"latency_p99_ms", "latency (99th percentile)", "ms", false, MetricSource::kLatency, 99},
      {kThroughput, "throughput", "images/s", true, MetricSource::kLatency, 0, kMedianLatency},
      {kPeakMemory, "peak resident memory", "MiB", false, MetricSource::kLatency},
      {kEnergy, "energy of an inference", "mJ", false, MetricSource::kLatency},
      {kCarbon, "carbon of an inference", "mg CO2e", false, MetricSource::kLatency, 0, kEnergy},
      {"predicted_latency_ms", "predicted latency", "ms", false, MetricSource::kTable},
      {"macs", "multiply-accumulates", "", false, MetricSource::kExactCost},
      {"params", "parameters", "", false, MetricSource::kExactCost},
      {"model_bytes", "model size", "bytes", false, MetricSource::kExactCost},
      {"peak_activation_bytes", "peak activation memory", "bytes", false, MetricSource::kExactCost},
  };
  return *metrics;
}

const MetricInfo* FindMetric(absl::string_view id) {
  for (const MetricInfo& metric : Metrics()) {
    if (metric.id == id) return &metric;
  }
  return nullptr;
}

std::string KnownMetricIds() {
  return absl::StrJoin(Metrics(), ", ",
                       [](std::string* out, const MetricInfo& metric) { out->append(metric.id); });
}

int64_t Costs::*CostMember(absl::string_view metric_id) {
  if (metric_id == "macs") return &Costs::macs;
  if (metric_id == "params") return &Costs::params;
  if (metric_id == "model_bytes") return &Costs::model_bytes;
  FORALL_CHECK(metric_id == "peak_activation_bytes") << "not an exact cost: " << metric_id;
  return &Costs::peak_activation_bytes;
}

double ExactCost(const Costs& costs, absl::string_view metric_id) {
  return static_cast<double>(costs.*CostMember(metric_id));
}

}  // namespace forall
