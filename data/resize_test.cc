// SPDX-License-Identifier: Apache-2.0
#include "data/resize.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::DoubleNear;
using ::testing::FloatNear;
using ::testing::Pointwise;

TEST(ResizeMatrixTest, SameSizeIsTheIdentity) {
  const std::vector<double> matrix = ResizeMatrix(5, 5);
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 5; ++j) EXPECT_EQ(matrix[i * 5 + j], i == j ? 1.0 : 0.0);
  }
}

TEST(ResizeMatrixTest, HalvingUsesATriangleOfHalfWidthTwo) {
  // Output pixel 1 of 4 -> 2 has its centre at 3: weights of the inputs
  // at 1.5, 2.5, 3.5 are 1/4, 3/4, 3/4, so 1/7, 3/7, 3/7 after normalisation
  // (input 0.5 is out of reach).
  EXPECT_THAT(ResizeMatrix(4, 2), Pointwise(DoubleNear(1e-12), {3.0 / 7, 3.0 / 7, 1.0 / 7, 0.0,  //
                                                                0.0, 1.0 / 7, 3.0 / 7, 3.0 / 7}));
}

TEST(ResizeMatrixTest, EnlargingIsPlainBilinear) {
  EXPECT_THAT(ResizeMatrix(2, 4), Pointwise(DoubleNear(1e-12), {1.0, 0.0, 0.75, 0.25,  //
                                                                0.25, 0.75, 0.0, 1.0}));
}

TEST(ResizeMatrixTest, EveryRowSumsToOne) {
  for (const int to : {1, 7, 20, 24, 28, 33}) {
    const std::vector<double> matrix = ResizeMatrix(28, to);
    for (int i = 0; i < to; ++i) {
      double sum = 0;
      for (int j = 0; j < 28; ++j) sum += matrix[i * 28 + j];
      EXPECT_NEAR(sum, 1.0, 1e-12);
    }
  }
}

TEST(PlaneResizerTest, WorksAlongBothAxes) {
  const std::vector<float> input = {0,  1,  2,  3,   //
                                    4,  5,  6,  7,   //
                                    8,  9,  10, 11,  //
                                    12, 13, 14, 15};
  std::vector<float> output(4);
  PlaneResizer(4, 2).Resize(input, absl::MakeSpan(output));
  // Along x the first output is 5/7 of a step from the left, the second 5/7
  // from the right; along y the same in steps of four.
  const float x0 = 5.0f / 7, x1 = 3 - x0, y0 = 4 * x0, y1 = 12 - y0;
  EXPECT_THAT(output, Pointwise(FloatNear(1e-5f), {x0 + y0, x1 + y0, x0 + y1, x1 + y1}));
}

}  // namespace
}  // namespace forall
