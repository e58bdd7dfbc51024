// SPDX-License-Identifier: Apache-2.0
#include "search/inner/search_state.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace forall {
namespace {

constexpr size_t kElites = 6;
// Cells along a single cost, and cells in all of a grid over several.
constexpr size_t kCells = 192;
constexpr double kMostGridCells = 4096;
// Cells end at these shares of a mark, so that what just misses it does not crowd out what holds
// it.
constexpr double kMarkShares[] = {0.97, 0.985, 0.995, 1.0};
constexpr size_t kZones = 12;
// A zone's model is fitted again when it has learned this many times as much.
constexpr double kRefit = 1.5;
// Every so many candidates one is learned from; all of the first ones.
constexpr uint64_t kLearnEvery = 3;
constexpr uint64_t kLearnAll = 8192;
constexpr size_t kFewestParents = 16;

std::vector<double> Edges(const SearchedCost& cost, size_t cells) {
  const double cheapest = cost.cost->cheapest().value;
  const double dearest = cost.cost->dearest().value;
  // Sums in another order may end a digit outside.
  const double slack = 1e-9 * (std::abs(cheapest) + std::abs(dearest));
  const double low = std::max(cost.low, cheapest - slack);
  const double high = std::max(std::min(cost.high, dearest + slack), low);
  std::vector<double> edges;
  for (size_t i = 0; i <= cells; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(cells);
    edges.push_back(low > 0 ? low * std::pow(high / low, share) : low + (high - low) * share);
  }
  edges.front() = low;
  edges.back() = high;
  for (const double mark : cost.marks) {
    for (const double share : kMarkShares) {
      const double edge = mark > 0 ? mark * share : mark;
      if (edge > low && edge < high) edges.push_back(edge);
    }
  }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  if (edges.size() < 2) edges.push_back(low);
  return edges;
}

std::vector<std::vector<double>> AllEdges(absl::Span<const SearchedCost> costs) {
  const double along =
      std::floor(std::pow(kMostGridCells, 1 / static_cast<double>(costs.size())) + 1e-9);
  const size_t cells = costs.size() == 1 ? kCells : static_cast<size_t>(std::max(2.0, along));
  std::vector<std::vector<double>> edges;
  for (const SearchedCost& cost : costs) edges.push_back(Edges(cost, cells));
  return edges;
}

}  // namespace

SearchState::SearchState(const CandidateSpace& space, absl::Span<const SearchedCost> costs,
                         const BatchScorer& scorer, const FrontierSearchOptions& options)
    : space_(space),
      costs_(costs),
      scorer_(scorer),
      budget_(static_cast<size_t>(options.budget)),
      random_(options.seed),
      grid_(space.width(), AllEdges(costs), kElites),
      zones_(kZones, Zone{AdditiveModel(space), 0}),
      pool_(space.width()),
      row_costs_(costs.size()) {
  for (size_t c = 0; c < costs.size(); ++c) {
    for (const double mark : costs[c].marks) marks_.push_back({c, mark});
  }
}

bool SearchState::AddToPool(const State* row) {
  CostsOf(row, row_costs_.data());
  return AddToPool(row, row_costs_.data());
}

bool SearchState::AddToPool(const State* row, const double* costs) {
  if (left() == 0 || grid_.CellOf(costs) < 0) return false;
  const uint64_t key = space_.Key(row);
  if (!scores_.emplace(key, -std::numeric_limits<float>::infinity()).second) return false;
  pool_.Append(row);
  pool_keys_.push_back(key);
  pool_costs_.insert(pool_costs_.end(), costs, costs + costs_.size());
  return true;
}

