// SPDX-License-Identifier: Apache-2.0
// A set of small whole numbers in a tree of 64-bit words: each bit of a level says whether the word
// below it has any. With the ranks of values that are known beforehand it is a sorted container
// without comparisons. Thread-compatible.
#ifndef FORALL_SEARCH_PARETO_RANK_SET_H_
#define FORALL_SEARCH_PARETO_RANK_SET_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace forall {

class RankSet {
 public:
  // Of numbers below `bound`, none at first.
  explicit RankSet(size_t bound) {
    do {
      bound = bound / 64 + 1;
      levels_.emplace_back(bound, 0);
    } while (bound > 1);
  }

  // O(log64 bound), like all below.
  void Insert(size_t number) {
    for (std::vector<uint64_t>& level : levels_) {
      level[number / 64] |= Bit(number);
      number /= 64;
    }
  }

  // `number` must be in the set.
  void Erase(size_t number) {
    for (std::vector<uint64_t>& level : levels_) {
      if ((level[number / 64] &= ~Bit(number)) != 0) return;
      number /= 64;
    }
  }

  // The largest number of the set below `number`. There must be one.
  size_t Previous(size_t number) const {
    size_t depth = 0;
    uint64_t word = 0;
    while ((word = levels_[depth][number / 64] & (Bit(number) - 1)) == 0) {
      number /= 64;
      ++depth;
    }
    while (true) {
      number = number / 64 * 64 + static_cast<size_t>(63 - std::countl_zero(word));
      if (depth == 0) return number;
      word = levels_[--depth][number];
      number *= 64;
    }
  }

 private:
  static uint64_t Bit(size_t number) { return uint64_t{1} << (number % 64); }

  std::vector<std::vector<uint64_t>> levels_;  // the numbers themselves first
};

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_RANK_SET_H_
