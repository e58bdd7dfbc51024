// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/deb_rule.h"

#include <algorithm>
#include <cmath>

#include "search/pareto/nondominated_sort.h"

namespace forall {
namespace {

bool HasObjectives(const ScoredTrial& trial, size_t count) {
  return count > 0 && trial.objectives.size() == count &&
         std::none_of(trial.objectives.begin(), trial.objectives.end(),
                      [](double value) { return std::isnan(value); });
}

// Ranks and crowding of the feasible trials; returns the first rank that is free.
int32_t RankFeasible(absl::Span<const ScoredTrial> trials, const std::vector<int32_t>& feasible,
                     std::vector<TrialStanding>* standing) {
  if (feasible.empty()) return 0;
  const size_t objectives = trials[feasible.front()].objectives.size();
  std::vector<double> values;
  values.reserve(feasible.size() * objectives);
  for (const int32_t i : feasible) {
    values.insert(values.end(), trials[i].objectives.begin(), trials[i].objectives.end());
  }
  const PointsView points{values, static_cast<int>(objectives)};
  // Cannot fail: shape and NaN were checked on the way in.
  const std::vector<int32_t> rank = NonDominatedSort(points).value();

  std::vector<std::vector<int32_t>> fronts(1 + *std::max_element(rank.begin(), rank.end()));
  for (size_t row = 0; row < rank.size(); ++row) {
    fronts[rank[row]].push_back(static_cast<int32_t>(row));
  }
  for (size_t level = 0; level < fronts.size(); ++level) {
    const std::vector<double> crowding = CrowdingDistance(points, fronts[level]);
    for (size_t i = 0; i < crowding.size(); ++i) {
      (*standing)[feasible[fronts[level][i]]] = {static_cast<int32_t>(level), crowding[i], true};
    }
  }
  return static_cast<int32_t>(fronts.size());
}

}  // namespace

TrialOrder OrderTrials(absl::Span<const ScoredTrial> trials) {
  std::vector<int32_t> feasible;
  std::vector<int32_t> infeasible;
  std::vector<int32_t> unusable;
  for (size_t i = 0; i < trials.size(); ++i) {
    const ScoredTrial& trial = trials[i];
    const int32_t index = static_cast<int32_t>(i);
    const size_t objectives =
        feasible.empty() ? trial.objectives.size() : trials[feasible.front()].objectives.size();
    if (trial.constraint_violation <= 0 && HasObjectives(trial, objectives)) {
      feasible.push_back(index);
    } else if (trial.constraint_violation > 0 && std::isfinite(trial.constraint_violation)) {
      infeasible.push_back(index);
    } else {
      unusable.push_back(index);
    }
  }

  TrialOrder order;
  order.standing.resize(trials.size());
  int32_t rank = RankFeasible(trials, feasible, &order.standing);
  std::stable_sort(infeasible.begin(), infeasible.end(), [&](int32_t a, int32_t b) {
    return trials[a].constraint_violation < trials[b].constraint_violation;
  });
  for (size_t i = 0; i < infeasible.size(); ++i) {
    if (i > 0 && trials[infeasible[i]].constraint_violation !=
                     trials[infeasible[i - 1]].constraint_violation) {
      ++rank;
    }
    order.standing[infeasible[i]].rank = rank;
  }
  for (const int32_t i : unusable) order.standing[i].rank = rank + 1;

  order.best_first = feasible;
  std::stable_sort(order.best_first.begin(), order.best_first.end(), [&](int32_t a, int32_t b) {
    return StandsBefore(order.standing[a], order.standing[b]);
  });
  order.best_first.insert(order.best_first.end(), infeasible.begin(), infeasible.end());
  return order;
}

}  // namespace forall
