// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/point_order.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<PointSet> Sets(int k) {
  std::vector<PointSet> sets = AllKindsOfPoints(k, {1, 2, 63, 64, 1000});
  // One value far away leaves all the others to a single bucket.
  sets.push_back(UniformPoints(500, k, 3));
  sets.back().values[0] = 1e300;
  sets.push_back(UniformPoints(500, k, 4));
  sets.back().values[0] = -kInfinity;
  sets.back().values[static_cast<size_t>(k)] = kInfinity;
  return sets;
}

TEST(PointOrderTest, OrdersAsAComparisonSortDoes) {
  for (int k = 1; k <= 4; ++k) {
    for (const PointSet& set : Sets(k)) {
      const PointsView points = set.view();
      std::vector<int32_t> expected = AllRows(points);
      std::stable_sort(expected.begin(), expected.end(), [&](int32_t a, int32_t b) {
        return std::lexicographical_compare(points[a], points[a] + k, points[b], points[b] + k);
      });
      EXPECT_EQ(LexicographicOrder(points, AllRows(points)), expected) << set.name;
      for (int c = 0; c < k; ++c) {
        expected = AllRows(points);
        std::stable_sort(expected.begin(), expected.end(),
                         [&](int32_t a, int32_t b) { return points[a][c] < points[b][c]; });
        EXPECT_EQ(OrderByObjective(points, AllRows(points), c), expected) << set.name;
      }
    }
  }
}

TEST(PointOrderTest, ThePivotDropsOnlyWhatIsDominated) {
  for (int k = 1; k <= 5; ++k) {
    for (const PointSet& set : Sets(k)) {
      const std::vector<int32_t> rows = RowsNotDominatedByPivot(set.view());
      EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end())) << set.name;
      for (const int32_t row : AllRows(set.view())) {
        if (std::binary_search(rows.begin(), rows.end(), row)) continue;
        EXPECT_TRUE(std::any_of(rows.begin(), rows.end(), [&](int32_t other) {
          return Dominates(set.view()[other], set.view()[row], k);
        })) << set.name;
      }
    }
  }
}

}  // namespace
}  // namespace forall
