// SPDX-License-Identifier: Apache-2.0
#include "search/report/plot_frame.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::DoubleNear;
using ::testing::Pointwise;

TEST(AxisScaleTest, SpansValuesWithRoundTicks) {
  const AxisScale scale = AxisScale::Around({0.5, 3.5}, INFINITY);
  EXPECT_LT(scale.low(), 0.5);
  EXPECT_GT(scale.high(), 3.5);
  EXPECT_THAT(scale.Ticks(), Pointwise(DoubleNear(1e-9), {0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5}));
  EXPECT_EQ(scale.TickText(1.5), "1.5");
}

TEST(AxisScaleTest, KeepsToWhatIsPossible) {
  EXPECT_EQ(AxisScale::Around({0, 10}, INFINITY).low(), 0);
  EXPECT_EQ(AxisScale::Around({90, 100}, 100).high(), 100);
  EXPECT_LT(AxisScale::Around({-1, 10}, INFINITY).low(), -1);
}

TEST(AxisScaleTest, IsUsableForAnyInput) {
  for (const std::vector<double>& values : {std::vector<double>{},
                                            {5},
                                            {0},
                                            {-3},
                                            {NAN, INFINITY},
                                            {1e-300},
                                            {1e308, -1e308},
                                            {7, 7, 7},
                                            {1e12, 1e12 + 1e-4},
                                            {1e308, 1.7e308},
                                            {100, 100}}) {
    const AxisScale scale = AxisScale::Around(values, 100);
    EXPECT_TRUE(std::isfinite(scale.low()) && std::isfinite(scale.high()));
    EXPECT_LT(scale.low(), scale.high());
    EXPECT_GE(scale.Ticks().size(), 2u);
    EXPECT_LE(scale.Ticks().size(), 32u);
    for (const double tick : scale.Ticks()) EXPECT_FALSE(scale.TickText(tick).empty());
  }
}

TEST(PlotFrameTest, MapsTheScalesOntoTheFrame) {
  PlotFrame frame;
  frame.x = AxisScale::Around({1, 2}, INFINITY);
  frame.y = AxisScale::Around({1, 2}, INFINITY);
  EXPECT_DOUBLE_EQ(frame.X(frame.x.low()), frame.left);
  EXPECT_DOUBLE_EQ(frame.X(frame.x.high()), frame.Right());
  EXPECT_DOUBLE_EQ(frame.Y(frame.y.low()), frame.Bottom());
  EXPECT_DOUBLE_EQ(frame.Y(frame.y.high()), frame.top);
}

}  // namespace
}  // namespace forall
