// SPDX-License-Identifier: Apache-2.0
// The frontier of a growing set of 2-D points (both minimised), as the sweeps of 3-D kernels keep
// it: ascending in `a`, strictly descending in `b`. Thread-compatible.
#ifndef FORALL_SEARCH_PARETO_STAIRCASE_H_
#define FORALL_SEARCH_PARETO_STAIRCASE_H_

#include <iterator>

#include "absl/container/btree_map.h"

namespace forall {

class Staircase {
 public:
  // Some point of the set is nowhere worse than (a, b). O(log n).
  bool Covers(double a, double b) const {
    const auto after = steps_.upper_bound(a);
    return after != steps_.begin() && std::prev(after)->second <= b;
  }

  // Adds a point that is not covered; drops those that it covers. Amortised O(log n).
  void Insert(double a, double b) {
    auto it = steps_.lower_bound(a);
    while (it != steps_.end() && it->second >= b) it = steps_.erase(it);
    steps_.insert(it, {a, b});
  }

 private:
  absl::btree_map<double, double> steps_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_STAIRCASE_H_
