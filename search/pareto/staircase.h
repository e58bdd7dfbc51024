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

  // As Insert; returns the area that the point newly dominates below (limit_a, limit_b), beyond
  // which no point of the set lies.
  double InsertAndGain(double a, double b, double limit_a, double limit_b) {
    auto it = steps_.lower_bound(a);
    double height = it == steps_.begin() ? limit_b : std::prev(it)->second;
    double left = a;
    double gain = 0;
    while (it != steps_.end() && it->second >= b) {
      gain += (it->first - left) * (height - b);
      left = it->first;
      height = it->second;
      it = steps_.erase(it);
    }
    gain += ((it == steps_.end() ? limit_a : it->first) - left) * (height - b);
    steps_.insert(it, {a, b});
    return gain;
  }

 private:
  absl::btree_map<double, double> steps_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_STAIRCASE_H_
