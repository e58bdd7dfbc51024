// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/device_metrics.h"

#include "absl/strings/str_cat.h"
#include "base/binomial.h"
#include "base/status_macros.h"
#include "evaluator/worker/latency_message.h"
#include "latency/measure/analysis.h"
#include "space/metric_registry.h"

namespace forall {

absl::StatusOr<std::vector<std::string>> MetricsToMeasure(
    const google::protobuf::RepeatedPtrField<std::string>& wanted) {
  std::vector<std::string> metrics;
  for (const std::string& id : wanted) {
    const MetricInfo* const metric = FindMetric(id);
    if (metric == nullptr || metric->source != MetricSource::kLatency) {
      return absl::FailedPreconditionError(
          absl::StrCat("this worker does not know how to measure \"", id, "\": update it"));
    }
    if (metric->derived_from.empty() && id != kMedianLatency) metrics.push_back(id);
  }
  return metrics;
}

Profile ProfileFor(const std::vector<std::string>& metrics, const Profile& profile) {
  Profile longer = profile;
  for (const std::string& id : metrics) {
    const double percentile = FindMetric(id)->percentile;
    if (percentile > 0) longer = ForPercentile(longer, percentile);
  }
  return longer;
}

absl::StatusOr<v1::MeasuredValue> MeasuredPercentile(const std::string& metric,
                                                     const LatencyResult& latency) {
  const double percentile = FindMetric(metric)->percentile;
  const absl::StatusOr<TailEstimate> tail = EstimateTail(latency, percentile);
  if (!tail.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        metric, ": ", tail.status().message(), " in the time that there is; ask for a lower ",
        "percentile (latency_p90_ms needs ", FewestSamplesForPercentile(90), " runs)"));
  }
  v1::MeasuredValue value;
  value.set_metric(metric);
  value.set_value(tail->ratio.value);
  value.set_low(tail->ratio.low);
  value.set_high(tail->ratio.high);
  value.set_samples(tail->samples);
  SetVerdict(tail->verdict, tail->reasons, value.mutable_verdict());
  return value;
}

v1::MeasuredValue MeasuredAlone(const std::string& metric, const LoneMetric& measured) {
  v1::MeasuredValue value;
  value.set_metric(metric);
  SetVerdict(measured.verdict, {}, value.mutable_verdict());
  for (const std::string& reason : measured.reasons) value.mutable_verdict()->add_reasons(reason);
  if (measured.verdict == Verdict::kRejected) return value;
  value.set_value(measured.estimate.value);
  value.set_low(measured.estimate.low);
  value.set_high(measured.estimate.high);
  value.set_samples(measured.samples);
  return value;
}

}  // namespace forall
