// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/statistics.h"

#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

std::vector<double> Draw(int n, const std::function<double()>& one) {
  std::vector<double> samples;
  for (int i = 0; i < n; ++i) samples.push_back(one());
  return samples;
}

std::vector<double> Autoregressive(int n, double memory, Random* random) {
  double state = random->Gaussian() / std::sqrt(1 - memory * memory);
  return Draw(n, [&] { return 100 + (state = memory * state + random->Gaussian()); });
}

// Share of `trials` in which `holds` is true.
double Share(int trials, const std::function<bool()>& holds) {
  int count = 0;
  for (int i = 0; i < trials; ++i) count += holds() ? 1 : 0;
  return static_cast<double>(count) / trials;
}

TEST(MedianTest, OddEvenAndNone) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(Median({}), 0);
}

// The whole ranks are those of printed tables of the sign test's interval; what is added is what
// makes 95 % of the more that whole ranks have.
TEST(MedianRankTest, LiesBehindTheRankOfTables) {
  EXPECT_FALSE(MedianRank(0).has_value());
  EXPECT_FALSE(MedianRank(5).has_value());
  const std::pair<int, int> table[] = {{6, 1}, {8, 1}, {9, 2}, {12, 3}, {20, 6}, {100, 40}};
  for (const auto& [n, rank] : table) {
    ASSERT_TRUE(MedianRank(n).has_value()) << n;
    EXPECT_GE(*MedianRank(n), rank) << n;
    EXPECT_LT(*MedianRank(n), rank + 1) << n;
  }
  // P(B < 6) = 0.0207 and P(B < 7) = 0.0577 of 20 trials: 0.0043 of 0.0370 is a share of 0.1166,
  // and 14 x 0.1166 / (6 + 8 x 0.1166) is 0.235.
  EXPECT_NEAR(*MedianRank(20), 6.235, 0.002);
  ASSERT_TRUE(MedianRank(5000).has_value());
}

TEST(EstimateMedianTest, CoversTheMedianOfASkewedDistribution) {
  Random random(1);
  for (const int n : {12, 30, 100}) {
    const double covered = Share(2000, [&] {
      const Estimate estimate =
          EstimateMedian(Draw(n, [&] { return -std::log(1 - random.Double()); }), n);
      return estimate.low <= std::log(2.0) && std::log(2.0) <= estimate.high;
    });
    EXPECT_GE(covered, 0.935) << n;
    EXPECT_LE(covered, 0.97) << n;
  }
}

TEST(EstimateMedianTest, WideningRestoresCoverageOfCorrelatedSamples) {
  Random random(2);
  const auto covers = [](const Estimate& estimate) {
    return estimate.low <= 100 && 100 <= estimate.high;
  };
  double plain = 0;
  const double widened = Share(1000, [&] {
    const std::vector<double> samples = Autoregressive(100, 0.6, &random);
    plain += covers(EstimateMedian(samples, 100)) ? 1e-3 : 0;
    return covers(EstimateMedian(samples, EffectiveRuns(100, RankAutocorrelation(samples))));
  });
  EXPECT_LT(plain, 0.8);
  EXPECT_GE(widened, 0.9);
}

TEST(DeviationTest, IsTheSamples) {
  EXPECT_EQ(Mean({1, 2, 6}), 3);
  EXPECT_EQ(Mean({}), 0);
  EXPECT_DOUBLE_EQ(StandardDeviation({1, 2, 6}), std::sqrt(7.0));
  EXPECT_EQ(StandardDeviation({5}), 0);
  EXPECT_DOUBLE_EQ(RelativeDeviation({1, 2, 6}), std::sqrt(7.0) / 3);
  EXPECT_EQ(RelativeDeviation({}), 0);
}