absl::Span<const float> SearchState::ScorePool() {
  pool_scores_.resize(pool_.size());
  scorer_.Score(pool_, absl::MakeSpan(pool_scores_));
  for (size_t i = 0; i < pool_.size(); ++i) {
    const State* const row = pool_.row(i);
    const double* const costs = &pool_costs_[i * costs_.size()];
    scores_[pool_keys_[i]] = pool_scores_[i];
    grid_.Offer(row, pool_scores_[i], costs);
    if (++learned_ <= kLearnAll || learned_ % kLearnEvery == 0) {
      zones_[ZoneOf(static_cast<size_t>(grid_.CellOf(costs)))].model.Learn(
          row, static_cast<double>(pool_scores_[i]));
    }
  }
  grid_.UpdateBars();
  pool_.Clear();
  pool_keys_.clear();
  pool_costs_.clear();
  return pool_scores_;
}

size_t SearchState::ZoneOf(size_t cell) const {
  double position = 0;  // from 0, the cheap end of the grid, to 1
  for (size_t c = 0; c < costs_.size(); ++c) {
    position += (static_cast<double>(grid_.Place(cell, c)) + 0.5) /
                static_cast<double>(grid_.places(c) * costs_.size());
  }
  return std::min(kZones - 1, static_cast<size_t>(position * static_cast<double>(kZones)));
}

bool SearchState::RefreshModel(size_t cell) {
  const size_t zone = ZoneOf(cell);
  std::vector<const AdditiveModel*> around;
  double learned = 0;
  for (size_t z = zone == 0 ? 0 : zone - 1; z <= std::min(kZones - 1, zone + 1); ++z) {
    around.push_back(&zones_[z].model);
    learned += zones_[z].model.learned();
  }
  if (learned <= kRefit * zones_[zone].fitted_at) return false;
  zones_[zone].fitted_at = learned;
  zones_[zone].model.Fit(around);
  return true;
}

// A random one of the cells with elites that come nearest to the mark from below.
bool SearchState::CellBelow(const Mark& mark, size_t* cell) {
  std::vector<size_t> nearest;
  for (size_t other = 0; other < grid_.cells(); ++other) {
    if (grid_.size(other) == 0 || grid_.costs(other, 0)[mark.cost] > mark.value) continue;
    const size_t place = grid_.Place(other, mark.cost);
    const size_t most = nearest.empty() ? 0 : grid_.Place(nearest.front(), mark.cost);
    if (place > most) nearest.clear();
    if (place >= most) nearest.push_back(other);
  }
  if (nearest.empty()) return false;
  *cell = nearest[random_.Uniform(nearest.size())];
  return true;
}

bool SearchState::NextTarget(uint64_t turn, SearchTarget* target) {
  target->limits.assign(costs_.size(), 0);
  const bool to_mark = !marks_.empty() && turn % 4 != 3;
  const Mark mark = to_mark ? marks_[(turn - turn / 4) % marks_.size()] : Mark{};
  if (!to_mark || !CellBelow(mark, &target->cell)) {
    std::vector<size_t> occupied;
    for (size_t cell = 0; cell < grid_.cells(); ++cell) {
      if (grid_.size(cell) > 0) occupied.push_back(cell);
    }
    if (occupied.empty()) return false;
    target->cell = occupied[random_.Uniform(occupied.size())];
  }
  for (size_t c = 0; c < costs_.size(); ++c) target->limits[c] = grid_.Upper(target->cell, c);
  if (to_mark) target->limits[mark.cost] = std::max(target->limits[mark.cost], mark.value);
  return true;
}

std::vector<SearchParent> SearchState::ParentsNear(size_t cell, size_t reach) const {
  std::vector<SearchParent> parents;
  for (bool all = false; !all && parents.size() < kFewestParents; reach *= 2) {
    parents.clear();
    all = true;
    for (size_t other = 0; other < grid_.cells(); ++other) {
      bool inside = true;
      for (size_t c = 0; c < costs_.size(); ++c) {
        const size_t a = grid_.Place(cell, c);
        const size_t b = grid_.Place(other, c);
        inside = inside && (a > b ? a - b : b - a) <= reach;
      }
      all = all && inside;
      for (size_t i = 0; inside && i < grid_.size(other); ++i) {
        parents.push_back(
            {grid_.row(other, i), grid_.score(other, i), grid_.bar(other) - grid_.score(other, i)});
      }
    }
  }
  return parents;
}

}  // namespace forall
