// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/hypervolume_gain.h"

#include <cmath>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "search/pareto/hypervolume.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;

TEST(HypervolumeGainTest, IsWhatThePointAddsToTheHypervolume) {
  for (const int k : {1, 2, 3, 4}) {
    for (const PointSet& set : AllKindsOfPoints(k, {1, 2, 40})) {
      if (set.name == "skewed") continue;
      const std::vector<double> reference(k, 0.9);
      absl::StatusOr<HypervolumeGain> gain = HypervolumeGain::Create(reference);
      ASSERT_THAT(gain.status(), IsOk());
      std::vector<double> so_far;
      double before = 0;
      for (int64_t i = 0; i < set.view().size(); ++i) {
        const std::vector<double> point = set.Row(i);
        so_far.insert(so_far.end(), point.begin(), point.end());
        const double after = Hypervolume({so_far, k}, reference).value();
        EXPECT_NEAR(gain->Gain(point), after - before, 1e-9) << set.name << " row " << i;
        gain->Add(point);
        EXPECT_NEAR(gain->Gain(point), 0, 1e-9) << set.name << " row " << i;
        before = after;
      }
    }
  }
}

TEST(HypervolumeGainTest, NothingIsGainedBeyondTheReference) {
  absl::StatusOr<HypervolumeGain> gain = HypervolumeGain::Create({1, 1});
  ASSERT_THAT(gain.status(), IsOk());
  EXPECT_EQ(gain->Gain({0.5, 1}), 0);
  EXPECT_EQ(gain->Gain({2, 0}), 0);
  gain->Add(std::vector<double>{2, 0});
  EXPECT_DOUBLE_EQ(gain->Gain({0.5, 0.5}), 0.25);
}

TEST(HypervolumeGainTest, ExpectedGainIsTheMeanOverWhatAMeasurementMayBe) {
  Random random(1);
  for (const int k : {1, 2, 3, 4}) {
    const std::vector<double> reference(k, 1);
    absl::StatusOr<HypervolumeGain> gain = HypervolumeGain::Create(reference);
    ASSERT_THAT(gain.status(), IsOk());
    for (int i = 0; i < 5; ++i) {
      std::vector<double> member(k);
      for (double& value : member) value = 0.3 + 0.4 * random.Double();
      gain->Add(member);
    }
    const std::vector<double> point(k, 0.45);
    const std::vector<double> deviations(k, 0.08);
    double sum = 0;
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) {
      std::vector<double> drawn = point;
      for (double& value : drawn) value += 0.08 * random.Gaussian();
      sum += gain->Gain(drawn);
    }
    EXPECT_NEAR(gain->ExpectedGain(point, deviations), sum / kDraws, 0.25 * sum / kDraws) << k;
    EXPECT_EQ(gain->ExpectedGain(point, std::vector<double>(k, 0)), gain->Gain(point));
  }
}

// What a frontier of lucky points covers still has its chance, the nearer to it the more.
TEST(HypervolumeGainTest, WhatIsCoveredIsExpectedToGainByItsDistance) {
  absl::StatusOr<HypervolumeGain> gain = HypervolumeGain::Create({1, 1});
  ASSERT_THAT(gain.status(), IsOk());
  gain->Add(std::vector<double>{0.4, 0.4});
  const std::vector<double> deviations = {0.1, 0};
  const double near = gain->ExpectedGain({0.45, 0.45}, deviations);
  const double far = gain->ExpectedGain({0.5, 0.45}, deviations);
  EXPECT_EQ(gain->Gain({0.45, 0.45}), 0);
  EXPECT_GT(near, far);
  EXPECT_GT(far, 0);
  EXPECT_EQ(gain->ExpectedGain({0.9, 0.45}, deviations), 0);
}

TEST(HypervolumeGainTest, RefusesAReferenceThatIsNotFinite) {
  EXPECT_THAT(HypervolumeGain::Create({}).status(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(HypervolumeGain::Create({1, std::nan("")}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace forall
