// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/candidate_search.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/random.h"

namespace forall {
namespace {

constexpr size_t kElites = 3;       // of a cell
constexpr int64_t kDrawShare = 10;  // one candidate of so many is drawn, the others are bred
constexpr double kMostTilt = 4;
constexpr size_t kChildren = 400;  // of a generation
constexpr uint64_t kNeighbours = 3;
constexpr int kMostDryGenerations = 20;

// Cells along each cost: fewer where there are several, so that a budget fills them.
int CellsPerCost(int64_t spread) { return spread == 1 ? 100 : spread == 2 ? 20 : 8; }

class Archive {
 public:
  Archive(const CandidateSpace& space, absl::Span<const CandidateCost> costs,
          const BatchScorer& scorer, uint64_t seed)
      : space_(space),
        costs_(costs),
        scorer_(scorer),
        random_(seed),
        cells_(CellsPerCost(std::count_if(costs.begin(), costs.end(),
                                          [](const CandidateCost& c) { return c.spread; }))),
        batch_(space.width()) {}

  void Start(const Candidates& start, int64_t budget) {
    for (size_t i = 0; i < start.size(); ++i) Add(start.row(i));
    std::vector<State> row(space_.width());
    for (int64_t i = 0; i < budget / kDrawShare; ++i) {
      space_.Draw(kMostTilt * (2 * random_.Double() - 1), &random_, row.data());
      Add(row.data());
    }
    Score();
  }

  void Evolve(int64_t budget) {
    std::vector<State> child(space_.width());
    for (int dry = 0; scored_ < budget && dry < kMostDryGenerations && !archive_.empty(); ++dry) {
      std::vector<const std::vector<Elite>*> cells;
      for (const auto& [cell, elites] : archive_) cells.push_back(&elites);
      for (size_t i = 0; i < kChildren; ++i) {
        const size_t at = random_.Uniform(cells.size());
        const State* const parent = DrawFrom(*cells[at]);
        std::copy(parent, parent + child.size(), child.begin());
        if (random_.Bernoulli(0.5)) {
          const size_t from = at - std::min<size_t>(at, kNeighbours);
          const size_t mate =
              std::min<size_t>(from + random_.Uniform(2 * kNeighbours + 1), cells.size() - 1);
          space_.CrossStages(parent, DrawFrom(*cells[mate]), &random_, child.data());
        }
        space_.Mutate(1 + static_cast<int>(random_.Uniform(3)), &random_, child.data());
        if (Add(child.data())) dry = -1;
      }
      Score();
    }
  }

  Candidates Elites() const {
    Candidates found(space_.width());
    for (const auto& [cell, elites] : archive_) {
      for (const Elite& elite : elites) found.Append(elite.row.data());
    }
    return found;
  }

 private:
  struct Elite {
    float score = 0;
    std::vector<State> row;
  };

  const State* DrawFrom(const std::vector<Elite>& cell) {
    return cell[random_.Uniform(cell.size())].row.data();
  }

  // Whether it is new and within the bounds; the next Score takes it.
  bool Add(const State* row) {
    for (const CandidateCost& cost : costs_) {
      if (cost.cost->Evaluate(row) > cost.high) return false;
    }
    if (!seen_.insert(space_.Key(row)).second) return false;
    batch_.Append(row);
    return true;
  }

  void Score() {
    scores_.resize(batch_.size());
    scorer_.Score(batch_, absl::MakeSpan(scores_));
    for (size_t i = 0; i < batch_.size(); ++i) {
      if (std::isnan(scores_[i])) continue;
      std::vector<Elite>& cell = archive_[CellOf(batch_.row(i))];
      if (cell.size() == kElites && scores_[i] <= cell.back().score) continue;
      Elite elite{scores_[i], {batch_.row(i), batch_.row(i) + batch_.width()}};
      const auto better = [](const Elite& a, const Elite& b) { return a.score > b.score; };
      cell.insert(std::upper_bound(cell.begin(), cell.end(), elite, better), std::move(elite));
      if (cell.size() > kElites) cell.pop_back();
    }
    scored_ += static_cast<int64_t>(batch_.size());
    batch_.Clear();
  }

  // Narrower where costs are low: by the square root of the place in the range.
  int64_t CellOf(const State* row) const {
    int64_t cell = 0;
    for (const CandidateCost& cost : costs_) {
      if (!cost.spread) continue;
      const double low = cost.cost->cheapest().value;
      const double high = std::min(cost.cost->dearest().value, cost.high);
      const double place =
          high > low ? std::sqrt(std::max(cost.cost->Evaluate(row) - low, 0.0) / (high - low)) : 0;
      cell =
          cell * cells_ + std::clamp<int64_t>(static_cast<int64_t>(place * cells_), 0, cells_ - 1);
    }
    return cell;
  }

  const CandidateSpace& space_;
  const absl::Span<const CandidateCost> costs_;
  const BatchScorer& scorer_;
  Random random_;
  const int64_t cells_;
  Candidates batch_;
  std::vector<float> scores_;
  absl::flat_hash_set<uint64_t> seen_;
  std::map<int64_t, std::vector<Elite>> archive_;
  int64_t scored_ = 0;
};

}  // namespace

Candidates SearchCandidates(const CandidateSpace& space, absl::Span<const CandidateCost> costs,
                            const BatchScorer& scorer, const Candidates& start, int64_t budget,
                            uint64_t seed) {
  Archive archive(space, costs, scorer, seed);
  archive.Start(start, budget);
  archive.Evolve(budget);
  return archive.Elites();
}

}  // namespace forall
