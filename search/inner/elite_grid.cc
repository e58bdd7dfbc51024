// SPDX-License-Identifier: Apache-2.0
#include "search/inner/elite_grid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace forall {
namespace {

constexpr size_t kBuckets = 1024;

}  // namespace

EliteGrid::EliteGrid(size_t width, std::vector<std::vector<double>> edges, size_t elites_per_cell)
    : edges_(std::move(edges)), keep_(elites_per_cell), rows_(width) {
  size_t cells = 1;
  for (const std::vector<double>& along : edges_) {
    stride_.push_back(cells);
    cells *= along.size() - 1;
    // Where to begin to look for a cost: the least edge that a cost of its bucket may be below.
    const double range = along.back() - along.front();
    density_.push_back(range > 0 ? kBuckets / range * (1 - 1e-12) : 0);
    guess_.emplace_back();
    for (size_t bucket = 0; bucket <= kBuckets; ++bucket) {
      const double least = along.front() + range * (static_cast<double>(bucket) - 1e-6) / kBuckets;
      const auto above = std::lower_bound(along.begin() + 1, along.end() - 1, least);
      guess_.back().push_back(static_cast<uint32_t>(above - along.begin()));
    }
  }
  count_.resize(cells, 0);
  bar_.resize(cells, -std::numeric_limits<float>::infinity());
  slot_.resize(cells * keep_);
  std::iota(slot_.begin(), slot_.end(), 0u);
  rows_.Resize(slot_.size());
  score_.resize(slot_.size());
  costs_.resize(slot_.size() * edges_.size());
}

int EliteGrid::CellOf(const double* costs) const {
  size_t cell = 0;
  for (size_t c = 0; c < edges_.size(); ++c) {
    const std::vector<double>& edges = edges_[c];
    if (!(costs[c] >= edges.front() && costs[c] <= edges.back())) return -1;
    const double* above =
        edges.data() + guess_[c][static_cast<size_t>((costs[c] - edges.front()) * density_[c])];
    while (*above < costs[c]) ++above;
    cell += static_cast<size_t>(above - edges.data() - 1) * stride_[c];
  }
  return static_cast<int>(cell);
}

bool EliteGrid::Offer(const State* row, float score, const double* costs) {
  const int found = CellOf(costs);
  if (found < 0 || std::isnan(score)) return false;
  const size_t cell = static_cast<size_t>(found);
  uint32_t* const order = &slot_[cell * keep_];
  uint32_t& count = count_[cell];
  if (count == keep_ && score <= score_[order[keep_ - 1]]) return false;
  if (count < keep_) ++count;
  const uint32_t slot = order[count - 1];  // the worst one's, or an empty one
  size_t at = count - 1;
  for (; at > 0 && score > score_[order[at - 1]]; --at) order[at] = order[at - 1];
  order[at] = slot;
  std::copy(row, row + rows_.width(), rows_.row(slot));
  score_[slot] = score;
  std::copy(costs, costs + edges_.size(), &costs_[slot * edges_.size()]);
  return at == 0;
}

void EliteGrid::UpdateBars() {
  for (size_t cell = 0; cell < cells(); ++cell) {
    bar_[cell] = count_[cell] > 0 ? score(cell, 0) : -std::numeric_limits<float>::infinity();
    for (size_t c = 0; c < edges_.size(); ++c) {
      if (Place(cell, c) > 0) bar_[cell] = std::max(bar_[cell], bar_[cell - stride_[c]]);
    }
  }
}

}  // namespace forall
