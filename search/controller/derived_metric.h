// SPDX-License-Identifier: Apache-2.0
// Metrics that follow from another measurement: throughput_ips from latency_ms, carbon_mg from
// energy_mj and the grid's intensity. Pure.
#ifndef FORALL_SEARCH_CONTROLLER_DERIVED_METRIC_H_
#define FORALL_SEARCH_CONTROLLER_DERIVED_METRIC_H_

#include <string>
#include <vector>

#include "search/store/result_store.h"
#include "space/metric_registry.h"

namespace forall {

// What MeasurementKey::dataset says of a carbon_mg: "386 g/kWh". "" for 0.
std::string GridName(double grams_per_kwh);
// The intensity in such a name; 0 when it is none.
double GridIntensity(const std::string& name);

// The metric that has to be measured for this one: itself, or what it is derived from.
const std::string& MeasuredFor(const MetricInfo& metric);

// `source` must be a measurement of metric.derived_from; the grid matters to carbon_mg alone.
// Without id; of the same task and trial, with the same verdict.
MeasurementRecord Derive(const MeasurementRecord& source, const MetricInfo& metric,
                         double grid_grams_per_kwh);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_DERIVED_METRIC_H_
