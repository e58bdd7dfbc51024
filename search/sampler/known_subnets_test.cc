// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/known_subnets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/pareto/hypervolume.h"
#include "search/pareto/pareto_filter.h"
#include "search/sampler/sampler_factory.h"
#include "search/sampler/test_world.h"

namespace forall {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

ScoredTrial Row(std::vector<double> objectives, double violation = 0) {
  return {0, {}, std::move(objectives), violation};
}

TEST(ChooseKnownTest, TakesAllWhereThereIsRoomAndNothingWithoutAValue) {
  EXPECT_THAT(ChooseKnown({Row({1, 2}), Row({kNaN, kNaN}), Row({kNaN, 2}), Row({3, 3}, 1)},
                          {1, 1, 1, 1}, 10),
              ElementsAre(0, 2, 3));
  EXPECT_THAT(ChooseKnown({}, {}, 10), IsEmpty());
}

TEST(ChooseKnownTest, PrefersWhatLacksNothingThenWhatBreaksNoLimit) {
  const std::vector<ScoredTrial> rows = {Row({kNaN, 1}), Row({5, 5}, 0.5), Row({kNaN, 2}, 0.1),
                                         Row({9, 9})};
  const std::vector<double> costs = {1, 1, 1, 1};
  EXPECT_THAT(ChooseKnown(rows, costs, 1), ElementsAre(3));
  EXPECT_THAT(ChooseKnown(rows, costs, 2), ElementsAre(1, 3));
  EXPECT_THAT(ChooseKnown(rows, costs, 3), ElementsAre(0, 1, 3));
}

TEST(ChooseKnownTest, HoldsTheFrontierAndSpreadsTheRestOverTheCost) {
  for (const int objectives : {2, 3, 4}) {
    Random random(3);
    std::vector<ScoredTrial> rows;
    std::vector<double> points;
    std::vector<double> costs;
    for (int i = 0; i < 3000; ++i) {
      // Near a plane, so that frontiers are small.
      std::vector<double> point(static_cast<size_t>(objectives));
      for (double& value : point) value = 1 + 0.01 * random.Double();
      point[0] = i;
      point[1] = 3000 - i + (i % 50 == 0 ? 0 : 4000);
      costs.push_back(i);
      points.insert(points.end(), point.begin(), point.end());
      rows.push_back(Row(point));
    }
    const std::vector<size_t> chosen = ChooseKnown(rows, costs, 300);
    EXPECT_THAT(chosen, SizeIs(300));
    EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
    EXPECT_EQ(std::set<size_t>(chosen.begin(), chosen.end()).size(), 300u);
    EXPECT_EQ(ChooseKnown(rows, costs, 300), chosen);
    if (objectives > 3) continue;  // thinned before it is ranked
    const std::vector<int32_t> frontier = *ParetoFilter({points, objectives});
    for (const int32_t row : frontier) EXPECT_THAT(chosen, Contains(static_cast<size_t>(row)));
    for (size_t i = 1; i < chosen.size(); ++i) EXPECT_LT(chosen[i] - chosen[i - 1], 120u);
  }
}

class KnownSubnetsTest : public ::testing::Test {
 protected:
  // What a job of another sampler has measured.
  std::vector<ScoredTrial> Former(int trials) const {
    std::vector<ScoredTrial> known =
        RunJob(*CreateSampler("nsga2", world_.Options(), world_.space(), 5).value(), trials, 4,
               [this](int64_t id, const Architecture& a) { return world_.Measure(id, a); });
    for (ScoredTrial& trial : known) trial.id = 0;
    return known;
  }
  std::unique_ptr<Sampler> Make(const SamplerOptions& options) const {
    return CreateSampler("guided", options, world_.space(), 7).value();
  }
  // Latency instead of the exact cost: about in proportion to it.
  double Latency(const Architecture& a) const { return 3 + 0.01 * std::pow(world_.Cost(a), 1.1); }
  SamplerOptions OnDevice() const {
    SamplerOptions options = world_.Options();
    options.objectives[1] = {SearchedMetric::Kind::kCost, nullptr};
    return options;
  }
  std::vector<ScoredTrial> Run(const SamplerOptions& options, absl::Span<const ScoredTrial> known,
                               int budget) const {
    const bool on_device = options.objectives[1].kind == SearchedMetric::Kind::kCost;
    const std::unique_ptr<Sampler> sampler = Make(options);
    std::vector<ScoredTrial> history;
    std::vector<Architecture> pending;
    int64_t proposed = 0;
    while (static_cast<int>(history.size()) < budget) {
      const int free = 4 - static_cast<int>(pending.size());
      for (Proposal& proposal : sampler->Propose({history, pending, free, proposed, known})) {
        pending.push_back(std::move(proposal.architecture));
        ++proposed;
      }
      const Architecture done = pending.front();
      pending.erase(pending.begin());
      history.push_back({static_cast<int64_t>(history.size()) + 1,
                         done,
                         {world_.Error(done), on_device ? Latency(done) : world_.Cost(done)}});
    }
    return history;
  }
  static double HypervolumeOf(const std::vector<ScoredTrial>& trials,
                              const std::vector<double>& reference) {
    std::vector<double> points;
    for (const ScoredTrial& trial : trials) {
      points.insert(points.end(), trial.objectives.begin(), trial.objectives.end());
    }
    return Hypervolume({points, 2}, reference).value();
  }
  std::vector<double> Reference(bool on_device) const {
    const Architecture largest = world_.space().Largest();
    return {world_.Error(world_.space().Smallest()),
            on_device ? Latency(largest) : world_.Cost(largest)};
  }
  static std::vector<Architecture> Networks(const std::vector<ScoredTrial>& trials) {
    std::vector<Architecture> networks;
    for (const ScoredTrial& trial : trials) networks.push_back(trial.architecture);
    return networks;
  }

