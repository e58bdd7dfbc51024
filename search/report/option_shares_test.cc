// SPDX-License-Identifier: Apache-2.0
#include "search/report/option_shares.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/family.h"

namespace forall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Up to three blocks of a kernel each, the third one with an expansion that only width 24 allows.
SearchSpace SmallSpace() {
  return SearchSpace::Create("small", 1,
                             {{"w", {16, 24}, {}},
                              {"depth1", {1, 2, 3}, {}},
                              {"k1.1", {3, 5, 7}, {}},
                              {"k1.2", {3, 5, 7}, ActivationCondition{1, 2}},
                              {"k1.3", {3, 5, 7}, ActivationCondition{1, 3}},
                              {"9", {1}, {}}})
      .value();
}

std::vector<std::string> Names(const OptionGroup& group) {
  std::vector<std::string> names;
  for (const OptionShare& option : group.options) names.push_back(option.option);
  return names;
}

TEST(OptionSharesTest, CountsActiveChoicesOnly) {
  const SearchSpace space = SmallSpace();
  // Depth 1 with kernel 7, the others inactive; depth 3 with kernels 3, 5, 7.
  const std::vector<OptionGroup> groups = OptionShares(
      space, {Architecture{"small", 1, {0, 0, 2, 0, 0, 0}}, {"small", 1, {1, 2, 0, 1, 2, 0}}});
  ASSERT_THAT(groups, SizeIs(3));  // with one option there is nothing to choose
  EXPECT_EQ(groups[0].letters, "w");
  EXPECT_EQ(groups[1].letters, "depth");
  EXPECT_EQ(groups[2].letters, "k");
  EXPECT_EQ(groups[2].dimensions, 3);
  EXPECT_THAT(Names(groups[2]), ElementsAre("3", "5", "7"));
  EXPECT_DOUBLE_EQ(groups[2].options[0].chosen, 0.25);
  EXPECT_DOUBLE_EQ(groups[2].options[1].chosen, 0.25);
  EXPECT_DOUBLE_EQ(groups[2].options[2].chosen, 0.5);
  for (const OptionShare& option : groups[2].options) EXPECT_DOUBLE_EQ(option.uniform, 1.0 / 3);
}

TEST(OptionSharesTest, OptionsThatDifferByDimensionAreNamedByPlace) {
  const SearchSpace space = SearchSpace::Create("s", 1,
                                                {{"w1", {8, 16, 24, 32}, {}},
                                                 {"w2", {24, 48}, {}},
                                                 {"x1", {1, 2}, {}},
                                                 {"x2", {3}, ActivationCondition{2, 2}}})
                                .value();
  const std::vector<OptionGroup> groups = OptionShares(space, {Architecture{"s", 1, {1, 1, 1, 0}}});
  ASSERT_THAT(groups, SizeIs(2));
  EXPECT_THAT(Names(groups[0]), ElementsAre("smallest", "2nd", "3rd", "largest"));
  EXPECT_DOUBLE_EQ(groups[0].options[1].chosen, 0.5);
  EXPECT_DOUBLE_EQ(groups[0].options[3].chosen, 0.5);
  EXPECT_DOUBLE_EQ(groups[0].options[0].uniform, (0.25 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(groups[0].options[2].uniform, 0.25 / 2);
  // x2 counts in half of the networks, and has its first option alone.
  EXPECT_DOUBLE_EQ(groups[1].options[0].uniform, (0.5 + 0.5) / 1.5);
}

// The expectation against what the space itself draws, conditions upon conditions included.
TEST(OptionSharesTest, ExpectationIsThatOfUniformSampling) {
  const SearchSpace chained = SearchSpace::Create("c", 1,
                                                  {{"a1", {0, 1, 2}, {}},
                                                   {"a2", {0, 1, 2}, ActivationCondition{0, 1}},
                                                   {"a3", {0, 5}, ActivationCondition{1, 2}},
                                                   {"b1", {1, 2}, ActivationCondition{2, 5}},
                                                   {"b2", {3, 4, 9}, {}}})
                                  .value();
  const SearchSpace real = FindFamily("fashion_mnist").value()->search_space();
  for (const SearchSpace* space : {&chained, &real}) {
    Random random(3);
    std::vector<Architecture> drawn;
    for (int i = 0; i < 20000; ++i) drawn.push_back(space->Sample(&random));
    for (const OptionGroup& group : OptionShares(*space, drawn)) {
      double chosen = 0;
      double uniform = 0;
      for (const OptionShare& option : group.options) {
        EXPECT_NEAR(option.chosen, option.uniform, 0.015) << group.letters << option.option;
        chosen += option.chosen;
        uniform += option.uniform;
      }
      EXPECT_NEAR(chosen, 1, 1e-9);
      EXPECT_NEAR(uniform, 1, 1e-9);
    }
  }
}

TEST(OptionSharesTest, LeavesOutArchitecturesOfOtherSpaces) {
  EXPECT_THAT(OptionShares(SmallSpace(), {Architecture{"other", 1, {0, 0, 0, 0, 0, 0}}}),
              IsEmpty());
  EXPECT_THAT(OptionShares(SmallSpace(), {}), IsEmpty());
}

}  // namespace
}  // namespace forall
