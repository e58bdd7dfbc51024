// SPDX-License-Identifier: Apache-2.0
// A growing list of points that is searched from end to end for one that weakly dominates another:
// how sweeps keep a front of four and more objectives. Eight points lie together, objective by
// objective, so that one vector instruction compares several and no branch depends on their values.
#ifndef FORALL_SEARCH_PARETO_POINT_BLOCKS_H_
#define FORALL_SEARCH_PARETO_POINT_BLOCKS_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace forall {

// Thread-compatible.
class PointBlocks {
 public:
  explicit PointBlocks(int objectives) : objectives_(objectives) {}

  // `p` has no NaN.
  void Add(const double* p) {
    if (size_ % kBlock == 0) {
      // NaN is no better than anything.
      values_.resize(values_.size() + objectives_ * kBlock,
                     std::numeric_limits<double>::quiet_NaN());
    }
    double* const block = values_.data() + size_ / kBlock * objectives_ * kBlock;
    for (size_t c = 0; c < objectives_; ++c) block[c * kBlock + size_ % kBlock] = p[c];
    ++size_;
  }

  // Whether a point of the list is nowhere worse than `p`. The newest are asked first.
  bool Covers(const double* p) const {
    if (objectives_ == 0) return size_ > 0;
    const double* block = values_.data() + values_.size();
    while (block != values_.data()) {
      block -= objectives_ * kBlock;
      std::array<uint64_t, kBlock> worse = {};
      for (size_t c = 0; c < objectives_; ++c) {
        for (size_t i = 0; i < kBlock; ++i) {
          worse[i] |= block[c * kBlock + i] <= p[c] ? 0 : ~uint64_t{0};
        }
      }
      uint64_t all_worse = ~uint64_t{0};
      for (size_t i = 0; i < kBlock; ++i) all_worse &= worse[i];
      if (all_worse == 0) return true;
    }
    return false;
  }

 private:
  static constexpr size_t kBlock = 8;

  const size_t objectives_;
  size_t size_ = 0;
  std::vector<double> values_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_POINT_BLOCKS_H_
