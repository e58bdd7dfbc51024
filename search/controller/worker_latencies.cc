// SPDX-License-Identifier: Apache-2.0
#include "search/controller/worker_latencies.h"

namespace forall {

void WorkerLatencies::Note(const MeasurementRecord& latency) {
  last_.push_back(&latency);
  if (last_.size() > kLast) last_.pop_front();
  Verdicts& verdicts = verdicts_[latency.verdict];
  ++verdicts.count;
  for (const std::string& reason : latency.reasons) {
    const bool full = verdicts.reasons.size() >= kMostReasons;
    ++verdicts.reasons[full && verdicts.reasons.count(reason) == 0 ? "other" : reason];
  }
  if (latency.baseline_id.empty()) return;
  const auto known = baselines_.find(latency.baseline_id);
  if (known == baselines_.end() && baselines_.size() >= kMostBaselines) return;
  baselines_[latency.baseline_id] = {latency.key.batch, latency.reference_median_ms, latency.time};
}

}  // namespace forall
