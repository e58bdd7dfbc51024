// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_history.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "search/controller/latency_rules.h"
#include "search/sampler/known_subnets.h"

namespace forall {
namespace {

// Networks, the latest first. The controller's lock is held meanwhile: some tens of milliseconds.
constexpr size_t kMostLookedAt = 10'000;

class Search {
 public:
  Search(const Registry& registry, const JobFold& fold)
      : index_(registry.index),
        fold_(fold),
        plan_(fold.plan()),
        calibration_(CalibrationKey(plan_.spec())),
        up_to_(fold.record().history_snapshot),
        least_screening_runs_(LeastLatencyRuns(plan_.LatencyRules("screening"), "screening")),
        least_final_runs_(LeastLatencyRuns(plan_.LatencyRules("final"), "final")) {
    const v1::Fidelity& fidelity = plan_.spec().fidelity();
    // The first tier is what screening_images is filled with.
    images_.assign(fidelity.tiers().rbegin(), fidelity.tiers().rend());
    if (images_.empty()) images_.push_back(fidelity.screening_images());
  }

  // Empty where nothing is known.
  std::vector<int64_t> Measurements(const TrialEntry& trial) const {
    std::vector<int64_t> found;
    const ExportRecord* const exported = index_.FindExport(
        fold_.record().supernet_sha256, trial.record.arch_key, plan_.spec().recipe(), calibration_);
    const std::string artifact = exported == nullptr ? "" : exported->artifact_sha256;
    for (const MetricSlot& slot : plan_.slots()) {
      int64_t id = 0;
      if (slot.metric->source == MetricSource::kAccuracy) id = Accuracy(slot, artifact);
      if (slot.metric->source == MetricSource::kLatency) id = Latency(slot, trial, artifact);
      found.push_back(id);
    }
    const bool any = std::any_of(found.begin(), found.end(), [](int64_t id) { return id != 0; });
    return any ? found : std::vector<int64_t>();
  }

  // As the job's sampler will see it, from what `other`, whose trial it is, knows already.
  ScoredTrial Score(const JobFold& other, const TrialEntry& trial,
                    const std::vector<int64_t>& measurements) const {
    const bool same_recipe = other.plan().spec().recipe() == plan_.spec().recipe();
    const Costs costs = same_recipe ? trial.costs : plan_.CostsOf(trial.architecture);
    const bool same_predictor =
        other.plan().spec().accuracy_predictor() == plan_.spec().accuracy_predictor();
    std::vector<double> values;
    for (size_t slot = 0; slot < measurements.size(); ++slot) {
      const MetricSlot& wanted = plan_.slots()[slot];
      std::optional<double> value;
      if (measurements[slot] != 0) {
        value = index_.Find(measurements[slot])->value;
      } else if (wanted.metric->source == MetricSource::kPrediction && same_predictor) {
        value = trial.predicted_accuracy;
      } else {
        value = plan_.KnownValue(wanted, trial.architecture, &costs);
      }
      values.push_back(value.value_or(std::numeric_limits<double>::quiet_NaN()));
    }
    return {0, {}, plan_.Oriented(values), plan_.Violation(values), plan_.OrientedLimited(values)};
  }

 private:
  int64_t Accuracy(const MetricSlot& slot, const std::string& artifact) const {
    if (artifact.empty()) return 0;
    for (const int32_t images : images_) {
      const int64_t id = index_.FindAccuracy(artifact, slot.metric->id, plan_.spec().dataset(),
                                             "validation", images, up_to_);
      if (id != 0) return id;
    }
    return 0;
  }

  // In the order in which JobController::HaveLatency reuses them.
  int64_t Latency(const MetricSlot& slot, const TrialEntry& trial,
                  const std::string& artifact) const {
    if (!fold_.bindings()[slot.target].has_value()) return 0;
    const int64_t screening =
        index_.FindLatency(LatencyKeyOf(fold_, slot, LatencyGraphKey(plan_, trial, slot.target)),
                           FidelityLevel::kScreening, least_screening_runs_, up_to_);
    if (screening != 0 || artifact.empty()) return screening;
    return index_.FindLatency(LatencyKeyOf(fold_, slot, artifact), FidelityLevel::kFinal,
                              least_final_runs_, up_to_);
  }

  const MeasurementIndex& index_;
  const JobFold& fold_;
  const JobPlan& plan_;
  const std::string calibration_;
  const int64_t up_to_;
  const int64_t least_screening_runs_;
  const int64_t least_final_runs_;
  std::vector<int32_t> images_;  // of accuracies, the best first
};

}  // namespace

std::vector<KnownSubnet> FindHistory(const Registry& registry, const JobFold& fold) {
  std::vector<KnownSubnet> subnets;
  if (!fold.plan().measures() || fold.record().history_snapshot == 0) return subnets;
  const SearchSpace& space = fold.plan().family().search_space();
  const Search search(registry, fold);
  std::vector<ScoredTrial> rows;
  std::vector<double> costs;
  absl::flat_hash_set<absl::string_view> seen;
  // Measurements up to the snapshot are of jobs that were there before.
  for (auto job = registry.jobs.lower_bound(fold.record().id); job != registry.jobs.begin();) {
    const JobFold& other = (--job)->second->fold();
    if (other.plan().family().search_space().id() != space.id() ||
        other.plan().family().search_space().revision() != space.revision()) {
      continue;
    }
    for (auto trial = other.trials().rbegin(); trial != other.trials().rend(); ++trial) {
      if (seen.size() == kMostLookedAt) break;
      if (!seen.insert(trial->record.arch_key).second) continue;
      std::vector<int64_t> measurements = search.Measurements(*trial);
      if (measurements.empty()) continue;
      rows.push_back(search.Score(other, *trial, measurements));
      costs.push_back(static_cast<double>(trial->costs.macs));
      subnets.push_back({trial->record.choices, std::move(measurements)});
    }
  }
  std::vector<size_t> chosen = ChooseKnown(rows, costs);
  std::reverse(chosen.begin(), chosen.end());
  std::vector<KnownSubnet> history;
  for (const size_t row : chosen) history.push_back(std::move(subnets[row]));
  return history;
}

int64_t CountComplete(const JobFold& fold, const std::vector<KnownSubnet>& subnets) {
  return std::count_if(subnets.begin(), subnets.end(), [&](const KnownSubnet& subnet) {
    for (size_t slot = 0; slot < subnet.measurements.size(); ++slot) {
      if (subnet.measurements[slot] == 0 && !IsKnownUnmeasured(*fold.plan().slots()[slot].metric))
        return false;
    }
    return true;
  });
}

}  // namespace forall
