// SPDX-License-Identifier: Apache-2.0
#include "base/binomial.h"

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(BinomialAtMostTest, IsTheSumOfTheTerms) {
  EXPECT_NEAR(BinomialAtMost(0, 3, 0.5), 0.125, 1e-12);
  EXPECT_NEAR(BinomialAtMost(1, 3, 0.5), 0.5, 1e-12);
  EXPECT_NEAR(BinomialAtMost(2, 3, 0.2), 1 - 0.008, 1e-12);
  EXPECT_EQ(BinomialAtMost(3, 3, 0.2), 1);
  EXPECT_EQ(BinomialAtMost(0, 0, 0.2), 1);
  EXPECT_EQ(BinomialAtMost(-1, 3, 0.2), 0);
  EXPECT_NEAR(BinomialAtMost(50'000, 100'000, 0.5), 0.5, 0.01);
}

TEST(PercentileTest, TwoSamplesMostLikelyLieBeyond) {
  EXPECT_EQ(FewestSamplesForPercentile(90), 64);
  EXPECT_EQ(FewestSamplesForPercentile(10), 64);
  EXPECT_EQ(FewestSamplesForPercentile(95), 130);
  EXPECT_EQ(FewestSamplesForPercentile(99), 662);
  EXPECT_EQ(FewestSamplesForPercentile(50), 11);
}

TEST(CoverageTest, FewTrialsProveLittle) {
  EXPECT_FALSE(CoverageIsFarBelow95(0, 0));
  EXPECT_FALSE(CoverageIsFarBelow95(1, 3));  // once in 138
  EXPECT_TRUE(CoverageIsFarBelow95(0, 3));   // once in 8,000
  EXPECT_TRUE(CoverageIsFarBelow95(4, 40));
  EXPECT_FALSE(CoverageIsFarBelow95(36, 40));
  EXPECT_FALSE(CoverageIsFarBelow95(40, 40));
}

}  // namespace
}  // namespace forall