  const TestWorld world_;
};

TEST_F(KnownSubnetsTest, SaysHowManyProposalsComeBeforeAModels) {
  const AdmissibleRegion region(world_.space(), nullptr, 1);
  const SamplerOptions options = OnDevice();
  std::vector<ScoredTrial> known = Former(40);
  EXPECT_EQ(KnownSubnets(region, options, {}).initial_samples(), 14);
  EXPECT_EQ(KnownSubnets(region, options, known).initial_samples(), 0);
  EXPECT_EQ(KnownSubnets(region, options, absl::MakeSpan(known).subspan(0, 13)).initial_samples(),
            14);
  for (ScoredTrial& row : known) row.objectives[1] = kNaN;
  const KnownSubnets second_device(region, options, known);
  EXPECT_EQ(second_device.initial_samples(), 8);
  EXPECT_THAT(second_device.First({}), Not(IsEmpty()));
  for (ScoredTrial& row : known) std::swap(row.objectives[0], row.objectives[1]);
  const KnownSubnets no_quality(region, options, known);
  EXPECT_EQ(no_quality.initial_samples(), 14);
  EXPECT_THAT(no_quality.First({}), IsEmpty());
}

TEST_F(KnownSubnetsTest, FirstIsTheFrontierFromItsEndsAndLeavesOutWhatIsProposed) {
  const AdmissibleRegion region(world_.space(), nullptr, 1);
  const SamplerOptions options = OnDevice();
  std::vector<ScoredTrial> known = Former(60);
  std::vector<double> points;
  for (ScoredTrial& row : known) {
    points.insert(points.end(), row.objectives.begin(), row.objectives.end());
    row.objectives[1] = kNaN;
  }
  const std::vector<Architecture> first = KnownSubnets(region, options, known).First({});
  EXPECT_EQ(first.size(), ParetoFilter({points, 2})->size());
  ASSERT_GT(first.size(), 4u);
  for (const Architecture& a : first) {
    EXPECT_GE(world_.Cost(a), world_.Cost(first[0]));
    EXPECT_LE(world_.Cost(a), world_.Cost(first[1]));
  }
  const std::vector<ScoredTrial> history = {world_.Measure(1, first[0])};
  const std::vector<Architecture> pending = {first[2]};
  std::vector<Architecture> rest = first;
  rest.erase(rest.begin() + 2);
  rest.erase(rest.begin());
  EXPECT_EQ(KnownSubnets(region, options, known).First({history, pending}), rest);
}

TEST_F(KnownSubnetsTest, WhatBreaksALimitIsNotAmongTheFirst) {
  const AdmissibleRegion region(
      world_.space(), [this](const Architecture& a) { return world_.Cost(a) > 400; }, 1);
  std::vector<ScoredTrial> known = Former(60);
  for (ScoredTrial& row : known) {
    row.objectives[1] = kNaN;
    row.constraint_violation = world_.Cost(row.architecture) > 900 ? 0.1 : 0;
  }
  const std::vector<Architecture> first = KnownSubnets(region, OnDevice(), known).First({});
  EXPECT_THAT(first, Not(IsEmpty()));
  for (const Architecture& a : first) {
    EXPECT_GT(world_.Cost(a), 400);
    EXPECT_LE(world_.Cost(a), 900);
  }
}

// The contract of sampler.h holds with what is known as well, whether all of it or a part.
TEST_F(KnownSubnetsTest, ProposalsAreAPureFunctionOfTheRequestAndNoneComesTwice) {
  for (const bool partly : {false, true}) {
    std::vector<ScoredTrial> known = Former(40);
    for (size_t i = 0; partly && i < known.size(); ++i) known[i].objectives[1] = kNaN;
    const SamplerOptions options = OnDevice();
    for (const int finished : {0, 5, 20}) {
      const std::vector<ScoredTrial> history = Run(options, known, finished);
      const std::unique_ptr<Sampler> sampler = Make(options);
      const std::vector<Proposal> at_once = sampler->Propose({history, {}, 12, finished, known});
      EXPECT_THAT(at_once, SizeIs(12));
      EXPECT_EQ(Make(options)->Propose({history, {}, 12, finished, known}), at_once);
      std::vector<Proposal> one_by_one;
      std::vector<Architecture> pending;
      for (int i = 0; i < 12; ++i) {
        for (Proposal& p : sampler->Propose({history, pending, 1, finished + i, known})) {
          pending.push_back(p.architecture);
          one_by_one.push_back(std::move(p));
        }
      }
      EXPECT_EQ(one_by_one, at_once);
      std::set<std::vector<int32_t>> choices;
      for (const ScoredTrial& trial : history) choices.insert(trial.architecture.choices);
      for (const Architecture& a : pending) EXPECT_TRUE(choices.insert(a.choices).second);
    }
  }
}

TEST_F(KnownSubnetsTest, NoPredictionIsMadeOfWhatIsKnown) {
  const std::vector<ScoredTrial> known = Former(40);
  const std::vector<Proposal> proposals = Make(OnDevice())->Propose({{}, {}, 30, 0, known});
  int predicted = 0;
  for (const Proposal& proposal : proposals) {
    const std::vector<Architecture> networks = Networks(known);
    const bool was_known =
        std::find(networks.begin(), networks.end(), proposal.architecture) != networks.end();
    EXPECT_EQ(proposal.predicted.empty(), was_known);
    predicted += was_known ? 0 : 1;
  }
  EXPECT_GT(predicted, 3);
  EXPECT_LT(predicted, 27);
}

TEST_F(KnownSubnetsTest, AWarmSearchIsAheadOfAColdOneFromTheFirst) {
  for (const bool on_device : {false, true}) {
    const SamplerOptions options = on_device ? OnDevice() : world_.Options();
    std::vector<ScoredTrial> known = Former(100);
    for (size_t i = 0; on_device && i < known.size(); ++i) known[i].objectives[1] = kNaN;
    const std::vector<ScoredTrial> cold = Run(options, {}, 40);
    const std::vector<ScoredTrial> warm = Run(options, known, 40);
    for (const size_t at : {5u, 10u, 20u, 40u}) {
      EXPECT_GT(HypervolumeOf({warm.begin(), warm.begin() + at}, Reference(on_device)),
                HypervolumeOf({cold.begin(), cold.begin() + at}, Reference(on_device)))
          << at << " on_device=" << on_device;
    }
  }
}

// What was known and is now a trial says nothing new; foreign and malformed rows say nothing.
TEST_F(KnownSubnetsTest, SurvivesForeignRows) {
  std::vector<ScoredTrial> known = Former(40);
  known[0].architecture.search_space = "another";
  known[1].architecture.choices.resize(2);
  known[2].objectives = {1};
  known[3].objectives = {};
  known[4].constraint_violation = kNaN;
  EXPECT_THAT(Make(OnDevice())->Propose({{}, {}, 20, 0, known}), SizeIs(20));
  for (ScoredTrial& row : known) {
    if (row.objectives.size() == 2) row.objectives[1] = kNaN;
  }
  EXPECT_THAT(Make(OnDevice())->Propose({{}, {}, 20, 0, known}), SizeIs(20));
}

}  // namespace
}  // namespace forall
