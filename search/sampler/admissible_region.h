// SPDX-License-Identifier: Apache-2.0
// The part of a search space that keeps the exact constraints: its two ends, and the way back into
// it from outside.
#ifndef FORALL_SEARCH_SAMPLER_ADMISSIBLE_REGION_H_
#define FORALL_SEARCH_SAMPLER_ADMISSIBLE_REGION_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "base/random.h"
#include "space/search_space.h"

namespace forall {

// Immutable after construction; thread-safe as far as the predicate is.
class AdmissibleRegion {
 public:
  using Predicate = std::function<bool(const Architecture&)>;

  // Finds the ends: the smallest and the largest network where they are admissible, otherwise what
  // a few random walks reach that start there, step inwards until they are inside, and then as far
  // back outwards as they can, or what is reached so from an admissible one of `anchors`. A pure
  // function of the arguments. An empty predicate admits all.
  AdmissibleRegion(SearchSpace space, Predicate admissible, uint64_t seed,
                   const std::vector<Architecture>& anchors = {});

  const SearchSpace& space() const { return space_; }
  bool Contains(const Architecture& architecture) const {
    return admissible_ == nullptr || admissible_(architecture);
  }

  // Smallest first; one when both are the same network, none when no walk met an admissible one.
  const std::vector<Architecture>& ends() const { return ends_; }

  // Calls `visit` with `outside` and then with ever more of its choices, in random order, replaced
  // by those of a random end, until `visit` returns true. Canonical; at most one call per
  // dimension.
  void WalkBack(const Architecture& outside, Random* random,
                const std::function<bool(const Architecture&)>& visit) const;

 private:
  void AddEnd(const Architecture& corner, int inwards, uint64_t seed,
              const std::vector<Architecture>& anchors);

  SearchSpace space_;
  Predicate admissible_;
  std::vector<Architecture> ends_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_ADMISSIBLE_REGION_H_
