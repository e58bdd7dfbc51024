// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/expected_hypervolume.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "search/pareto/hypervolume.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;

// Over all subsets of n of the points, by bit mask.
double ByEnumeration(const PointsView& points, const std::vector<double>& reference, int n) {
  double sum = 0;
  int sets = 0;
  for (uint32_t mask = 0; mask < 1u << points.size(); ++mask) {
    if (__builtin_popcount(mask) != n) continue;
    std::vector<double> chosen;
    for (int64_t i = 0; i < points.size(); ++i) {
      if ((mask >> i & 1) != 0) {
        chosen.insert(chosen.end(), points[i], points[i] + points.objectives);
      }
    }
    sum += Hypervolume({chosen, points.objectives}, reference).value();
    ++sets;
  }
  return sum / sets;
}

TEST(ExpectedHypervolumeTest, IsTheMeanOverAllSubsets) {
  for (const int k : {1, 2, 3}) {
    const PointSet set = UniformPoints(7, k, 11);
    const std::vector<double> reference(k, 0.95);
    const std::vector<int64_t> counts = {1, 2, 3, 4, 5, 6, 7};
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<HypervolumeBand> bands,
                                ExpectedHypervolume(set.view(), reference, counts, 4000, 1));
    ASSERT_EQ(bands.size(), counts.size());
    for (const HypervolumeBand& band : bands) {
      const int n = static_cast<int>(band.evaluations);
      // Four standard errors of 4000 values in [0, 1].
      EXPECT_NEAR(band.mean, ByEnumeration(set.view(), reference, n), 4 * 0.5 / std::sqrt(4000.0))
          << k << " objectives, " << n;
      EXPECT_LE(band.low, band.mean + 1e-12);
      EXPECT_GE(band.high, band.mean - 1e-12);
    }
    EXPECT_NEAR(bands[6].mean, Hypervolume(set.view(), reference).value(), 1e-12);
    EXPECT_NEAR(bands[6].low, bands[6].high, 1e-12);
  }
}

TEST(ExpectedHypervolumeTest, GrowsAndRepeats) {
  const PointSet set = UniformPoints(80, 2, 3);
  const std::vector<int64_t> counts = {1, 10, 20, 40, 80};
  FORALL_ASSERT_OK_AND_ASSIGN(const auto bands,
                              ExpectedHypervolume(set.view(), {1, 1}, counts, 50, 9));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto again,
                              ExpectedHypervolume(set.view(), {1, 1}, counts, 50, 9));
  for (size_t i = 0; i < bands.size(); ++i) {
    EXPECT_EQ(bands[i].mean, again[i].mean);
    if (i == 0) continue;
    EXPECT_GT(bands[i].mean, bands[i - 1].mean);
    EXPECT_GE(bands[i].low, bands[i - 1].low);
  }
  // The middle 80 % of 50 orders leaves five out at either end.
  EXPECT_LT(bands[1].low, bands[1].mean);
  EXPECT_GT(bands[1].high, bands[1].mean);
}

TEST(ExpectedHypervolumeTest, PointsBeyondTheReferenceCountAsEvaluationsThatFindNothing) {
  const std::vector<double> values = {0.5, 0.5, 1, 1, 2, 0, 1, 0.25};
  FORALL_ASSERT_OK_AND_ASSIGN(const auto bands,
                              ExpectedHypervolume({values, 2}, {1, 1}, {2, 4}, 2000, 5));
  EXPECT_NEAR(bands[0].mean, 0.125, 0.02);  // the first point is among two of four half the time
  EXPECT_EQ(bands[1].mean, 0.25);
}

TEST(ExpectedHypervolumeTest, RefusesWhatIsOutOfRange) {
  const PointSet set = UniformPoints(4, 2, 3);
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ExpectedHypervolume(set.view(), {1, 1}, {5}, 10, 1), refused);
  EXPECT_THAT(ExpectedHypervolume(set.view(), {1, 1}, {0}, 10, 1), refused);
  EXPECT_THAT(ExpectedHypervolume(set.view(), {1, 1}, {3, 2}, 10, 1), refused);
  EXPECT_THAT(ExpectedHypervolume(set.view(), {1, 1}, {1}, 0, 1), refused);
  EXPECT_THAT(ExpectedHypervolume(set.view(), {1}, {1}, 1, 1), refused);
  EXPECT_THAT(
      ExpectedHypervolume(set.view(), {1, std::numeric_limits<double>::infinity()}, {1}, 1, 1),
      refused);
  EXPECT_THAT(ExpectedHypervolume({{}, 2}, {1, 1}, {}, 1, 1), IsOk());
}

}  // namespace
}  // namespace forall
