// SPDX-License-Identifier: Apache-2.0
#include "search/controller/random_baseline.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "search/controller/resource_names.h"

namespace forall {
namespace {

// A metric, and for a latency the place where the job measures it, or the table's name.
using Quantity = std::tuple<std::string, std::string, std::string, std::string, int32_t>;

Quantity QuantityOf(const JobFold& fold, int slot) {
  const MetricSlot& wanted = fold.plan().slots()[slot];
  if (wanted.table >= 0) {
    const v1::Condition& condition = fold.plan().table_targets()[wanted.table].condition;
    return {wanted.metric->id, condition.device(), condition.device_class(), "", 0};
  }
  if (wanted.target < 0) return {wanted.metric->id, "", "", "", 0};
  const TargetBinding binding = fold.bindings()[wanted.target].value_or(TargetBinding());
  return {wanted.metric->id, binding.device, binding.fingerprint, binding.profile,
          fold.plan().targets()[wanted.target].batch};
}

std::vector<std::pair<Quantity, bool>> Goals(const JobFold& fold) {
  std::vector<std::pair<Quantity, bool>> goals;
  for (const JobPlan::Goal& goal : fold.plan().objectives()) {
    goals.emplace_back(QuantityOf(fold, goal.slot), goal.maximize);
  }
  return goals;
}

using Limit = std::tuple<Quantity, std::optional<double>, std::optional<double>>;

std::vector<Limit> Limits(const JobFold& fold) {
  std::vector<Limit> limits;
  for (const JobPlan::Limit& limit : fold.plan().limits()) {
    limits.emplace_back(QuantityOf(fold, limit.slot), limit.at_most, limit.at_least);
  }
  std::sort(limits.begin(), limits.end());
  return limits;
}

// They only matter where they are what is asked for.
bool SameTables(const JobFold& a, const JobFold& b) {
  if (a.plan().table_targets().empty()) return true;
  const auto& of_a = a.plan().spec().latency_tables();
  const auto& of_b = b.plan().spec().latency_tables();
  return std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end());
}

bool SameQuestion(const JobFold& a, const JobFold& b) {
  const v1::SearchJobSpec& sa = a.plan().spec();
  const v1::SearchJobSpec& sb = b.plan().spec();
  const v1::Fidelity& fa = sa.fidelity();
  const v1::Fidelity& fb = sb.fidelity();
  return a.record().supernet_sha256 == b.record().supernet_sha256 && sa.dataset() == sb.dataset() &&
         sa.recipe() == sb.recipe() && sa.accuracy_predictor() == sb.accuracy_predictor() &&
         SameTables(a, b) && CalibrationKey(sa) == CalibrationKey(sb) &&
         fa.screening_images() == fb.screening_images() &&
         std::equal(fa.tiers().begin(), fa.tiers().end(), fb.tiers().begin(), fb.tiers().end()) &&
         Goals(a) == Goals(b) && Limits(a) == Limits(b);
}

}  // namespace

RandomBaseline FindRandomBaseline(const Registry& registry, const JobFold& fold) {
  RandomBaseline baseline;
  if (fold.measured() == 0) return baseline;
  absl::flat_hash_set<std::string> seen;
  for (const auto& [id, job] : registry.jobs) {
    const JobFold& other = job->fold();
    if (&other == &fold || other.plan().spec().sampler().algorithm() != "random" ||
        !SameQuestion(fold, other)) {
      continue;
    }
    const size_t before = baseline.points.size();
    for (const ScoredTrial& scored : other.history()) {
      const TrialEntry* trial = other.FindTrial(scored.id);
      // As the job's own history: of trials that were measured and kept the limits then.
      if (trial == nullptr || scored.constraint_violation != 0 ||
          scored.objectives.size() != fold.plan().objectives().size() ||
          !seen.insert(trial->record.arch_key).second) {
        continue;
      }
      baseline.points.push_back(other.StoppedBy(*trial) == 0
                                    ? fold.Scaled(scored.objectives)
                                    : std::vector<double>(scored.objectives.size(), 1));
    }
    if (baseline.points.size() > before) baseline.jobs.push_back(JobName(id));
  }
  return baseline;
}

}  // namespace forall
