// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/deb_rule.h"

#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

ScoredTrial Trial(std::vector<double> objectives, double violation = 0) {
  return {0, {}, std::move(objectives), violation};
}

TEST(OrderTrialsTest, FeasibleFirstThenByViolation) {
  const std::vector<ScoredTrial> trials = {Trial({0, 0}, 0.5), Trial({9, 9}), Trial({0, 0}, 0.1),
                                           Trial({8, 8}), Trial({0, 0}, 0.5)};
  const TrialOrder order = OrderTrials(trials);
  EXPECT_THAT(order.best_first, ElementsAre(3, 1, 2, 0, 4));
  EXPECT_EQ(order.standing[0].rank, order.standing[4].rank);
  EXPECT_FALSE(StandsBefore(order.standing[0], order.standing[4]));
  EXPECT_TRUE(StandsBefore(order.standing[1], order.standing[2]));
  EXPECT_TRUE(order.standing[1].feasible);
  EXPECT_FALSE(order.standing[2].feasible);
}

TEST(OrderTrialsTest, WithinARankTheLonelyComeFirst) {
  const std::vector<ScoredTrial> trials = {Trial({5, 5.0}), Trial({0, 10}), Trial({5.1, 4.9}),
                                           Trial({10, 0}),  Trial({8, 2}),  Trial({6, 9})};
  // 1 and 3 are the ends; 4 has more room than 2, and 2 (3.0 each way) less than 0 (5.1).
  EXPECT_THAT(OrderTrials(trials).best_first, ElementsAre(1, 3, 0, 4, 2, 5));
}

TEST(OrderTrialsTest, OneObjectiveIsPlainSorting) {
  const std::vector<ScoredTrial> trials = {Trial({3}), Trial({1}), Trial({2}), Trial({1})};
  EXPECT_THAT(OrderTrials(trials).best_first, ElementsAre(1, 3, 2, 0));
}

TEST(OrderTrialsTest, LeavesUnusableTrialsOut) {
  const std::vector<ScoredTrial> trials = {Trial({}, kInfinity), Trial({1, kNaN}),    Trial({1, 1}),
                                           Trial({1}),           Trial({1, 1}, kNaN), Trial({}),
                                           Trial({}, 2)};
  const TrialOrder order = OrderTrials(trials);
  EXPECT_THAT(order.best_first, ElementsAre(2, 6));
  EXPECT_GT(order.standing[0].rank, order.standing[6].rank);
  EXPECT_THAT(OrderTrials({}).best_first, IsEmpty());
}

}  // namespace
}  // namespace forall
