// SPDX-License-Identifier: Apache-2.0
// What the phases of a frontier search share: the elites, what was scored, and the models of it.
// Inside of frontier_search.cc; callers use frontier_search.h.
#ifndef FORALL_SEARCH_INNER_SEARCH_STATE_H_
#define FORALL_SEARCH_INNER_SEARCH_STATE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "base/random.h"
#include "search/inner/additive_model.h"
#include "search/inner/batch_scorer.h"
#include "search/inner/candidates.h"
#include "search/inner/elite_grid.h"
#include "search/inner/frontier_search.h"

namespace forall {

// Where a phase looks: at the elites around a cell, for networks within limits.
struct SearchTarget {
  size_t cell = 0;
  std::vector<double> limits;  // one per cost
};

struct SearchParent {
  const State* row = nullptr;
  float score = 0;
  float shortfall = 0;  // against the bar of its cell
};

// Thread-compatible.
class SearchState {
 public:
  // The arguments are not owned and must outlive this; they have been checked.
  SearchState(const CandidateSpace& space, absl::Span<const SearchedCost> costs,
              const BatchScorer& scorer, const FrontierSearchOptions& options);

  const CandidateSpace& space() const { return space_; }
  absl::Span<const SearchedCost> costs() const { return costs_; }
  const EliteGrid& grid() const { return grid_; }
  Random* random() { return &random_; }
  size_t scored() const { return scores_.size(); }
  // Candidates that may still be taken into the pool.
  size_t left() const { return budget_ > scores_.size() ? budget_ - scores_.size() : 0; }

  void CostsOf(const State* row, double* costs) const {
    for (size_t c = 0; c < costs_.size(); ++c) costs[c] = costs_[c].cost->Evaluate(row);
  }
  // The score of a candidate that was scored before, or null. Holds until the next AddToPool.
  const float* Score(const State* row) const {
    const auto found = scores_.find(space_.Key(row));
    return found == scores_.end() ? nullptr : &found->second;
  }

  // Takes the row into the pool if it is new, within the bounds and within the budget.
  bool AddToPool(const State* row);
  // The same, where its costs are known.
  bool AddToPool(const State* row, const double* costs);
  size_t pooled() const { return pool_.size(); }
  // Scores the pool, keeps its elites, learns from it, and empties it. The scores, in the order in
  // which the candidates were added, hold until the next call.
  absl::Span<const float> ScorePool();

  // The model of the scores around a cell's costs.
  const AdditiveModel& ModelAt(size_t cell) const { return zones_[ZoneOf(cell)].model; }
  // Fits it again if it has learned much since; whether it did.
  bool RefreshModel(size_t cell);

  // Turns go to the marks, one after the other, and every fourth one to anywhere. False when there
  // are no elites yet.
  bool NextTarget(uint64_t turn, SearchTarget* target);
  // Elites of the cells within `reach` places of a cell, further where those are few. Hold until
  // the next ScorePool.
  std::vector<SearchParent> ParentsNear(size_t cell, size_t reach) const;

 private:
  // A part of the cost range in which one additive model holds.
  struct Zone {
    AdditiveModel model;
    double fitted_at = 0;
  };
  struct Mark {
    size_t cost = 0;
    double value = 0;
  };

  size_t ZoneOf(size_t cell) const;
  bool CellBelow(const Mark& mark, size_t* cell);

  const CandidateSpace& space_;
  const absl::Span<const SearchedCost> costs_;
  const BatchScorer& scorer_;
  const size_t budget_;
  Random random_;
  EliteGrid grid_;
  std::vector<Zone> zones_;
  std::vector<Mark> marks_;
  absl::flat_hash_map<uint64_t, float> scores_;  // by key
  uint64_t learned_ = 0;
  Candidates pool_;
  std::vector<uint64_t> pool_keys_;
  std::vector<double> pool_costs_;
  std::vector<float> pool_scores_;
  std::vector<double> row_costs_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_SEARCH_STATE_H_
