// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/spread_initial.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "search/sampler/sampler_factory.h"
#include "search/sampler/test_world.h"

namespace forall {
namespace {

// Positions of the first `count` proposals in the range of log cost, ascending.
std::vector<double> Positions(const std::vector<Architecture>& proposals, const TestWorld& world) {
  const double low = std::log(world.Cost(world.space().Smallest()));
  const double high = std::log(world.Cost(world.space().Largest()));
  std::vector<double> positions;
  positions.reserve(proposals.size());
  for (const Architecture& a : proposals) {
    positions.push_back((std::log(world.Cost(a)) - low) / (high - low));
  }
  std::sort(positions.begin(), positions.end());
  return positions;
}

double LargestGap(const std::vector<double>& positions) {
  double gap = 0;
  for (size_t i = 1; i < positions.size(); ++i) {
    gap = std::max(gap, positions[i] - positions[i - 1]);
  }
  return gap;
}

TEST(SpreadInitialTest, StartsWithBothEndsAndLeavesNoLargeGap) {
  const TestWorld world;
  for (const char* name : {"evolution", "nsga2"}) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      const auto sampler = CreateSampler(name, world.Options(), world.space(), seed).value();
      std::vector<Architecture> proposals;
      for (const Proposal& proposal : sampler->Propose({{}, {}, 20, 0})) {
        proposals.push_back(proposal.architecture);
      }
      ASSERT_EQ(proposals.size(), 20u);
      EXPECT_EQ(proposals[0], world.space().Smallest());
      EXPECT_EQ(proposals[1], world.space().Largest());
      EXPECT_LT(LargestGap(Positions(proposals, world)), 0.16) << name << " seed " << seed;
      // Any beginning of the sequence is spread as well.
      EXPECT_LT(LargestGap(Positions({proposals.begin(), proposals.begin() + 6}, world)), 0.4);
    }
  }
}

TEST(SpreadInitialTest, SpreadsOverTheAdmissibleRangeOnly) {
  const TestWorld world;
  SamplerOptions options = world.Options();
  const double bound = 300;
  options.admissible = [&](const Architecture& a) { return world.Cost(a) <= bound; };
  const auto sampler = CreateSampler("nsga2", options, world.space(), 3).value();
  std::vector<double> costs;
  for (const Proposal& proposal : sampler->Propose({{}, {}, 20, 0})) {
    costs.push_back(world.Cost(proposal.architecture));
  }
  ASSERT_EQ(costs.size(), 20u);
  EXPECT_EQ(costs[0], world.Cost(world.space().Smallest()));
  EXPECT_GT(costs[1], 0.93 * bound);
  std::sort(costs.begin(), costs.end());
  EXPECT_EQ(std::count_if(costs.begin(), costs.end(), [](double c) { return c < 220; }) > 4, true);
  EXPECT_LE(costs.back(), bound);
}

}  // namespace
}  // namespace forall