TEST(EstimateMedianTest, SpansAllSamplesWithoutEnough) {
  const Estimate estimate = EstimateMedian({5, 1, 4}, 3);
  EXPECT_EQ(estimate.low, 1);
  EXPECT_EQ(estimate.value, 4);
  EXPECT_EQ(estimate.high, 5);
  EXPECT_EQ(EstimateMedian({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2).low, 1);
}

TEST(RankAutocorrelationTest, SeesPastSpikes) {
  Random random(3);
  std::vector<double> samples = Autoregressive(200, 0.7, &random);
  samples[50] *= 1000;
  EXPECT_NEAR(RankAutocorrelation(samples), 0.7, 0.15);
  EXPECT_NEAR(RankAutocorrelation(Draw(200, [&] { return random.Double(); })), 0, 0.2);
  EXPECT_LT(RankAutocorrelation({1, 2, 1, 2, 1, 2, 1, 2}), -0.5);
  EXPECT_EQ(RankAutocorrelation({7, 7, 7, 7, 7}), 0);
}

TEST(EffectiveRunsTest, OnlyPositiveCorrelationTakesAway) {
  EXPECT_EQ(EffectiveRuns(100, 0), 100);
  EXPECT_EQ(EffectiveRuns(100, -0.5), 100);
  EXPECT_NEAR(EffectiveRuns(100, 1.0 / 3), 50, 1e-9);
}

TEST(CountOutliersTest, CountsWhatIsFarAbove) {
  EXPECT_EQ(CountOutliers({100, 101, 99, 100, 102, 98, 100, 150, 100, 1000}), 2);
  EXPECT_EQ(CountOutliers({100, 100, 100, 100, 101}), 0) << "the floor of 2 %";
  EXPECT_EQ(CountOutliers({}), 0);
}

TEST(HasTwoModesTest, SeesTwoSpeeds) {
  Random random(4);
  for (const int n : {20, 100, 200}) {
    int i = 0;
    EXPECT_TRUE(HasTwoModes(Draw(n, [&] {
      return (++i % 3 == 0 ? 110 : 100) * (1 + 0.005 * random.Gaussian());
    }))) << n;
  }
}

TEST(HasTwoModesTest, RarelyAccusesOneMode) {
  Random random(5);
  for (const int n : {12, 24, 60, 200}) {
    EXPECT_LE(
        Share(1000,
              [&] { return HasTwoModes(Draw(n, [&] { return 100 + 2 * random.Gaussian(); })); }),
        0.02)
        << "normal " << n;
    EXPECT_LE(Share(1000,
                    [&] {
                      return HasTwoModes(
                          Draw(n, [&] { return 100 * std::exp(0.05 * random.Gaussian()); }));
                    }),
              0.02)
        << "lognormal " << n;
    EXPECT_LE(Share(1000,
                    [&] {
                      return HasTwoModes(
                          Draw(n, [&] { return 100 - 5 * std::log(1 - random.Double()); }));
                    }),
              0.03)
        << "exponential tail " << n;
  }
  EXPECT_FALSE(HasTwoModes(Draw(30, [&] { return 100 + 1e-3 * random.Double(); })));
}

TEST(WindowedDriftTest, SeesThePaceChange) {
  EXPECT_NEAR(WindowedDrift({1, 1, 1, 1, 1, 1, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5}), 0.5, 1e-9);
  EXPECT_EQ(WindowedDrift({1, 1, 1, 1, 1, 9, 1, 1, 1, 1, 1, 9}), 0) << "spikes are no drift";
  EXPECT_EQ(WindowedDrift({1, 2, 3}), 0) << "too few";
}

TEST(PercentileTest, RefusesTooFewSamples) {
  std::vector<double> samples;
  for (int i = 1; i <= 63; ++i) samples.push_back(i);
  EXPECT_THAT(EstimatePercentile(samples, 90, 63),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("64")));
  EXPECT_THAT(EstimatePercentile(samples, 10, 63), StatusIs(absl::StatusCode::kFailedPrecondition));
  for (int i = 64; i <= 100; ++i) samples.push_back(i);
  EXPECT_EQ(EstimatePercentile(samples, 90, 100)->estimate.value, 90);
  EXPECT_EQ(EstimatePercentile(samples, 10, 100)->estimate.value, 10);
  EXPECT_EQ(EstimatePercentile(samples, 50, 100)->estimate.value, 50);
  EXPECT_THAT(EstimatePercentile(samples, 99, 100),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("662")));
  for (const double wrong : {0.0, -1.0, 100.0, std::nan("")}) {
    EXPECT_THAT(EstimatePercentile(samples, wrong, 100),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(PercentileTest, IntervalIsOfTheOrderStatistics) {
  std::vector<double> samples;
  for (int i = 1; i <= 100; ++i) samples.push_back(i);
  // Binomial (100, 0.9): P(X <= 83) = 0.0206 and P(X <= 84) = 0.0399; P(X <= 94) = 0.9424 and
  // P(X <= 95) = 0.9763.
  const absl::StatusOr<PercentileEstimate> found = EstimatePercentile(samples, 90, 100);
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->estimate.low, 84);
  EXPECT_EQ(found->estimate.high, 96);
  EXPECT_TRUE(found->bounded);
  // As few as 20 independent ones have no rank that is surely above it.
  const absl::StatusOr<PercentileEstimate> few = EstimatePercentile(samples, 90, 20);
  ASSERT_THAT(few, IsOk());
  EXPECT_LT(few->estimate.low, 84);
  EXPECT_EQ(few->estimate.high, 100);
  EXPECT_FALSE(few->bounded);
}

// The claim of 95 %, at the fewest samples and above.
TEST(PercentileTest, IntervalHoldsTheTruth) {
  for (const auto& [percentile, n] : {std::pair(90.0, 64), {90.0, 200}, {99.0, 662}}) {
    Random random(static_cast<uint64_t>(n));
    int held = 0;
    constexpr int kTries = 1000;
    for (int i = 0; i < kTries; ++i) {
      const std::vector<double> samples =
          Draw(n, [&] { return -std::log(1 - random.Double()); });  // exponential
      const double truth = -std::log(1 - percentile / 100);
      const Estimate estimate = EstimatePercentile(samples, percentile, n)->estimate;
      held += estimate.low <= truth && truth <= estimate.high;
    }
    EXPECT_GE(held, 940) << percentile << " of " << n;
    EXPECT_LE(held, 990) << percentile << " of " << n;
  }
}

TEST(StudentTest, AgreesWithTables) {
  EXPECT_NEAR(StudentT975(1), 12.706, 1e-3);
  EXPECT_NEAR(StudentT975(4), 2.776, 1e-3);
  EXPECT_NEAR(StudentT975(11), 2.201, 3e-3);
  EXPECT_NEAR(StudentT975(30), 2.042, 1e-3);
}

}  // namespace
}  // namespace forall
