// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/pareto_filter.h"

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<int32_t> BruteForce(const PointSet& set, Duplicates duplicates) {
  const PointsView points = set.view();
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < points.size(); ++i) {
    bool keep = true;
    for (int64_t j = 0; j < points.size() && keep; ++j) {
      keep = !Dominates(points[j], points[i], set.objectives) &&
             !(duplicates == Duplicates::kKeepFirst && j < i &&
               SamePoint(points[j], points[i], set.objectives));
    }
    if (keep) rows.push_back(static_cast<int32_t>(i));
  }
  return rows;
}

PointSet Select(const PointSet& set, const std::vector<int32_t>& rows) {
  PointSet selected{set.name, {}, set.objectives};
  for (const int32_t row : rows) {
    for (const double value : set.Row(row)) selected.values.push_back(value);
  }
  return selected;
}

std::multiset<std::vector<double>> Bag(const PointSet& set) {
  std::multiset<std::vector<double>> bag;
  for (int64_t i = 0; i < set.view().size(); ++i) bag.insert(set.Row(i));
  return bag;
}

class ParetoFilterTest : public ::testing::TestWithParam<int> {
 protected:
  std::vector<PointSet> sets_ = AllKindsOfPoints(GetParam(), {1, 2, 7, 60, 700});
};

TEST_P(ParetoFilterTest, EqualsBruteForce) {
  for (const PointSet& set : sets_) {
    for (const Duplicates duplicates : {Duplicates::kKeepFirst, Duplicates::kKeepAll}) {
      FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view(), duplicates));
      EXPECT_EQ(rows, BruteForce(set, duplicates)) << set.name;
    }
  }
}

TEST_P(ParetoFilterTest, IsIdempotent) {
  for (const PointSet& set : sets_) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view()));
    const PointSet frontier = Select(set, rows);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto again, ParetoFilter(frontier.view()));
    EXPECT_EQ(again.size(), rows.size()) << set.name;
  }
}

TEST_P(ParetoFilterTest, DoesNotDependOnTheOrderOfPoints) {
  Random random(11);
  for (const PointSet& set : sets_) {
    std::vector<int32_t> order(set.view().size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    random.Shuffle(&order);
    const PointSet shuffled = Select(set, order);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view()));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto shuffled_rows, ParetoFilter(shuffled.view()));
    EXPECT_EQ(Bag(Select(set, rows)), Bag(Select(shuffled, shuffled_rows))) << set.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, ParetoFilterTest, ::testing::Range(1, 6));

TEST(ParetoFilterEdgesTest, InfinitiesAreOrdinaryValues) {
  for (const int copies : {1, 200}) {  // below and above the bucket threshold
    PointSet set{"infinite", {}, 2};
    for (int i = 0; i < copies; ++i) {
      for (const double value : {kInfinity, 0.0, -kInfinity, 5.0, 1.0, 1.0, kInfinity, kInfinity}) {
        set.values.push_back(value);
      }
    }
    FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view()));
    EXPECT_THAT(rows, ElementsAre(0, 1, 2));
  }
}

TEST(ParetoFilterEdgesTest, NegativeZeroEqualsZero) {
  const std::vector<double> values = {0.0, -0.0, -0.0, 0.0};
  FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter({values, 2}));
  EXPECT_THAT(rows, ElementsAre(0));
}

TEST(ParetoFilterEdgesTest, HugeRangesDoNotOverflow) {
  PointSet set{"huge", {}, 2};
  for (int i = 0; i < 1000; ++i) {
    set.values.push_back((i - 500) * 3e305);
    set.values.push_back((500 - i) * 3e305);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view()));
  EXPECT_EQ(rows.size(), 1000u);
}

TEST(ParetoFilterEdgesTest, EmptyAndInvalidInput) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter({{}, 3}));
  EXPECT_THAT(rows, IsEmpty());
  const std::vector<double> nan = {std::numeric_limits<double>::quiet_NaN(), 1};
  EXPECT_THAT(ParetoFilter({nan, 2}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace forall
