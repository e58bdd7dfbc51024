// SPDX-License-Identifier: Apache-2.0
#include "base/forecast_quality.h"

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::DoubleNear;
using ::testing::Eq;
using ::testing::Optional;

int Sign(double value) { return (value > 0) - (value < 0); }

// By the definition, over all pairs of pairs.
double TauByDefinition(const std::vector<Forecast>& pairs) {
  double agreement = 0;
  double expected_differ = 0;
  double measured_differ = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const int x = Sign(pairs[i].expected - pairs[j].expected);
      const int y = Sign(pairs[i].measured - pairs[j].measured);
      agreement += x * y;
      expected_differ += x * x;
      measured_differ += y * y;
    }
  }
  return agreement / std::sqrt(expected_differ * measured_differ);
}

// The correlation of ranks counted one by one: half of the equal ones, itself included, are below.
double RhoByDefinition(const std::vector<Forecast>& pairs) {
  const double n = static_cast<double>(pairs.size());
  double xy = 0;
  double xx = 0;
  double yy = 0;
  for (const Forecast& a : pairs) {
    double x = -n / 2;
    double y = -n / 2;
    for (const Forecast& b : pairs) {
      x += b.expected < a.expected ? 1 : b.expected == a.expected ? 0.5 : 0;
      y += b.measured < a.measured ? 1 : b.measured == a.measured ? 0.5 : 0;
    }
    xy += x * y;
    xx += x * x;
    yy += y * y;
  }
  return xy / std::sqrt(xx * yy);
}

TEST(LedgerTest, ComputedByHand) {
  // Errors: +4 of 100, -12 of 100, +10 of 50, 0 of 200.
  const std::vector<Forecast> pairs = {{104, 1, 100}, {88, 7, 100}, {60, 5, 50}, {200, 0, 200}};
  const ForecastQuality quality = JudgeForecasts(pairs);
  EXPECT_EQ(quality.count, 4);
  EXPECT_THAT(quality.mean_relative_error,
              Optional(DoubleNear((0.04 + 0.12 + 0.2 + 0) / 4, 1e-12)));
  EXPECT_DOUBLE_EQ(quality.within_5_percent, 0.5);
  EXPECT_DOUBLE_EQ(quality.within_10_percent, 0.5);
  EXPECT_DOUBLE_EQ(quality.within_15_percent, 0.75);
  EXPECT_DOUBLE_EQ(quality.mean_signed_error, (4 - 12 + 10 + 0) / 4.0);
  // 12 <= 1.96 * 7 and 0 <= 0; 4 > 1.96 * 1 and 10 > 1.96 * 5.
  EXPECT_DOUBLE_EQ(quality.within_interval, 0.5);
  // Five pairs agree, one is tied on one side: 5 / sqrt(6 * 5).
  EXPECT_THAT(quality.kendall_tau, Optional(DoubleNear(5 / std::sqrt(30.0), 1e-12)));
  // Ranks 3 2 1 4 and 2.5 2.5 1 4: 4.5 / sqrt(5 * 4.5).
  EXPECT_THAT(quality.spearman_rho, Optional(DoubleNear(4.5 / std::sqrt(22.5), 1e-12)));
}

TEST(LedgerTest, RankCorrelationsAreThoseOfTheirDefinitions) {
  Random random(7);
  for (int round = 0; round < 60; ++round) {
    std::vector<Forecast> pairs;
    const int count = 2 + static_cast<int>(random.Uniform(70));
    // Few levels make many ties on either side, and on both.
    const double levels = round % 3 == 0 ? 4 : round % 3 == 1 ? 20 : 1e9;
    for (int i = 0; i < count; ++i) {
      const double truth = std::floor(random.Double() * levels);
      const double guess = std::floor((truth / levels + 0.3 * random.Gaussian()) * levels);
      pairs.push_back({guess, 1, truth});
    }
    const ForecastQuality quality = JudgeForecasts(pairs);
    if (!quality.kendall_tau.has_value()) {
      EXPECT_TRUE(std::isnan(TauByDefinition(pairs)));
      continue;
    }
    EXPECT_NEAR(*quality.kendall_tau, TauByDefinition(pairs), 1e-12);
    EXPECT_NEAR(quality.spearman_rho.value(), RhoByDefinition(pairs), 1e-12);
  }
}

TEST(LedgerTest, ReversedOrderIsMinusOne) {
  std::vector<Forecast> pairs;
  for (int i = 1; i <= 100; ++i) pairs.push_back({1.0 / i, 0, 1.0 * i});
  EXPECT_THAT(JudgeForecasts(pairs).kendall_tau, Optional(DoubleNear(-1, 1e-12)));
  EXPECT_THAT(JudgeForecasts(pairs).spearman_rho, Optional(DoubleNear(-1, 1e-12)));
}

TEST(LedgerTest, WhatIsUndefinedIsAbsent) {
  EXPECT_EQ(JudgeForecasts({}).count, 0);
  EXPECT_EQ(JudgeForecasts({}).mean_relative_error, std::nullopt);
  const std::vector<Forecast> one = {{1, 0.5, 0}};
  EXPECT_EQ(JudgeForecasts(one).count, 1);
  EXPECT_EQ(JudgeForecasts(one).mean_relative_error, std::nullopt);
  EXPECT_EQ(JudgeForecasts(one).within_15_percent, 0);
  EXPECT_EQ(JudgeForecasts(one).kendall_tau, std::nullopt);
  const std::vector<Forecast> flat = {{3, 0, 1}, {3, 0, 2}, {3, 0, 4}};
  EXPECT_EQ(JudgeForecasts(flat).kendall_tau, std::nullopt);
  EXPECT_EQ(JudgeForecasts(flat).spearman_rho, std::nullopt);
}

TEST(LedgerTest, LeavesOutWhatIsNotFinite) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<Forecast> pairs = {
      {nan, 1, 1}, {1, infinity, 1}, {1, 1, nan}, {2, 1, 4}, {3, 1, 6}};
  const ForecastQuality quality = JudgeForecasts(pairs);
  EXPECT_EQ(quality.count, 2);
  EXPECT_THAT(quality.mean_relative_error, Optional(DoubleNear(0.5, 1e-12)));
  EXPECT_THAT(quality.kendall_tau, Optional(Eq(1)));
}

}  // namespace
}  // namespace forall
