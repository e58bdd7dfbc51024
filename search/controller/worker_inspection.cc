// SPDX-License-Identifier: Apache-2.0
#include "search/controller/worker_inspection.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"

namespace forall {
namespace {

constexpr int kMaxReadings = 200;
constexpr size_t kMaxText = 1024;
constexpr double kNanosPerMilli = 1e6;

v1::VerdictCount VerdictView(VerdictState state, const WorkerLatencies::Verdicts& verdicts) {
  v1::VerdictCount view;
  view.set_state(static_cast<v1::Verdict::State>(state));
  view.set_count(verdicts.count);
  std::vector<std::pair<std::string, int64_t>> reasons(verdicts.reasons.begin(),
                                                       verdicts.reasons.end());
  std::stable_sort(reasons.begin(), reasons.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [reason, count] : reasons) {
    v1::VerdictCount::ReasonCount* counted = view.add_reasons();
    counted->set_reason(reason);
    counted->set_count(count);
  }
  return view;
}

v1::BaselineInUse BaselineView(const BaselineRecord& baseline, const WorkerLatencies* measured,
                               const WorkerNews& news) {
  v1::BaselineInUse view;
  view.set_id(baseline.id);
  view.set_reference_ms(baseline.reference_ms);
  *view.mutable_create_time() = ToTimestamp(baseline.create_time);
  if (const auto* calibration = news.FindCalibration(baseline.id); calibration != nullptr) {
    view.set_calibrated_ms(calibration->reference_ms);
    *view.mutable_calibrated_time() = ToTimestamp(calibration->time);
  }
  if (measured == nullptr) return view;
  const auto last = measured->baselines().find(baseline.id);
  if (last == measured->baselines().end()) return view;
  view.set_batch(last->second.batch);
  view.set_last_reference_ms(last->second.reference_ms);
  *view.mutable_last_time() = ToTimestamp(last->second.time);
  return view;
}

void AddBaselines(const Registry& registry, const WorkerLatencies* measured, const WorkerNews& news,
                  v1::WorkerInspection* inspection) {
  const v1::Worker& worker = inspection->worker();
  const std::string device = ParseDeviceName(worker.device().name()).value_or("");
  std::vector<v1::BaselineInUse> in_use;
  int former = 0;
  for (const auto& [id, baseline] : registry.index.baselines()) {
    if (baseline.device != device) continue;
    const bool current = baseline.device_fingerprint == worker.device().fingerprint() &&
                         baseline.profile == worker.profile().hash();
    if (current) {
      in_use.push_back(BaselineView(baseline, measured, news));
    } else {
      ++former;
    }
  }
  std::sort(in_use.begin(), in_use.end(), [](const auto& a, const auto& b) {
    return std::forward_as_tuple(a.batch(), a.id()) < std::forward_as_tuple(b.batch(), b.id());
  });
  for (v1::BaselineInUse& baseline : in_use) *inspection->add_baselines() = std::move(baseline);
  inspection->set_former_baselines(former);
}

}  // namespace

void WorkerNews::NoteReadings(const google::protobuf::Map<std::string, std::string>& readings,
                              absl::Time now) {
  if (readings.empty()) return;
  readings_ = readings;
  readings_time_ = now;
}

void WorkerNews::NoteLatency(const v1::LatencyResult& latency, const std::string& baseline_id,
                             absl::Time now) {
  NoteReadings(latency.environment(), now);
  if (latency.calibrated_reference_ns() <= 0 || baseline_id.empty()) return;
  const bool full = calibrations_.size() >= WorkerLatencies::kMostBaselines;
  if (full && calibrations_.count(baseline_id) == 0) return;
  calibrations_[baseline_id] = {latency.calibrated_reference_ns() / kNanosPerMilli, now};
}

const WorkerNews::Calibration* WorkerNews::FindCalibration(const std::string& baseline_id) const {
  const auto it = calibrations_.find(baseline_id);
  return it == calibrations_.end() ? nullptr : &it->second;
}

absl::Status CheckReadings(const v1::HeartbeatRequest& request) {
  if (request.readings_size() > kMaxReadings) {
    return absl::InvalidArgumentError(
        absl::StrCat("readings: at most ", kMaxReadings, " pairs, got ", request.readings_size()));
  }
  for (const auto& [name, value] : request.readings()) {
    if (name.size() > kMaxText || value.size() > kMaxText) {
      return absl::InvalidArgumentError(
          absl::StrCat("readings: a text of more than ", kMaxText, " bytes"));
    }
  }
  return absl::OkStatus();
}

v1::WorkerInspection InspectionOf(const Registry& registry, const v1::Worker& worker,
                                  const WorkerNews& news, int latencies) {
  v1::WorkerInspection inspection;
  *inspection.mutable_worker() = worker;
  *inspection.mutable_readings() = news.readings();
  if (!news.readings().empty()) {
    *inspection.mutable_readings_time() = ToTimestamp(news.readings_time());
  }
  const WorkerLatencies* const measured =
      registry.index.FindWorkerLatencies(ParseWorkerName(worker.name()).value_or(""));
  AddBaselines(registry, measured, news, &inspection);
  if (measured == nullptr) return inspection;
  const auto& last = measured->last();
  for (auto it = last.rbegin(); it != last.rend() && inspection.latencies_size() < latencies;
       ++it) {
    *inspection.add_latencies() = MeasurementView(registry, **it);
  }
  for (const auto& [state, verdicts] : measured->verdicts()) {
    *inspection.add_verdicts() = VerdictView(state, verdicts);
  }
  return inspection;
}

}  // namespace forall
