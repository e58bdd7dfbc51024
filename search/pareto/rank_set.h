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
    if (levels_.size() == 1) levels_.emplace_back(1, 0);
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
    // Whether a word of the lowest level becomes empty is anybody's guess, so that the next is
    // updated without asking; above, hardly any does.
    uint64_t empty = (levels_[0][number / 64] &= ~Bit(number)) == 0 ? 1 : 0;
    for (size_t depth = 1; depth < levels_.size(); ++depth) {
      number /= 64;
      uint64_t& word = levels_[depth][number / 64];
      word &= ~(empty << (number % 64));
      if (word != 0) return;
      empty = 1;
    }
  }

  // The largest number of the set below `number`. There must be one.
  size_t Previous(size_t number) const {
    // Mostly in the same word or in the one before it, which of both again being a guess.
    const size_t place = number / 64;
    const uint64_t here = levels_[0][place] & (Bit(number) - 1);
    const uint64_t before = levels_[0][place - (place > 0 ? 1 : 0)];
    const size_t found = place - (here == 0 ? 1 : 0);
    const uint64_t near = here == 0 ? before : here;
    return near != 0 && found <= place ? Last(found, near) : PreviousFar(number);
  }

 private:
  static uint64_t Bit(size_t number) { return uint64_t{1} << (number % 64); }
  static size_t Last(size_t place, uint64_t word) {
    return place * 64 + static_cast<size_t>(63 - std::countl_zero(word));
  }

  size_t PreviousFar(size_t number) const {
    size_t depth = 0;
    uint64_t word = 0;
    while ((word = levels_[depth][number / 64] & (Bit(number) - 1)) == 0) {
      number /= 64;
      ++depth;
    }
    number = Last(number / 64, word);
    while (depth > 0) number = Last(number, levels_[--depth][number]);
    return number;
  }

  std::vector<std::vector<uint64_t>> levels_;  // the numbers themselves first; at least two
};

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_RANK_SET_H_
