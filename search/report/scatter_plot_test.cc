// SPDX-License-Identifier: Apache-2.0
#include "search/report/scatter_plot.h"

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(StaircaseTest, FollowsTheGoals) {
  // 0: cheap and poor, 1: dear and good, 2: beaten by 1 when x is a cost, 3: in between.
  const std::vector<PlotPoint> points = {{1, 10}, {5, 30}, {6, 20}, {3, 25}};
  EXPECT_THAT(Staircase(points, false, true), ElementsAre(0, 3, 1));
  EXPECT_THAT(Staircase(points, true, true), ElementsAre(1, 2));
  EXPECT_THAT(Staircase(points, false, false), ElementsAre(0));
  EXPECT_THAT(Staircase(points, true, false), ElementsAre(0, 2));
}

TEST(StaircaseTest, KeepsOneOfEqualPointsAndNothingOfNothing) {
  EXPECT_THAT(Staircase({{1, 1}, {1, 1}, {1, 0}}, false, true), ElementsAre(0));
  EXPECT_THAT(Staircase({}, false, true), IsEmpty());
}

TEST(StaircaseTest, IsWhatNoOtherPointBeats) {
  Random random(7);
  for (int round = 0; round < 40; ++round) {
    const bool right = round % 2 == 0;
    const bool up = round % 4 < 2;
    std::vector<PlotPoint> points;
    for (int i = 0; i < 30; ++i) points.push_back({random.Double(), random.Double()});
    const auto beats = [&](const PlotPoint& a, const PlotPoint& b) {
      return (right ? a.x > b.x : a.x < b.x) && (up ? a.y > b.y : a.y < b.y);
    };
    const std::vector<int> steps = Staircase(points, right, up);
    for (int i = 0; i < 30; ++i) {
      const bool beaten = std::any_of(points.begin(), points.end(), [&](const PlotPoint& other) {
        return beats(other, points[i]);
      });
      const bool drawn = std::find(steps.begin(), steps.end(), i) != steps.end();
      EXPECT_EQ(drawn, !beaten);
    }
    for (size_t i = 1; i < steps.size(); ++i) EXPECT_LT(points[steps[i - 1]].x, points[steps[i]].x);
  }
}

}  // namespace
}  // namespace forall
