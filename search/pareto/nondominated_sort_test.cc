// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/nondominated_sort.h"

#include <limits>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Peels frontiers off, one after the other.
std::vector<int32_t> BruteForce(const PointSet& set) {
  const PointsView points = set.view();
  std::vector<int32_t> rank(points.size(), -1);
  int64_t left = points.size();
  for (int32_t level = 0; left > 0; ++level) {
    std::vector<int64_t> front;
    for (int64_t i = 0; i < points.size(); ++i) {
      if (rank[i] >= 0) continue;
      bool dominated = false;
      for (int64_t j = 0; j < points.size() && !dominated; ++j) {
        dominated = rank[j] < 0 && Dominates(points[j], points[i], set.objectives);
      }
      if (!dominated) front.push_back(i);
    }
    for (const int64_t i : front) rank[i] = level;
    left -= static_cast<int64_t>(front.size());
  }
  return rank;
}

class NonDominatedSortTest : public ::testing::TestWithParam<int> {};

TEST_P(NonDominatedSortTest, EqualsPeelingOffFrontiers) {
  for (const PointSet& set : AllKindsOfPoints(GetParam(), {1, 2, 9, 70, 400})) {
    // Peeling takes O(n^3) where every point is a rank of its own.
    if (GetParam() == 1 && set.view().size() > 100) continue;
    FORALL_ASSERT_OK_AND_ASSIGN(const auto rank, NonDominatedSort(set.view()));
    EXPECT_EQ(rank, BruteForce(set)) << set.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, NonDominatedSortTest, ::testing::Range(1, 6));

TEST(NonDominatedSortEdgesTest, EmptyAndInvalidInput) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto rank, NonDominatedSort({{}, 2}));
  EXPECT_THAT(rank, IsEmpty());
  const std::vector<double> nan = {std::numeric_limits<double>::quiet_NaN(), 1};
  EXPECT_THAT(NonDominatedSort({nan, 2}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CrowdingDistanceTest, SumsRelativeGapsAndKeepsTheEnds) {
  const std::vector<double> values = {0, 10, 4, 1, 1, 5, 9, 9, 2, 3};
  const std::vector<int32_t> front = {0, 1, 2, 4};  // (0,10) (4,1) (1,5) (2,3)
  const std::vector<double> distance = CrowdingDistance({values, 2}, front);
  EXPECT_THAT(distance, ElementsAre(kInfinity, kInfinity, DoubleNear(2.0 / 4 + 7.0 / 9, 1e-12),
                                    DoubleNear(3.0 / 4 + 4.0 / 9, 1e-12)));
}

TEST(CrowdingDistanceTest, EqualPointsHaveNoRoomAndInfiniteRangesCountForNothing) {
  const std::vector<double> same = {1, 1, 1, 1, 1, 1};
  const std::vector<int32_t> front = {0, 1, 2};
  EXPECT_THAT(CrowdingDistance({same, 2}, front), ElementsAre(kInfinity, 0, kInfinity));
  const std::vector<double> infinite = {-kInfinity, 4, 1, 3, kInfinity, 0};
  EXPECT_THAT(CrowdingDistance({infinite, 2}, front),
              ElementsAre(kInfinity, DoubleEq(1.0), kInfinity));
  EXPECT_THAT(CrowdingDistance({infinite, 2}, {}), IsEmpty());
}

}  // namespace
}  // namespace forall
