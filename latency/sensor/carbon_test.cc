// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/carbon.h"

#include <cmath>
#include <limits>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::DoubleEq;

TEST(CarbonTest, IsEnergyTimesIntensity) {
  EXPECT_THAT(CarbonGrams(3.6e6, 380), IsOkAndHolds(DoubleEq(380)));
  EXPECT_THAT(CarbonGrams(1.8, 500), IsOkAndHolds(DoubleEq(0.00025)));
  EXPECT_THAT(CarbonGrams(0, 500), IsOkAndHolds(0));
  EXPECT_THAT(CarbonGrams(100, 0), IsOkAndHolds(0));
}

TEST(CarbonTest, RefusesWhatIsNoEnergyAndNoIntensity) {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {-1.0, nan, infinity, -infinity}) {
    EXPECT_THAT(CarbonGrams(bad, 1), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
    EXPECT_THAT(CarbonGrams(1, bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
  }
}

}  // namespace
}  // namespace forall
