// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/knee.h"

#include <limits>
#include <vector>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "search/pareto/pareto_filter.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;

TEST(KneeRowTest, IsFarthestFromTheLineBetweenTheExtremes) {
  //                                (0,100) (1,40)  (2,10)  (5,5)  (10,0)
  const std::vector<double> values = {0, 100, 1, 40, 2, 10, 5, 5, 10, 0};
  EXPECT_THAT(KneeRow({values, 2}), IsOkAndHolds(2));
}

TEST(KneeRowTest, IgnoresDominatedPointsWhenScaling) {
  // The dominated (50, 500) would make (1, 40) look as good as its neighbours.
  const std::vector<double> values = {50, 500, 0, 100, 1, 40, 2, 10, 5, 5, 10, 0};
  EXPECT_THAT(KneeRow({values, 2}), IsOkAndHolds(3));
}

TEST(KneeRowTest, IsTheMostBalancedPointOfAConcaveFrontier) {
  const std::vector<double> values = {0, 1, 0.5, 0.9, 0.75, 0.75, 0.9, 0.5, 1, 0};
  EXPECT_THAT(KneeRow({values, 2}), IsOkAndHolds(2));
}

TEST(KneeRowTest, MovesWithUnitsAndScaleOfNoObjective) {
  for (int k = 2; k <= 4; ++k) {
    const PointSet set = UniformPoints(300, k, 9);
    FORALL_ASSERT_OK_AND_ASSIGN(const int32_t knee, KneeRow(set.view()));
    PointSet scaled = set;
    for (size_t i = 0; i < scaled.values.size(); ++i) {
      scaled.values[i] = i % k == 0 ? 1000 * scaled.values[i] - 7 : scaled.values[i] / 64;
    }
    EXPECT_THAT(KneeRow(scaled.view()), IsOkAndHolds(knee));
  }
}

TEST(KneeRowTest, IsOnTheFrontierInAnyNumberOfObjectives) {
  for (int k = 1; k <= 5; ++k) {
    for (const PointSet& set : AllKindsOfPoints(k, {1, 2, 40})) {
      FORALL_ASSERT_OK_AND_ASSIGN(const int32_t knee, KneeRow(set.view()));
      for (int64_t i = 0; i < set.view().size(); ++i) {
        EXPECT_FALSE(Dominates(set.view()[i], set.view()[knee], k)) << set.name;
      }
    }
  }
}

TEST(KneeRowTest, SurvivesTheLargestNumbers) {
  const double most = std::numeric_limits<double>::max();
  const std::vector<double> values = {-most, most, 0, -most / 2, most, -most};
  EXPECT_THAT(KneeRow({values, 2}), IsOkAndHolds(1));
}

TEST(KneeRowTest, RefusesNoPointsAndInfinity) {
  EXPECT_THAT(KneeRow({{}, 2}), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<double> values = {1, std::numeric_limits<double>::infinity()};
  EXPECT_THAT(KneeRow({values, 2}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(HasKneeTest, TellsTheKneeFromTheFallback) {
  EXPECT_THAT(HasKnee({std::vector<double>{0, 10, 2, 2, 10, 0}, 2}), IsOkAndHolds(true));
  EXPECT_THAT(HasKnee({std::vector<double>{0, 10, 9, 9, 10, 0}, 2}), IsOkAndHolds(false));
  EXPECT_THAT(HasKnee({std::vector<double>{0, 10, 10, 0}, 2}), IsOkAndHolds(false));
  EXPECT_THAT(HasKnee({std::vector<double>{0, 10}, 2}), IsOkAndHolds(false));
}

}  // namespace
}  // namespace forall
