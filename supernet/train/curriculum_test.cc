// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/curriculum.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/family.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::testing::ElementsAre;

TrainOptions Progressive(int epochs) {
  TrainOptions options;
  options.method = TrainMethod::kProgressive;
  options.epochs = options.schedule_epochs = epochs;
  return options;
}

std::vector<std::string> Names(const std::vector<Phase>& phases) {
  std::vector<std::string> names;
  for (const Phase& phase : phases) names.push_back(phase.name);
  return names;
}

// Values of one kind of dimension that many draws show.
std::set<int32_t> Drawn(const SearchSpace& space, const Phase& phase, Elasticity elasticity) {
  std::set<int32_t> values;
  Random random(3);
  for (int draw = 0; draw < 200; ++draw) {
    const Architecture architecture = SampleWithin(space, phase, &random);
    EXPECT_EQ(architecture, space.Canonical(architecture));
    for (size_t i = 0; i < space.dimensions().size(); ++i) {
      const int index = static_cast<int>(i);
      if (ElasticityOf(space.dimensions()[i]) == elasticity &&
          space.IsActive(architecture, index)) {
        values.insert(space.Value(architecture, index));
      }
    }
  }
  return values;
}

TEST(CurriculumTest, ProgressivePhasesReleaseKernelsThenDepthsThenWidths) {
  const auto family = *FindFamily("fashion_mnist");
  const SearchSpace& space = family->search_space();
  const std::vector<Phase> phases = PlanPhases(Progressive(100), space, 10);
  ASSERT_THAT(Names(phases),
              ElementsAre("full", "kernel", "depth 1", "depth 2", "width 1", "width 2"));
  const std::set<int32_t> kernels[] = {{7}, {3, 5, 7}, {3, 5, 7}, {3, 5, 7}, {3, 5, 7}, {3, 5, 7}};
  const std::set<int32_t> depths[] = {{4}, {4}, {3, 4}, {2, 3, 4}, {2, 3, 4}, {2, 3, 4}};
  const std::set<int32_t> widths[] = {{6}, {6}, {6}, {6}, {4, 6}, {3, 4, 6}};
  const int subnets[] = {1, 1, 2, 2, 4, 4};
  for (size_t i = 0; i < phases.size(); ++i) {
    SCOPED_TRACE(phases[i].name);
    EXPECT_EQ(Drawn(space, phases[i], Elasticity::kResolution), (std::set<int32_t>{20, 24, 28}));
    EXPECT_EQ(Drawn(space, phases[i], Elasticity::kKernel), kernels[i]);
    EXPECT_EQ(Drawn(space, phases[i], Elasticity::kDepth), depths[i]);
    EXPECT_EQ(Drawn(space, phases[i], Elasticity::kWidth), widths[i]);
    EXPECT_EQ(phases[i].subnets, subnets[i]);
    EXPECT_EQ(phases[i].sorts_channels, i >= 4);
  }
  // The second time, the six-fold channels beyond the four-fold ones stay where they are.
  EXPECT_TRUE(phases[4].sorted_within.empty());
  Architecture within = space.Largest();
  within.choices = phases[5].sorted_within;
  EXPECT_EQ(space.Value(within, *space.FindDimension("e1.1")), 4);
  EXPECT_EQ(space.Value(within, *space.FindDimension("d1")), 4);
}

TEST(CurriculumTest, PhasesCoverTheScheduleByTheirShares) {
  const auto family = *FindFamily("fashion_mnist");
  TrainOptions options = Progressive(7);
  options.phase_shares = {3, 1, 0, 2, 0.1, 1};
  const std::vector<Phase> phases = PlanPhases(options, family->search_space(), 13);
  int64_t next = 0;
  for (const Phase& phase : phases) {
    EXPECT_EQ(phase.begin, next) << phase.name;
    EXPECT_GT(phase.steps, 0) << phase.name;
    next += phase.steps;
    EXPECT_EQ(&PhaseAt(phases, phase.begin), &phase);
    EXPECT_EQ(&PhaseAt(phases, phase.begin + phase.steps - 1), &phase);
  }
  EXPECT_EQ(next, 7 * 13);
  EXPECT_EQ(&PhaseAt(phases, 1000), &phases.back());
  EXPECT_EQ(phases[0].steps, std::llround(7 * 13 * 3 / 7.1));
  EXPECT_EQ(std::count_if(phases.begin(), phases.end(),
                          [](const Phase& phase) { return phase.name == "depth 1"; }),
            0);
}

TEST(CurriculumTest, APhaseThatAddsNothingIsLeftOut) {
  // Two expansions and two depths; and a space without kernels.
  EXPECT_THAT(Names(PlanPhases(Progressive(40), testing::TinyFamily()->search_space(), 5)),
              ElementsAre("full", "kernel", "depth 1", "width 1"));
  EXPECT_THAT(Names(PlanPhases(Progressive(40), (*FindFamily("ofa_resnet50"))->search_space(), 5)),
              ElementsAre("full", "depth 1", "depth 2", "width 1", "width 2"));
}

TEST(CurriculumTest, SharesOfPhasesThatAreNotThereLeaveNone) {
  TrainOptions options = Progressive(40);
  options.phase_shares = {0, 1, 0, 0, 0, 0};  // all for kernels, which a ResNet does not search
  EXPECT_TRUE(PlanPhases(options, (*FindFamily("ofa_resnet50"))->search_space(), 5).empty());
}

TEST(CurriculumTest, WhatNoPhaseSortedIsSortedWhole) {
  TrainOptions options = Progressive(100);
  options.phase_shares = {0.3, 0.2, 0.05, 0.2, 0, 0.25};
  const auto family = *FindFamily("fashion_mnist");
  const std::vector<Phase> phases = PlanPhases(options, family->search_space(), 10);
  ASSERT_EQ(phases.back().name, "width 2");
  EXPECT_TRUE(phases.back().sorts_channels);
  EXPECT_TRUE(phases.back().sorted_within.empty());
}

TEST(CurriculumTest, LearningRateRisesAndFallsInEveryPhase) {
  const auto family = *FindFamily("fashion_mnist");
  const TrainOptions options = Progressive(100);
  for (const Phase& phase : PlanPhases(options, family->search_space(), 20)) {
    double highest = 0;
    for (int64_t step = phase.begin; step < phase.begin + phase.steps; ++step) {
      const double rate = LearningRate(phase, Schedule::kOneCycle, step);
      EXPECT_GT(rate, 0);
      highest = std::max(highest, rate);
    }
    EXPECT_NEAR(highest, phase.lr, 1e-9) << phase.name;
    EXPECT_LT(LearningRate(phase, Schedule::kOneCycle, phase.begin + phase.steps - 1),
              phase.lr * 0.01)
        << phase.name;
  }
}

}  // namespace
}  // namespace forall
