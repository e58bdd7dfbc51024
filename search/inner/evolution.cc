// SPDX-License-Identifier: Apache-2.0
#include "search/inner/evolution.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"
#include "search/inner/factored_sum.h"

namespace forall {
namespace {

constexpr size_t kBatch = 512;
// Children made for each one that is scored.
constexpr size_t kChildrenPerScore = 4;
// Of one parent, beside each other: they share work (perceptron.h).
constexpr size_t kSiblings = 8;
// Parents come from within 4, 8, 16 or 32 places: near ones refine, far ones bring other parts.
constexpr size_t kLeastReach = 4;
constexpr uint64_t kReaches = 4;
constexpr int kPrices = 14;
// Turns in a row with hardly a new candidate after which the space counts as exhausted: narrow
// bounds leave few networks, and the last of them would take as many turns as there are.
constexpr int kMostDryTurns = 50;
constexpr size_t kHardly = 4;

class Evolution {
 public:
  explicit Evolution(SearchState* state)
      : state_(*state), random_(*state->random()), children_(state->space().width()) {}

  void Run(size_t until) {
    SearchTarget target;
    uint64_t turn = 0;
    for (int dry = 0; state_.scored() < until && dry < kMostDryTurns; ++turn) {
      const size_t before = state_.scored();
      if (!state_.NextTarget(turn, &target)) return;
      if (state_.RefreshModel(target.cell)) AddModelOptima(target.cell);
      MakeChildren(target.cell);
      AddBest();
      state_.ScorePool();
      dry = state_.scored() > before + kHardly ? 0 : dry + 1;
    }
  }

 private:
  // The networks that the model thinks best at a price of the costs, for prices whose best network
  // comes ever closer to the cell.
  void AddModelOptima(size_t cell) {
    if (state_.grid().size(cell) == 0) return;
    const FactoredSum model = state_.ModelAt(cell).AsSum(state_.space());
    std::vector<const FactoredSum*> sums = {&model};
    std::vector<double> share;  // how the price is split between the costs
    for (const SearchedCost& cost : state_.costs()) {
      sums.push_back(&cost.cost->sum());
      const double range = cost.cost->dearest().value - cost.cost->cheapest().value;
      const double tilt = state_.costs().size() == 1 ? 1 : std::exp(random_.Gaussian());
      share.push_back(range > 0 ? tilt / range : 0);
    }
    const absl::StatusOr<Minimizer> minimizer = Minimizer::Create(state_.space(), sums);
    if (!minimizer.ok()) return;  // dimensions hang together too much: children alone do
    std::vector<double> weights(sums.size(), -1.0);
    std::vector<double> costs(share.size());
    double low = -6;  // log10 of the price
    double high = 6;
    for (int step = 0; step < kPrices; ++step) {
      const double middle = (low + high) / 2;
      for (size_t c = 0; c < share.size(); ++c) weights[c + 1] = std::pow(10, middle) * share[c];
      const Minimum best = minimizer->Run(weights);
      state_.AddToPool(best.row.data());
      state_.CostsOf(best.row.data(), costs.data());
      double excess = 0;
      for (size_t c = 0; c < share.size(); ++c) {
        excess += share[c] * (costs[c] - state_.grid().costs(cell, 0)[c]);
      }
      (excess > 0 ? low : high) = middle;
    }
  }

  const SearchParent& DrawParent() {
    const SearchParent& a = parents_[random_.Uniform(parents_.size())];
    const SearchParent& b = parents_[random_.Uniform(parents_.size())];
    return a.shortfall <= b.shortfall ? a : b;
  }

  // A child's score is expected to differ from its parent's as the model says that they differ.
  void MakeChildren(size_t cell) {
    const AdditiveModel& model = state_.ModelAt(cell);
    parents_ = state_.ParentsNear(cell, kLeastReach << random_.Uniform(kReaches));
    children_.Clear();
    children_costs_.clear();
    gain_.clear();
    std::vector<State> child(state_.space().width());
    std::vector<double> costs(state_.costs().size());
    for (size_t made = 0; made < kBatch * kChildrenPerScore; made += kSiblings) {
      const SearchParent& parent = DrawParent();
      const float residual = parent.score - model.Predict(parent.row);
      for (size_t sibling = 0; sibling < kSiblings; ++sibling) {
        float offset = residual;
        MakeChild(parent, model, child.data(), &offset);
        state_.CostsOf(child.data(), costs.data());
        const int at = state_.grid().CellOf(costs.data());
        if (at < 0) continue;
        const float bar = std::max(state_.grid().bar(static_cast<size_t>(at)), -1e30f);
        children_.Append(child.data());
        children_costs_.insert(children_costs_.end(), costs.begin(), costs.end());
        gain_.push_back(model.Predict(child.data()) + offset - bar);
      }
    }
  }

  // Half of the children are mutants of one to three options, a quarter each are crossed by stages
  // and by options, every other one of these mutated too.
  void MakeChild(const SearchParent& parent, const AdditiveModel& model, State* child,
                 float* offset) {
    const CandidateSpace& space = state_.space();
    const uint64_t kind = random_.Next() % 8;
    if (kind < 4) {
      std::copy(parent.row, parent.row + space.width(), child);
      space.Mutate(1 + static_cast<int>(random_.Next() % 3), &random_, child);
      return;
    }
    const SearchParent& other = DrawParent();
    if (kind < 6) {
      space.CrossStages(parent.row, other.row, &random_, child);
    } else {
      space.Cross(parent.row, other.row, &random_, child);
    }
    if (kind % 2 == 0) space.Mutate(1, &random_, child);
    *offset = (*offset + other.score - model.Predict(other.row)) / 2;
  }

  // Of the children into the pool those of which most is expected, in the order in which they were
  // made; half as many again as are wanted are looked at, since some are known already.
  void AddBest() {
    std::vector<uint32_t> order(children_.size());
    std::iota(order.begin(), order.end(), 0u);
    const size_t taken = std::min(order.size(), kBatch + kBatch / 2);
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(taken);
    std::nth_element(order.begin(), end, order.end(), [&](uint32_t a, uint32_t b) {
      return gain_[a] != gain_[b] ? gain_[a] > gain_[b] : a < b;
    });
    std::sort(order.begin(), end);
    for (size_t i = 0, added = 0; i < taken && added < kBatch; ++i) {
      const size_t child = order[i];
      if (state_.AddToPool(children_.row(child), &children_costs_[child * state_.costs().size()])) {
        ++added;
      }
    }
  }

  SearchState& state_;
  Random& random_;
  std::vector<SearchParent> parents_;
  Candidates children_;
  std::vector<double> children_costs_;
  std::vector<float> gain_;
};

}  // namespace

void Evolve(size_t until, SearchState* state) { Evolution(state).Run(until); }

}  // namespace forall
