// SPDX-License-Identifier: Apache-2.0
#include "search/controller/paired_test.h"

#include <string>

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(PairedTestTest, CountsImagesThatDivideTheTwo) {
  const std::string first = "\x0f\x01";
  const std::string second = "\x3c\x01";
  const Discordance discordance = CountDiscordance(first, second, 16);
  EXPECT_EQ(discordance.only_first, 2);
  EXPECT_EQ(discordance.only_second, 2);
  const Discordance shared = CountDiscordance(first + "\x07", second, 5);
  EXPECT_EQ(shared.only_first, 2) << "images 0 and 1";
  EXPECT_EQ(shared.only_second, 1) << "image 4";
}

TEST(PairedTestTest, MatchesBinomialTailsWorkedByHand) {
  EXPECT_DOUBLE_EQ(SecondIsBetterPValue({0, 0}), 1);
  EXPECT_NEAR(SecondIsBetterPValue({0, 5}), 1.0 / 32, 1e-12);
  EXPECT_NEAR(SecondIsBetterPValue({1, 5}), 7.0 / 64, 1e-12);
  EXPECT_NEAR(SecondIsBetterPValue({2, 8}), 56.0 / 1024, 1e-12);
  EXPECT_NEAR(SecondIsBetterPValue({5, 0}), 1, 1e-12);
  EXPECT_NEAR(SecondIsBetterPValue({3, 3}), 42.0 / 64, 1e-12);
}

TEST(PairedTestTest, LargeCountsNeitherOverflowNorVanish) {
  // Standard normal approximation with continuity correction: z = (n/2 - 4900.5) / 50.
  EXPECT_NEAR(SecondIsBetterPValue({4900, 5100}), 0.0233, 0.0005);
  EXPECT_LT(SecondIsBetterPValue({0, 10'000}), 1e-300);
  EXPECT_NEAR(SecondIsBetterPValue({10'000, 0}), 1, 1e-9);
}

}  // namespace
}  // namespace forall
