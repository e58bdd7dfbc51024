// SPDX-License-Identifier: Apache-2.0
// What can be an objective or a constraint: one entry per metric. Store, wire and Pareto code know
// metrics by id only, so that a new one is a new line here plus whoever measures it.
#ifndef FORALL_SPACE_METRIC_REGISTRY_H_
#define FORALL_SPACE_METRIC_REGISTRY_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "space/cost_model.h"

namespace forall {

// What a device finds out, besides a latency's percentiles. Latency, energy and carbon are of one
// inference of the whole batch.
inline constexpr char kMedianLatency[] = "latency_ms";
inline constexpr char kEnergy[] = "energy_mj";
inline constexpr char kCarbon[] = "carbon_mg";
inline constexpr char kThroughput[] = "throughput_ips";
inline constexpr char kPeakMemory[] = "peak_memory_mib";

// kLatency: whatever a task that times a subnet on a device finds out, energy and memory too.
// kPrediction: of a predictor that the job names; kTable: the sum over a latency table that the job
// names. Both are known as soon as an architecture is, and are no measurements.
enum class MetricSource { kExactCost, kPrediction, kTable, kAccuracy, kLatency };

struct MetricInfo {
  std::string id;     // "accuracy_top1", "latency_ms", "macs", ...
  std::string label;  // for people: "top-1 accuracy"
  std::string unit;   // "%", "ms", "", "bytes", ...
  bool higher_is_better = false;
  MetricSource source = MetricSource::kExactCost;
  double percentile = 0;     // of a latency: which one; 0: none, or the median
  std::string derived_from;  // the metric that it is computed from; "": none
};

// Every metric, in the order of the documentation.
const std::vector<MetricInfo>& Metrics();
// Whether nothing is measured and nobody here can say how far off it is.
inline bool IsPredicted(const MetricInfo& metric) {
  return metric.source == MetricSource::kPrediction || metric.source == MetricSource::kTable;
}
// nullptr when there is none of that id.
const MetricInfo* FindMetric(absl::string_view id);
// "accuracy_top1, accuracy_top5, ..." for error messages.
std::string KnownMetricIds();

// The value of a metric whose source is kExactCost, and which of the costs that is.
int64_t Costs::*CostMember(absl::string_view metric_id);
double ExactCost(const Costs& costs, absl::string_view metric_id);

}  // namespace forall

#endif  // FORALL_SPACE_METRIC_REGISTRY_H_
