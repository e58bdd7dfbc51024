// SPDX-License-Identifier: Apache-2.0
// The best candidates of every cell of a grid over the costs (MAP-Elites: Mouret and Clune,
// "Illuminating search spaces by mapping elites", 2015).
#ifndef FORALL_SEARCH_INNER_ELITE_GRID_H_
#define FORALL_SEARCH_INNER_ELITE_GRID_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "search/inner/candidates.h"

namespace forall {

// Thread-compatible.
class EliteGrid {
 public:
  // `edges[c]` ascend and bound the cells along cost c: cell i holds costs in (edges[i], edges[i +
  // 1]], the first one its lower edge too. At least two edges each.
  EliteGrid(size_t width, std::vector<std::vector<double>> edges, size_t elites_per_cell);

  size_t cells() const { return count_.size(); }
  // -1 for costs outside the edges. `costs` has one value per cost.
  int CellOf(const double* costs) const;
  // The cell's place along cost c.
  size_t Place(size_t cell, size_t c) const { return cell / stride_[c] % (edges_[c].size() - 1); }
  // What the cell's candidates cost at most.
  double Upper(size_t cell, size_t c) const { return edges_[c][Place(cell, c) + 1]; }
  size_t places(size_t c) const { return edges_[c].size() - 1; }

  // Keeps the candidate where it is among its cell's best; returns whether it is now the cell's
  // best. Not a number is never kept. The caller sees to it that no candidate comes twice.
  bool Offer(const State* row, float score, const double* costs);

  // Elites of a cell, best first.
  size_t size(size_t cell) const { return count_[cell]; }
  const State* row(size_t cell, size_t i) const { return rows_.row(slot_[cell * keep_ + i]); }
  float score(size_t cell, size_t i) const { return score_[slot_[cell * keep_ + i]]; }
  const double* costs(size_t cell, size_t i) const {
    return &costs_[slot_[cell * keep_ + i] * edges_.size()];
  }

  // The best score of a cell and all cells that cost no more, as of the last UpdateBars; -infinity
  // where there is none.
  float bar(size_t cell) const { return bar_[cell]; }
  void UpdateBars();

 private:
  std::vector<std::vector<double>> edges_;
  std::vector<size_t> stride_;
  std::vector<double> density_;               // buckets per unit of cost
  std::vector<std::vector<uint32_t>> guess_;  // of each bucket
  size_t keep_;
  std::vector<uint32_t> count_;
  std::vector<uint32_t> slot_;  // order of each cell's elites
  Candidates rows_;
  std::vector<float> score_;
  std::vector<double> costs_;
  std::vector<float> bar_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_ELITE_GRID_H_
