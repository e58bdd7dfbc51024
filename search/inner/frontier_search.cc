// SPDX-License-Identifier: Apache-2.0
#include "search/inner/frontier_search.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/inner/annealing.h"
#include "search/inner/evolution.h"
#include "search/inner/search_state.h"

namespace forall {
namespace {

// Shares of the budget. First draws, and evolution, give the models and the elites that annealing
// needs; after it evolution puts together what the chains have found.
constexpr double kDrawnShare = 0.02;
constexpr double kFewestDraws = 256;
constexpr double kEvolvedUntil = 0.10;
constexpr double kAnnealedUntil = 0.35;
constexpr size_t kBatch = 512;
// Draws are tilted from the smallest networks to the largest.
constexpr double kMostTilt = 5;
constexpr int kRepairs = 64;

absl::Status CheckArguments(absl::Span<const SearchedCost> costs,
                            const FrontierSearchOptions& options) {
  if (costs.empty()) return absl::InvalidArgumentError("a frontier needs at least one cost");
  if (options.budget < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("budget: must be at least 1, got ", options.budget));
  }
  for (size_t c = 0; c < costs.size(); ++c) {
    const double cheapest = costs[c].cost->cheapest().value;
    const double dearest = costs[c].cost->dearest().value;
    if (!(costs[c].low <= costs[c].high)) {
      return absl::InvalidArgumentError(absl::StrCat("cost ", c, ": the least, ", costs[c].low,
                                                     ", is more than the most, ", costs[c].high));
    }
    if (costs[c].high < cheapest || costs[c].low > dearest) {
      return absl::OutOfRangeError(
          absl::StrCat("cost ", c, ": no network of ", costs[c].cost->space().space().id(),
                       " is between ", costs[c].low, " and ", costs[c].high, "; the nearest costs ",
                       costs[c].high < cheapest ? cheapest : dearest));
    }
  }
  return absl::OkStatus();
}

// Every network: the space is no larger than the budget.
void Enumerate(SearchState* state) {
  const CandidateSpace& space = state->space();
  std::vector<State> row(space.width());
  std::vector<size_t> at(space.width(), 0);
  bool more = true;
  while (more) {
    for (size_t d = 0; d < row.size(); ++d) {
      const int parent = space.parent(d);
      const bool active = parent < 0 || space.Activates(d, row[static_cast<size_t>(parent)]);
      row[d] = active ? space.allowed(d)[at[d]] : space.inactive(d);
    }
    state->AddToPool(row.data());
    if (state->pooled() == kBatch) state->ScorePool();
    more = false;
    for (size_t d = row.size(); d-- > 0 && !more;) {
      more = row[d] != space.inactive(d) && ++at[d] < space.allowed(d).size();
      if (!more) at[d] = 0;
    }
  }
  state->ScorePool();
}

// What the caller knows, the ends of every cost, and draws that are spread from small networks to
// large ones; where these miss the bounds, some are repaired into them.
void ScoreFirst(const FrontierSearchOptions& options, SearchState* state) {
  const CandidateSpace& space = state->space();
  std::vector<State> row(space.width());
  for (const Architecture& architecture : options.initial) {
    if (space.ToRow(architecture, row.data()).ok()) state->AddToPool(row.data());
  }
  for (const SearchedCost& cost : state->costs()) {
    state->AddToPool(cost.cost->cheapest().row.data());
    state->AddToPool(cost.cost->dearest().row.data());
  }
  const size_t draws = static_cast<size_t>(
      std::max(kFewestDraws, kDrawnShare * static_cast<double>(options.budget)));
  size_t met = 0;
  for (size_t i = 0; i < draws; ++i) {
    space.Draw(kMostTilt * (2 * state->random()->Double() - 1), state->random(), row.data());
    if (state->AddToPool(row.data())) ++met;
  }
  for (int i = 0; i < kRepairs && met < draws / 8; ++i) {
    space.Draw(kMostTilt * (2 * state->random()->Double() - 1), state->random(), row.data());
    for (const SearchedCost& cost : state->costs()) {
      cost.cost->Repair(cost.low, cost.high, row.data()).IgnoreError();  // the pool checks it
    }
    state->AddToPool(row.data());
  }
  state->ScorePool();
}

std::vector<FrontierPoint> Frontier(const SearchState& state) {
  const EliteGrid& grid = state.grid();
  std::vector<FrontierPoint> points;
  for (size_t cell = 0; cell < grid.cells(); ++cell) {
    for (size_t i = 0; i < grid.size(cell); ++i) {
      const State* const row = grid.row(cell, i);
      const double* const costs = grid.costs(cell, i);
      points.push_back({{row, row + state.space().width()},
                        grid.score(cell, i),
                        {costs, costs + state.costs().size()}});
    }
  }
  std::stable_sort(points.begin(), points.end(),
                   [](const FrontierPoint& a, const FrontierPoint& b) {
                     return a.score != b.score ? a.score > b.score : a.costs < b.costs;
                   });
  std::vector<FrontierPoint> frontier;
  for (FrontierPoint& point : points) {
    const bool dominated =
        std::any_of(frontier.begin(), frontier.end(), [&](const FrontierPoint& other) {
          return std::equal(other.costs.begin(), other.costs.end(), point.costs.begin(),
                            [](double a, double b) { return a <= b; });
        });
    if (!dominated) frontier.push_back(std::move(point));
  }
  std::sort(frontier.begin(), frontier.end(),
            [](const FrontierPoint& a, const FrontierPoint& b) { return a.costs < b.costs; });
  return frontier;
}

}  // namespace

absl::StatusOr<FrontierSearchResult> SearchFrontier(const CandidateSpace& space,
                                                    absl::Span<const SearchedCost> costs,
                                                    const BatchScorer& scorer,
                                                    const FrontierSearchOptions& options) {
  FORALL_RETURN_IF_ERROR(CheckArguments(costs, options));
  SearchState state(space, costs, scorer, options);
  const double budget = static_cast<double>(options.budget);
  if (space.space().Log10Size() <= std::log10(budget)) {
    Enumerate(&state);
  } else {
    ScoreFirst(options, &state);
    Evolve(static_cast<size_t>(kEvolvedUntil * budget), &state);
    Anneal(static_cast<size_t>(kAnnealedUntil * budget), &state);
    Evolve(static_cast<size_t>(options.budget), &state);
  }
  FrontierSearchResult result{Frontier(state), static_cast<int64_t>(state.scored())};
  if (result.frontier.empty()) {
    return absl::NotFoundError(
        absl::StrCat("none of the ", result.scored,
                     " networks that were looked at keeps all bounds and has a score"));
  }
  return result;
}

}  // namespace forall
