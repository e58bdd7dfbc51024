// SPDX-License-Identifier: Apache-2.0
#include "search/inner/annealing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace forall {
namespace {

// A tile of the perceptron's, or a whole number of its tiles.
constexpr size_t kChains = 32;
// The temperature falls geometrically between these multiples of what a change of one dimension
// typically does to the score.
constexpr double kHottest = 0.8;
constexpr double kColdest = 0.1;
// Costs below this share of the limits, on average over the costs, are no place to look for the
// best below the limits.
constexpr double kLeastShare = 0.9;
constexpr int kTriesPerStep = 30;
constexpr int kMostDrySteps = 50;
// A step in which hardly one chain of so many moves is dry.
constexpr size_t kHardly = 16;
constexpr size_t kReach = 6;

struct Chain {
  SearchTarget target;
  std::vector<State> row;
  float score = 0;
  std::vector<State> child;
  float expected = 0;  // change of the score, by the model
};

class Annealing {
 public:
  explicit Annealing(SearchState* state)
      : state_(*state), random_(*state->random()), costs_(state->costs().size()) {}

  void Run(size_t until) {
    for (uint64_t turn = 0; turn < kChains; ++turn) StartChain(turn);
    const size_t begin = state_.scored();
    for (int dry = 0; state_.scored() < until && state_.left() > 0 && dry < kMostDrySteps;) {
      const double progress =
          static_cast<double>(state_.scored() - begin) / static_cast<double>(until - begin);
      heat_ = kHottest * std::pow(kColdest / kHottest, progress);
      dry = Step() ? 0 : dry + 1;
    }
  }

 private:
  void StartChain(uint64_t turn) {
    Chain chain;
    // The fourth turns, which go to anywhere, are left to a search without marks.
    if (!state_.NextTarget(turn + turn / 3, &chain.target)) return;
    std::vector<SearchParent> inside;
    for (const SearchParent& parent : state_.ParentsNear(chain.target.cell, kReach)) {
      if (IsWithin(parent.row, chain.target.limits)) inside.push_back(parent);
    }
    if (inside.empty()) return;
    const SearchParent& start = inside[random_.Uniform(inside.size())];
    chain.row.assign(start.row, start.row + state_.space().width());
    chain.score = start.score;
    chains_.push_back(std::move(chain));
  }

  bool IsWithin(const State* row, const std::vector<double>& limits) {
    state_.CostsOf(row, costs_.data());
    double share = 0;
    for (size_t c = 0; c < limits.size(); ++c) {
      if (costs_[c] > limits[c]) return false;
      share += limits[c] > 0 ? costs_[c] / limits[c] : 1;
    }
    return share >= kLeastShare * static_cast<double>(limits.size());
  }

  // One step of every chain; whether any of them met a new candidate.
  bool Step() {
    std::vector<Chain*> moved;
    for (Chain& chain : chains_) {
      state_.RefreshModel(chain.target.cell);
      if (Propose(&chain)) moved.push_back(&chain);
    }
    const absl::Span<const float> scores = state_.ScorePool();
    for (size_t i = 0; i < moved.size(); ++i) MaybeMove(scores[i], moved[i]);
    return kHardly * moved.size() > chains_.size();
  }

  double Temperature(const Chain& chain) const {
    return heat_ * state_.ModelAt(chain.target.cell).Scale();
  }

  // Moves over known candidates until it comes to a new one, which goes into the pool.
  bool Propose(Chain* chain) {
    const AdditiveModel& model = state_.ModelAt(chain->target.cell);
    const double temperature = Temperature(*chain);
    float base = model.Predict(chain->row.data());
    for (int attempt = 0; attempt < kTriesPerStep; ++attempt) {
      chain->child = chain->row;
      state_.space().Mutate(1 + static_cast<int>(random_.Next() % 3), &random_,
                            chain->child.data());
      if (!IsWithin(chain->child.data(), chain->target.limits)) continue;
      chain->expected = model.Predict(chain->child.data()) - base;
      if (!Accepts(static_cast<double>(chain->expected), temperature)) continue;
      if (const float* const score = state_.Score(chain->child.data()); score != nullptr) {
        MaybeMove(*score, chain);
        base = model.Predict(chain->row.data());
      } else if (state_.AddToPool(chain->child.data())) {
        return true;
      }
    }
    return false;
  }

  bool Accepts(double change, double temperature) {
    return change >= 0 || random_.Double() < std::exp(change / std::max(temperature, 1e-30));
  }

  // The second test makes up for what the model got wrong in the first.
  void MaybeMove(float score, Chain* chain) {
    const double change = static_cast<double>(score - chain->score);
    const double expected = std::min(0.0, static_cast<double>(chain->expected));
    if (!(change >= 0) && !Accepts(change - expected, Temperature(*chain))) return;
    std::swap(chain->row, chain->child);
    chain->score = score;
  }

  SearchState& state_;
  Random& random_;
  std::vector<double> costs_;
  std::vector<Chain> chains_;
  double heat_ = kHottest;
};

}  // namespace

void Anneal(size_t until, SearchState* state) { Annealing(state).Run(until); }

}  // namespace forall
