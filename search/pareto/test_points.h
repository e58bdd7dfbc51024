// SPDX-License-Identifier: Apache-2.0
// Point sets that Pareto code must get right, for property tests against brute force.
#ifndef FORALL_SEARCH_PARETO_TEST_POINTS_H_
#define FORALL_SEARCH_PARETO_TEST_POINTS_H_

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "search/pareto/dominance.h"

namespace forall {

struct PointSet {
  std::string name;
  std::vector<double> values;
  int objectives = 0;

  PointsView view() const { return {values, objectives}; }
  std::vector<double> Row(int64_t row) const { return {view()[row], view()[row] + objectives}; }
};

inline PointSet UniformPoints(int n, int k, uint64_t seed) {
  Random random(seed);
  PointSet set{"uniform", {}, k};
  for (int i = 0; i < n * k; ++i) set.values.push_back(random.Double());
  return set;
}

// Few distinct values: ties in every objective and many equal points.
inline PointSet TiedPoints(int n, int k, int levels, uint64_t seed) {
  Random random(seed);
  PointSet set{"tied", {}, k};
  for (int i = 0; i < n * k; ++i) {
    set.values.push_back(static_cast<double>(random.Uniform(levels)) / levels);
  }
  return set;
}

// On the simplex: no point dominates another.
inline PointSet FrontierPoints(int n, int k, uint64_t seed) {
  Random random(seed);
  PointSet set{"all on the frontier", {}, k};
  for (int i = 0; i < n; ++i) {
    std::vector<double> p;
    double sum = 0;
    for (int c = 0; c < k; ++c) {
      p.push_back(-std::log(1 - random.Double()));
      sum += p.back();
    }
    for (const double value : p) set.values.push_back(value / sum);
  }
  return set;
}

// Each point some power of the one before: keys crowd together over many orders of magnitude.
inline PointSet SkewedPoints(int n, int k, uint64_t seed) {
  PointSet set = UniformPoints(n, k, seed);
  set.name = "skewed";
  for (double& value : set.values) value = std::exp(200 * value - 150);
  return set;
}

// Every kind, in `k` objectives, of sizes on both sides of the kernels' thresholds.
inline std::vector<PointSet> AllKindsOfPoints(int k, const std::vector<int>& sizes) {
  std::vector<PointSet> sets;
  uint64_t seed = 1;
  for (const int n : sizes) {
    sets.push_back(UniformPoints(n, k, seed++));
    sets.push_back(TiedPoints(n, k, 3, seed++));
    sets.push_back(TiedPoints(n, k, 20, seed++));
    sets.push_back(TiedPoints(n, k, 1, seed++));
    sets.push_back(FrontierPoints(n, k, seed++));
    sets.push_back(SkewedPoints(n, k, seed++));
  }
  for (PointSet& set : sets) {
    set.name += " n=" + std::to_string(set.view().size()) + " k=" + std::to_string(k);
  }
  return sets;
}

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_TEST_POINTS_H_
