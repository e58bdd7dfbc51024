// SPDX-License-Identifier: Apache-2.0
// pagmo as a second oracle, beside brute force, on sets that are too large for that. What pagmo
// refuses or defines otherwise is kept out: one objective, and contributions of dominated points.
#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pagmo/utils/hypervolume.hpp"
#include "pagmo/utils/multi_objective.hpp"
#include "search/pareto/hypervolume.h"
#include "search/pareto/nondominated_sort.h"
#include "search/pareto/pareto_filter.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::testing::DoubleNear;
using Rows = std::vector<pagmo::vector_double>;

Rows PagmoRows(const PointSet& set) {
  Rows rows;
  for (int64_t i = 0; i < set.view().size(); ++i) rows.push_back(set.Row(i));
  return rows;
}

PointSet Select(const PointSet& set, const std::vector<int32_t>& rows) {
  PointSet selected{set.name, {}, set.objectives};
  for (const int32_t row : rows) {
    for (const double value : set.Row(row)) selected.values.push_back(value);
  }
  return selected;
}

std::vector<int32_t> Ascending(const std::vector<pagmo::pop_size_t>& rows) {
  std::vector<int32_t> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

class PagmoOracleTest : public ::testing::TestWithParam<int> {
 protected:
  int k() const { return GetParam(); }
};

TEST_P(PagmoOracleTest, FilterKeepsItsFirstFront) {
  for (const PointSet& set : AllKindsOfPoints(k(), {2, 30, 500})) {
    const Rows rows = PagmoRows(set);
    const auto fronts = std::get<0>(pagmo::fast_non_dominated_sorting(rows));
    EXPECT_THAT(ParetoFilter(set.view(), Duplicates::kKeepAll),
                IsOkAndHolds(Ascending(fronts.front())))
        << set.name;
    if (k() != 2) continue;
    EXPECT_THAT(ParetoFilter(set.view(), Duplicates::kKeepAll),
                IsOkAndHolds(Ascending(pagmo::non_dominated_front_2d(rows))))
        << set.name;
  }
}

TEST_P(PagmoOracleTest, RanksAreItsRanks) {
  for (const PointSet& set : AllKindsOfPoints(k(), {2, 30, 500})) {
    const auto ranks = std::get<3>(pagmo::fast_non_dominated_sorting(PagmoRows(set)));
    EXPECT_THAT(NonDominatedSort(set.view()),
                IsOkAndHolds(std::vector<int32_t>(ranks.begin(), ranks.end())))
        << set.name;
  }
}

TEST_P(PagmoOracleTest, HypervolumeIsItsHypervolume) {
  const std::vector<int> sizes =
      k() <= 3 ? std::vector<int>{1, 30, 500} : std::vector<int>{1, 30, 60};
  for (const PointSet& set : AllKindsOfPoints(k(), sizes)) {
    // The skewed set's largest values are beyond any reference that leaves digits for the others.
    double worst = 0;
    for (const double value : set.values) worst = std::max(worst, value);
    const std::vector<double> reference(static_cast<size_t>(k()), 1.01 * worst + 0.1);
    const double expected = pagmo::hypervolume(PagmoRows(set)).compute(reference);
    EXPECT_THAT(Hypervolume(set.view(), reference),
                IsOkAndHolds(DoubleNear(expected, 1e-10 * expected)))
        << set.name;
  }
}

TEST_P(PagmoOracleTest, ContributionsOfAFrontierAreItsExclusiveVolumes) {
  const std::vector<int> sizes = k() <= 3 ? std::vector<int>{1, 30, 300} : std::vector<int>{1, 30};
  for (const PointSet& set : AllKindsOfPoints(k(), sizes)) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view()));
    const PointSet frontier = Select(set, rows);
    double worst = 0;
    for (const double value : frontier.values) worst = std::max(worst, value);
    const std::vector<double> reference(static_cast<size_t>(k()), 1.01 * worst + 0.1);
    const pagmo::hypervolume oracle(PagmoRows(frontier));
    // One by one, from two volumes each: its sweep over all of three objectives at once goes wrong
    // where values repeat.
    std::vector<double> expected;
    for (unsigned i = 0; i < rows.size(); ++i) expected.push_back(oracle.exclusive(i, reference));
    const double whole = oracle.compute(reference);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto contributions,
                                HypervolumeContributions(frontier.view(), reference));
    ASSERT_EQ(contributions.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(contributions[i], expected[i], 1e-10 * whole) << set.name << " point " << i;
    }
  }
}

TEST_P(PagmoOracleTest, CrowdingDistanceIsItsCrowdingDistance) {
  for (const PointSet& set : AllKindsOfPoints(k(), {2, 30, 300})) {
    // Where values repeat, whose of the equal points are an objective's ends is anybody's choice.
    if (set.name.rfind("tied", 0) == 0) continue;
    FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view()));
    if (rows.size() < 2) continue;  // pagmo wants two
    const std::vector<double> expected = pagmo::crowding_distance(PagmoRows(Select(set, rows)));
    const std::vector<double> distance = CrowdingDistance(set.view(), rows);
    ASSERT_EQ(distance.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_DOUBLE_EQ(distance[i], expected[i]) << set.name << " point " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, PagmoOracleTest, ::testing::Range(2, 6));

}  // namespace
}  // namespace forall
