// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/frontier.h"

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/pareto/pareto_filter.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class FrontierTest : public ::testing::TestWithParam<int> {};

TEST_P(FrontierTest, Invariant5NeverHoldsADominatedOrDuplicatePoint) {
  const int k = GetParam();
  for (const PointSet& set : AllKindsOfPoints(k, {50})) {
    FORALL_ASSERT_OK_AND_ASSIGN(Frontier frontier, Frontier::Create(k));
    std::set<int64_t> members;
    for (int64_t i = 0; i < set.view().size(); ++i) {
      const std::vector<double> point = set.Row(i);
      const bool covered = frontier.Covers(point);
      FORALL_ASSERT_OK_AND_ASSIGN(const auto insertion, frontier.Insert(i, point));
      EXPECT_EQ(insertion.inserted, !covered);
      if (insertion.inserted) members.insert(i);
      for (const int64_t id : insertion.displaced) EXPECT_EQ(members.erase(id), 1u) << set.name;

      // After every single step it is what a batch filter of everything so far gives.
      const PointsView so_far{absl::MakeConstSpan(set.values).subspan(0, (i + 1) * k), k};
      FORALL_ASSERT_OK_AND_ASSIGN(const auto expected, ParetoFilter(so_far));
      EXPECT_EQ(std::vector<int32_t>(members.begin(), members.end()), expected) << set.name;
      EXPECT_EQ(frontier.size(), static_cast<int64_t>(expected.size()));
    }
    std::set<int64_t> listed;
    for (const Frontier::Member& member : frontier.Members()) {
      listed.insert(member.id);
      EXPECT_EQ(member.point, set.Row(member.id));
    }
    EXPECT_EQ(listed, members) << set.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, FrontierTest, ::testing::Range(1, 6));

TEST(FrontierEdgesTest, ReportsWhatANewPointDisplacesAndListsInOrder) {
  FORALL_ASSERT_OK_AND_ASSIGN(Frontier frontier, Frontier::Create(2));
  FORALL_ASSERT_OK(frontier.Insert(7, {3, 1}).status());
  FORALL_ASSERT_OK(frontier.Insert(8, {1, 3}).status());
  FORALL_ASSERT_OK(frontier.Insert(9, {2, 2}).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto insertion, frontier.Insert(10, {2, 1}));
  EXPECT_THAT(insertion.displaced, UnorderedElementsAre(7, 9));
  const std::vector<Frontier::Member> members = frontier.Members();
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].id, 8);
  EXPECT_THAT(members[1].point, ElementsAre(2, 1));
}

TEST(FrontierEdgesTest, RefusesInvalidPointsAndStaysAsItWas) {
  EXPECT_THAT(Frontier::Create(0), StatusIs(absl::StatusCode::kInvalidArgument));
  FORALL_ASSERT_OK_AND_ASSIGN(Frontier frontier, Frontier::Create(2));
  EXPECT_THAT(frontier.Insert(1, {1, 2, 3}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(frontier.Insert(1, {1, std::numeric_limits<double>::quiet_NaN()}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(frontier.Members(), IsEmpty());
}

}  // namespace
}  // namespace forall
