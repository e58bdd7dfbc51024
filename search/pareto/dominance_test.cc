// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/dominance.h"

#include <limits>
#include <vector>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(DominanceTest, SmallerIsBetterAndEqualPointsDoNotDominate) {
  const double a[] = {1, 2};
  const double b[] = {1, 3};
  const double c[] = {0, 4};
  EXPECT_TRUE(Dominates(a, b, 2));
  EXPECT_FALSE(Dominates(b, a, 2));
  EXPECT_FALSE(Dominates(a, a, 2));
  EXPECT_TRUE(WeaklyDominates(a, a, 2));
  EXPECT_FALSE(Dominates(a, c, 2));
  EXPECT_FALSE(Dominates(c, a, 2));
}

TEST(DominanceTest, InfinitiesAreTheWorstAndTheBest) {
  const double finite[] = {1, 1};
  const double worst[] = {1, kInfinity};
  const double best[] = {1, -kInfinity};
  EXPECT_TRUE(Dominates(finite, worst, 2));
  EXPECT_TRUE(Dominates(best, finite, 2));
}

TEST(CheckPointsTest, RefusesWhatHasNoOrderOrShape) {
  const std::vector<double> values = {1, 2, 3, kNaN};
  EXPECT_THAT(CheckPoints({values, 2}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("point 1 has no number (NaN) for objective 1")));
  EXPECT_THAT(CheckPoints({values, 3}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CheckPoints({values, 0}), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<double> infinite = {kInfinity, -kInfinity};
  FORALL_EXPECT_OK(CheckPoints({infinite, 2}));
  FORALL_EXPECT_OK(CheckPoints({{}, 2}));
}

}  // namespace
}  // namespace forall
