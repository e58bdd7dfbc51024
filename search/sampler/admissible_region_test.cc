// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/admissible_region.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/sampler/test_world.h"

namespace forall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AdmissibleRegionTest : public ::testing::Test {
 protected:
  const TestWorld world_;
  const SearchSpace& space_ = world_.space();
};

TEST_F(AdmissibleRegionTest, WithoutConstraintsTheEndsAreThoseOfTheSpace) {
  const AdmissibleRegion region(space_, nullptr, 1);
  EXPECT_THAT(region.ends(), ElementsAre(space_.Smallest(), space_.Largest()));
}

TEST_F(AdmissibleRegionTest, TheLargerEndComesCloseToTheBound) {
  for (const double bound : {200.0, 350.0, 500.0}) {
    const AdmissibleRegion region(
        space_, [&](const Architecture& a) { return world_.Cost(a) <= bound; }, 1);
    ASSERT_EQ(region.ends().size(), 2u);
    EXPECT_EQ(region.ends()[0], space_.Smallest());
    EXPECT_LE(world_.Cost(region.ends()[1]), bound);
    EXPECT_GT(world_.Cost(region.ends()[1]), 0.93 * bound);
  }
}

TEST_F(AdmissibleRegionTest, ALowerBoundMovesTheSmallerEnd) {
  const AdmissibleRegion region(
      space_, [&](const Architecture& a) { return world_.Cost(a) >= 400; }, 1);
  ASSERT_EQ(region.ends().size(), 2u);
  EXPECT_GE(world_.Cost(region.ends()[0]), 400);
  EXPECT_LT(world_.Cost(region.ends()[0]), 440);
  EXPECT_EQ(region.ends()[1], space_.Largest());
}

TEST_F(AdmissibleRegionTest, NothingAdmissibleHasNoEnds) {
  const AdmissibleRegion region(
      space_, [](const Architecture&) { return false; }, 1);
  EXPECT_THAT(region.ends(), IsEmpty());
}

TEST_F(AdmissibleRegionTest, WalkingBackEndsInsideNearTheBorder) {
  const double bound = 300;
  const AdmissibleRegion region(
      space_, [&](const Architecture& a) { return world_.Cost(a) <= bound; }, 1);
  Random random(5);
  for (int i = 0; i < 50; ++i) {
    Architecture reached;
    region.WalkBack(space_.Largest(), &random, [&](const Architecture& a) {
      reached = a;
      return region.Contains(a);
    });
    EXPECT_TRUE(region.Contains(reached));
    EXPECT_EQ(space_.Canonical(reached), reached);
    EXPECT_GT(world_.Cost(reached), 0.6 * bound);
  }
}

}  // namespace
}  // namespace forall
