// SPDX-License-Identifier: Apache-2.0
#include "search/controller/cost_range.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"
#include "search/sampler/admissible_region.h"

namespace forall {
namespace {

constexpr uint64_t kSeed = 0;   // the answer must not hang on the job's
constexpr double kNear = 1e-4;  // of the bound: less than the digits that are shown
constexpr double kNearEnough = 2e-5;
constexpr int kMisses = 8;

class RangeFinder {
 public:
  RangeFinder(const JobPlan& plan, const MetricInfo& metric) : plan_(plan), metric_(metric) {
    for (const JobPlan::Limit& limit : plan.limits()) {
      if (plan.slots()[limit.slot].metric != &metric) continue;
      if (limit.at_most.has_value()) high_ = std::min(high_, *limit.at_most);
      if (limit.at_least.has_value()) low_ = std::max(low_, *limit.at_least);
    }
  }

  // The ends that are certain; admissible networks that were met go to `met`.
  void FindCertain(std::vector<Architecture>* met) {
    const SearchSpace& space = plan_.family().search_space();
    least_ = Corner(space.Smallest());
    most_ = Corner(space.Largest());
    if (!least_.has_value()) least_ = Nearest(low_, /*above=*/true, met);
    if (!most_.has_value()) most_ = Nearest(high_, /*above=*/false, met);
  }

  bool certain() const { return least_.has_value() && most_.has_value(); }

  // `known` are admissible.
  CostRange Range(const std::vector<Architecture>& known) const {
    CostRange range{&metric_, std::numeric_limits<double>::infinity(),
                    -std::numeric_limits<double>::infinity(), !certain()};
    for (size_t i = 0; !certain() && i < known.size(); ++i) {
      range.least = std::min(range.least, Value(known[i]));
      range.most = std::max(range.most, Value(known[i]));
    }
    range.least = least_.value_or(range.least);
    range.most = most_.value_or(range.most);
    return range;
  }

 private:
  double Value(const Architecture& architecture) const {
    return ExactCost(plan_.CostsOf(architecture), metric_.id);
  }

  std::optional<double> Corner(const Architecture& corner) const {
    if (!plan_.Admissible(corner)) return std::nullopt;
    return Value(corner);
  }

  const FactoredCost* Compiled() {
    if (compiled_) return cost_.has_value() ? &*cost_ : nullptr;
    compiled_ = true;
    absl::StatusOr<CandidateSpace> space = CandidateSpace::Create(plan_.family().search_space());
    if (!space.ok()) return nullptr;
    space_ = *std::move(space);
    absl::StatusOr<FactoredCost> cost = FactoredCost::Compile(
        *space_, [this](const Architecture& a) -> absl::StatusOr<double> { return Value(a); });
    if (!cost.ok()) return nullptr;  // no sum of tables, such as the peak of activations
    cost_ = *std::move(cost);
    return &*cost_;
  }

  // The admissible value nearest to `bound`, halving what lies between until nothing is met there.
  std::optional<double> Nearest(double bound, bool above, std::vector<Architecture>* met) {
    if (!std::isfinite(bound)) return std::nullopt;  // something else cuts this end off
    const FactoredCost* const cost = Compiled();
    if (cost == nullptr) return std::nullopt;
    Random random = Random::ForStream(kSeed, above ? 1 : 0);
    double low = std::max(low_, cost->cheapest().value);
    double high = std::min(high_, cost->dearest().value);
    std::vector<State> row = above ? cost->cheapest().row : cost->dearest().row;
    std::optional<double> nearest;
    std::optional<Architecture> network;
    // Repair may miss a narrow interval from one network and meet it from another.
    for (int misses = 0; misses < kMisses;) {
      if (misses > 0) space_->Draw(0, &random, row.data());
      if (!cost->Repair(low, high, row.data()).ok()) {
        ++misses;
        continue;
      }
      Architecture found = space_->ToArchitecture(row.data());
      if (!plan_.Admissible(found)) {
        ++misses;
        continue;
      }
      nearest = Value(found);
      network = std::move(found);
      if (std::abs(bound - *nearest) <= kNearEnough * std::abs(bound)) break;
      (above ? high : low) = (bound + *nearest) / 2;
    }
    if (network.has_value()) met->push_back(*std::move(network));
    if (!nearest.has_value() || std::abs(bound - *nearest) > kNear * std::abs(bound)) {
      return std::nullopt;
    }
    return nearest;
  }

  const JobPlan& plan_;
  const MetricInfo& metric_;
  double low_ = -std::numeric_limits<double>::infinity();
  double high_ = std::numeric_limits<double>::infinity();
  std::optional<double> least_;
  std::optional<double> most_;
  bool compiled_ = false;
  std::optional<CandidateSpace> space_;
  std::optional<FactoredCost> cost_;
};

}  // namespace

std::vector<CostRange> AdmissibleCosts(const JobPlan& plan) {
  std::deque<RangeFinder> finders;
  std::vector<Architecture> met;
  for (const MetricSlot& slot : plan.slots()) {
    if (slot.metric->source != MetricSource::kExactCost) continue;
    finders.emplace_back(plan, *slot.metric).FindCertain(&met);
  }
  const bool certain = std::all_of(finders.begin(), finders.end(),
                                   [](const RangeFinder& finder) { return finder.certain(); });
  if (!certain) {
    std::vector<Architecture> anchors = plan.Anchors();
    anchors.insert(anchors.end(), met.begin(), met.end());
    const AdmissibleRegion region(
        plan.family().search_space(), [&plan](const Architecture& a) { return plan.Admissible(a); },
        kSeed, anchors);
    met.insert(met.end(), region.ends().begin(), region.ends().end());
  }
  std::vector<CostRange> ranges;
  for (const RangeFinder& finder : finders) {
    if (!finder.certain() && met.empty()) continue;
    ranges.push_back(finder.Range(met));
  }
  return ranges;
}

}  // namespace forall
