// SPDX-License-Identifier: Apache-2.0
// Strategies must be worth their while: on a synthetic world they find clearly more than random
// draws do. Seeds are fixed, so the outcome cannot flake.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "search/pareto/hypervolume.h"
#include "search/sampler/sampler_factory.h"
#include "search/sampler/test_world.h"

namespace forall {
namespace {

constexpr int kBudget = 200;
constexpr int kSeeds = 3;

class SamplerConvergenceTest : public ::testing::Test {
 protected:
  // Share of the box between the ends of the space that is dominated, averaged over seeds.
  double MeanHypervolume(const std::string& name) const {
    const double low = world_.Cost(world_.space().Smallest());
    const double high = world_.Cost(world_.space().Largest());
    const double best = world_.Error(world_.space().Largest());
    const double worst = world_.Error(world_.space().Smallest());
    double sum = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const auto sampler = CreateSampler(name, world_.Options(), world_.space(), seed).value();
      std::vector<double> values;
      RunJob(*sampler, kBudget, 8, [&](int64_t id, const Architecture& a) {
        ScoredTrial trial = world_.Measure(id, a);
        values.push_back((trial.objectives[0] - best) / (worst - best));
        values.push_back((trial.objectives[1] - low) / (high - low));
        return trial;
      });
      sum += Hypervolume({values, 2}, {1.0, 1.0}).value();
    }
    return sum / kSeeds;
  }

  // Lowest error under a bound on the cost that is known only by measuring, averaged over seeds.
  // `gated`: of a trial whose cost is beyond the bound the error is not measured.
  double MeanBestUnderConstraint(const std::string& name, bool gated = false) const {
    const double bound = 350;
    SamplerOptions options = world_.Options();
    options.objectives.pop_back();
    options.limited.push_back({SearchedMetric::Kind::kCost, nullptr, nullptr, bound});
    double sum = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const auto sampler = CreateSampler(name, options, world_.space(), seed).value();
      double lowest = 1e9;
      RunJob(*sampler, kBudget, 8, [&](int64_t id, const Architecture& a) {
        const double excess = std::max(0.0, world_.Cost(a) / bound - 1);
        if (excess == 0) lowest = std::min(lowest, world_.Error(a));
        const double error =
            gated && excess > 0 ? std::numeric_limits<double>::quiet_NaN() : world_.Error(a);
        return ScoredTrial{id, a, {error}, excess, {world_.Cost(a)}};
      });
      sum += lowest;
    }
    return sum / kSeeds;
  }

  const TestWorld world_;
};

TEST_F(SamplerConvergenceTest, MultiObjectiveSearchBeatsRandomDraws) {
  const double random = MeanHypervolume("random");
  const double evolution = MeanHypervolume("evolution");
  const double nsga2 = MeanHypervolume("nsga2");
  EXPECT_GT(evolution, random * 1.1);
  EXPECT_GT(nsga2, random * 1.1);
  EXPECT_GT(MeanHypervolume("guided"), std::max(nsga2, evolution) * 1.02);
}

TEST_F(SamplerConvergenceTest, SearchUnderAMeasuredConstraintBeatsRandomDraws) {
  const double random = MeanBestUnderConstraint("random");
  EXPECT_LT(MeanBestUnderConstraint("evolution"), 0.97 * random);
  EXPECT_LT(MeanBestUnderConstraint("nsga2"), 0.97 * random);
  EXPECT_LT(MeanBestUnderConstraint("guided"), MeanBestUnderConstraint("nsga2"));
}

// What a trial beyond the bound shows of its cost is learned, though its error is not known.
TEST_F(SamplerConvergenceTest, TrialsThatWereRuledOutEarlyStillTeach) {
  const double random = MeanBestUnderConstraint("random", true);
  EXPECT_LT(MeanBestUnderConstraint("evolution", true), 0.97 * random);
  const double nsga2 = MeanBestUnderConstraint("nsga2", true);
  EXPECT_LT(nsga2, 0.97 * random);
  EXPECT_LT(MeanBestUnderConstraint("guided", true), nsga2);
}

}  // namespace
}  // namespace forall
