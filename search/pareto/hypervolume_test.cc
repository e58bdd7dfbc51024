// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/hypervolume.h"

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

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Cuts space into the cells between all coordinates and adds up the dominated ones.
double BruteForce(const PointSet& set, const std::vector<double>& reference) {
  const int k = set.objectives;
  std::vector<std::vector<double>> cuts(k);
  for (int c = 0; c < k; ++c) {
    std::set<double> values = {reference[c]};
    for (int64_t i = 0; i < set.view().size(); ++i) {
      if (set.view()[i][c] < reference[c]) values.insert(set.view()[i][c]);
    }
    cuts[c].assign(values.begin(), values.end());
  }
  double volume = 0;
  std::vector<size_t> cell(k, 0);
  std::vector<double> corner(k);
  while (true) {
    double size = 1;
    for (int c = 0; c < k; ++c) {
      if (cell[c] + 1 >= cuts[c].size()) return cuts[c].size() < 2 ? 0 : volume;
      corner[c] = cuts[c][cell[c]];
      size *= cuts[c][cell[c] + 1] - corner[c];
    }
    for (int64_t i = 0; i < set.view().size(); ++i) {
      if (WeaklyDominates(set.view()[i], corner.data(), k)) {
        volume += size;
        break;
      }
    }
    int c = 0;
    while (c < k && ++cell[c] + 1 >= cuts[c].size()) {
      if (c + 1 == k) return volume;
      cell[c++] = 0;
    }
  }
}

class HypervolumeTest : public ::testing::TestWithParam<int> {
 protected:
  int k() const { return GetParam(); }
  std::vector<PointSet> Sets() const {
    return k() <= 3 ? AllKindsOfPoints(k(), {1, 2, 8, 20}) : AllKindsOfPoints(k(), {1, 2, 8});
  }
};

TEST_P(HypervolumeTest, EqualsTheSumOfDominatedCells) {
  for (const PointSet& set : Sets()) {
    for (const double bound : {1.1, 0.7}) {  // everything inside; some points outside
      const std::vector<double> reference(k(), bound);
      const double expected = BruteForce(set, reference);
      EXPECT_THAT(Hypervolume(set.view(), reference),
                  IsOkAndHolds(DoubleNear(expected, 1e-12 * (1 + expected))))
          << set.name;
    }
  }
}

TEST_P(HypervolumeTest, SlicingOneObjectiveGivesTheSameVolume) {
  // An extra objective that is constant multiplies the volume: checks k against k + 1 on sizes that
  // are too large for the cells.
  for (const PointSet& set :
       {UniformPoints(60, k(), 5), FrontierPoints(60, k(), 6), TiedPoints(60, k(), 5, 7)}) {
    PointSet lifted{set.name, {}, k() + 1};
    for (int64_t i = 0; i < set.view().size(); ++i) {
      lifted.values.push_back(0.25);
      for (const double value : set.Row(i)) lifted.values.push_back(value);
    }
    FORALL_ASSERT_OK_AND_ASSIGN(const double flat,
                                Hypervolume(set.view(), std::vector<double>(k(), 1.0)));
    EXPECT_THAT(Hypervolume(lifted.view(), std::vector<double>(k() + 1, 1.0)),
                IsOkAndHolds(DoubleNear(0.75 * flat, 1e-12)))
        << set.name;
  }
}

TEST_P(HypervolumeTest, DoesNotDependOnTheOrderOfObjectives) {
  const PointSet set = FrontierPoints(80, k(), 3);
  PointSet reversed = set;
  for (int64_t i = 0; i < set.view().size(); ++i) {
    std::reverse(reversed.values.begin() + i * k(), reversed.values.begin() + (i + 1) * k());
  }
  const std::vector<double> reference(k(), 1.0);
  FORALL_ASSERT_OK_AND_ASSIGN(const double volume, Hypervolume(set.view(), reference));
  EXPECT_THAT(Hypervolume(reversed.view(), reference), IsOkAndHolds(DoubleNear(volume, 1e-12)));
}

TEST_P(HypervolumeTest, ContributionIsWhatTheFrontierLosesWithoutThePoint) {
  std::vector<PointSet> sets = Sets();
  if (k() <= 4) sets.push_back(FrontierPoints(70, k(), 8));
  if (k() <= 4) sets.push_back(TiedPoints(200, k(), 9, 8));
  for (const PointSet& set : sets) {
    for (const double bound : {1.1, 0.7}) {
      const std::vector<double> reference(k(), bound);
      FORALL_ASSERT_OK_AND_ASSIGN(const auto contributions,
                                  HypervolumeContributions(set.view(), reference));
      FORALL_ASSERT_OK_AND_ASSIGN(const auto rows, ParetoFilter(set.view(), Duplicates::kKeepAll));
      FORALL_ASSERT_OK_AND_ASSIGN(const double whole, Hypervolume(set.view(), reference));
      std::vector<double> expected(set.view().size(), 0.0);
      for (const int32_t row : rows) {
        PointSet rest{"", {}, k()};
        for (const int32_t other : rows) {
          if (other == row) continue;
          for (const double value : set.Row(other)) rest.values.push_back(value);
        }
        FORALL_ASSERT_OK_AND_ASSIGN(const double without, Hypervolume(rest.view(), reference));
        expected[row] = whole - without;
      }
      ASSERT_EQ(contributions.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(contributions[i], expected[i], 1e-11) << set.name << " point " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, HypervolumeTest, ::testing::Range(1, 6));

TEST(HypervolumeEdgesTest, PlainNumbers) {
  const std::vector<double> values = {1, 3, 2, 2, 3, 1};
  EXPECT_THAT(Hypervolume({values, 2}, {4, 4}), IsOkAndHolds(6.0));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto contributions,
                              HypervolumeContributions({values, 2}, {4, 4}));
  EXPECT_THAT(contributions, ElementsAre(1, 1, 1));
  EXPECT_THAT(Hypervolume({{}, 2}, {4, 4}), IsOkAndHolds(0.0));
}

TEST(HypervolumeEdgesTest, InfinitelyBadPointsAddNothing) {
  const std::vector<double> values = {1, kInfinity, kInfinity, kInfinity};
  EXPECT_THAT(Hypervolume({values, 2}, {4, 4}), IsOkAndHolds(0.0));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto contributions,
                              HypervolumeContributions({values, 2}, {4, 4}));
  EXPECT_THAT(contributions, Each(0.0));
}

TEST(HypervolumeEdgesTest, RefusesWhatHasNoVolume) {
  const std::vector<double> values = {1, 2};
  const std::vector<double> bottomless = {1, -kInfinity};
  for (const auto& result :
       {Hypervolume({values, 2}, {4}), Hypervolume({values, 2}, {4, kInfinity}),
        Hypervolume({bottomless, 2}, {4, 4})}) {
    EXPECT_THAT(result, StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

}  // namespace
}  // namespace forall
