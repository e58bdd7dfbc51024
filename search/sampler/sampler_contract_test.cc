// SPDX-License-Identifier: Apache-2.0
// What sampler.h promises, for every sampler of the factory.
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/sampler/sampler.h"
#include "search/sampler/sampler_factory.h"
#include "search/sampler/test_world.h"
#include "space/identity.h"

namespace forall {
namespace {

using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class SamplerContractTest : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Sampler> Make(SamplerOptions options, const SearchSpace& space,
                                uint64_t seed = 7) const {
    return CreateSampler(GetParam(), std::move(options), space, seed).value();
  }
  std::unique_ptr<Sampler> Make(uint64_t seed = 7) const {
    return Make(world_.Options(), world_.space(), seed);
  }
  // `count` finished trials, the last `pending` of which are taken back to be pending.
  std::vector<ScoredTrial> History(int count) const {
    return RunJob(*Make(99), count, 4,
                  [this](int64_t id, const Architecture& a) { return world_.Measure(id, a); });
  }

  const TestWorld world_;
};

std::vector<Architecture> Networks(const std::vector<Proposal>& proposals) {
  std::vector<Architecture> networks;
  for (const Proposal& proposal : proposals) networks.push_back(proposal.architecture);
  return networks;
}

std::string Key(const SearchSpace& space, const Architecture& a) { return ArchKey(space, a); }

TEST_P(SamplerContractTest, IsAFunctionOfSpaceOptionsSeedAndRequest) {
  const std::vector<ScoredTrial> history = History(60);
  const ProposeRequest request{history, {}, 10, 64};
  const std::unique_ptr<Sampler> sampler = Make();
  const std::vector<Proposal> first = sampler->Propose(request);
  EXPECT_THAT(first, SizeIs(10));
  EXPECT_EQ(sampler->Propose(request), first) << "the same sampler, asked again";
  EXPECT_EQ(Make()->Propose(request), first) << "another sampler of the same making";
  EXPECT_NE(Make(8)->Propose(request), first) << "another seed";
  EXPECT_NE(sampler->Propose({history, {}, 10, 74}), first) << "another place in the job";
}

TEST_P(SamplerContractTest, AskingAtOnceEqualsAskingOneByOne) {
  const std::unique_ptr<Sampler> sampler = Make();
  for (const int finished : {0, 5, 60}) {
    const std::vector<ScoredTrial> history = History(finished);
    const std::vector<Proposal> at_once = sampler->Propose({history, {}, 30, finished});
    std::vector<Proposal> one_by_one;
    for (int i = 0; i < 30; ++i) {
      const std::vector<Architecture> pending = Networks(one_by_one);
      for (Proposal& proposal : sampler->Propose({history, pending, 1, finished + i})) {
        one_by_one.push_back(std::move(proposal));
      }
    }
    EXPECT_EQ(one_by_one, at_once);
  }
}

// What lets a second run of a job reuse what the first one measured: there every result is known at
// once, here machines finish as they please. "guided" wants four trials under way to end in order;
// the others bear a straggler that is overtaken by eight.
TEST_P(SamplerContractTest, ProposesTheSameInWhateverOrderAFewTrialsUnderWayFinish) {
  const auto measure = [this](int64_t id, const Architecture& a) { return world_.Measure(id, a); };
  const auto networks = [](const std::vector<ScoredTrial>& history) {
    std::map<int64_t, Architecture> by_id;
    for (const ScoredTrial& trial : history) by_id[trial.id] = trial.architecture;
    return by_id;
  };
  const auto known_at_once = networks(RunJob(*Make(), 100, 1, measure));
  ASSERT_THAT(known_at_once, SizeIs(100));
  const int overtaken = GetParam() == "guided" ? 0 : 8;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Random random(seed);
    const auto measured =
        networks(RunJob(*Make(), 112, 4, measure, [&](const std::vector<int64_t>& under_way) {
          const bool late = overtaken == 0 || under_way.back() - under_way.front() > overtaken;
          return late ? 0 : static_cast<int>(random.Uniform(under_way.size()));
        }));
    for (const auto& [id, network] : known_at_once) EXPECT_EQ(measured.at(id), network) << id;
  }
}

TEST_P(SamplerContractTest, ProposesValidCanonicalNetworksAndNoneTwice) {
  const SearchSpace& space = world_.space();
  std::set<std::string> keys;
  for (const ScoredTrial& trial : History(300)) {
    FORALL_EXPECT_OK(space.Validate(trial.architecture));
    EXPECT_EQ(space.Canonical(trial.architecture), trial.architecture);
    EXPECT_TRUE(keys.insert(Key(space, trial.architecture)).second);
  }
  EXPECT_THAT(keys, SizeIs(300));
}

// Three dimensions, twelve networks: b exists only where a is 2.
SearchSpace TinySpace() {
  return SearchSpace::Create("tiny", 1,
                             {{"a", {1, 2}, std::nullopt},
                              {"b", {1, 2, 3}, ActivationCondition{0, 2}},
                              {"c", {1, 2, 3}, std::nullopt}})
      .value();
}

double TinyCost(const Architecture& a) { return 1.0 + a.choices[0] + a.choices[1] + a.choices[2]; }

SamplerOptions OptionsFor(std::function<double(const Architecture&)> cost) {
  SamplerOptions options;
  options.cost = std::move(cost);
  options.objectives = {{SearchedMetric::Kind::kQuality, nullptr}};
  return options;
}

SamplerOptions TinyOptions() { return OptionsFor(TinyCost); }

ScoredTrial MeasureTiny(int64_t id, const Architecture& a) {
  return {id, a, {TinyCost(a), -TinyCost(a)}, 0};
}

TEST_P(SamplerContractTest, ExhaustsATinySpaceAndThenProposesNothing) {
  const SearchSpace space = TinySpace();
  SamplerOptions options = TinyOptions();
  const std::unique_ptr<Sampler> sampler = Make(options, space);
  for (const int slots : {1, 5, 12, 100}) {
    const std::vector<ScoredTrial> history = RunJob(*sampler, 1000, slots, MeasureTiny);
    std::set<std::string> keys;
    for (const ScoredTrial& trial : history) keys.insert(Key(space, trial.architecture));
    EXPECT_THAT(keys, SizeIs(12));
    EXPECT_THAT(history, SizeIs(12));
    EXPECT_THAT(sampler->Propose({history, {}, 3, 12}), IsEmpty());
  }
}

TEST_P(SamplerContractTest, KnowsANetworkUnderAnyGenotypeAndInPending) {
  const SearchSpace space = TinySpace();
  SamplerOptions options = TinyOptions();
  // Where a is 1, b is dead: its choice must not make a new network. Eleven of twelve are known.
  const std::vector<ScoredTrial> history = {MeasureTiny(0, {"tiny", 1, {0, 2, 0}}),
                                            MeasureTiny(1, {"tiny", 1, {0, 1, 1}}),
                                            MeasureTiny(2, {"tiny", 1, {0, 1, 2}})};
  std::vector<Architecture> pending;
  for (int32_t b = 0; b < 3; ++b) {
    for (int32_t c = 0; c < 3; ++c) {
      if (b != 1 || c != 2) pending.push_back({"tiny", 1, {1, b, c}});
    }
  }
  const Architecture last{"tiny", 1, {1, 1, 2}};
  for (int64_t proposed = 0; proposed < 40; proposed += 8) {
    EXPECT_EQ(Networks(Make(options, space)->Propose({history, pending, 4, proposed})),
              std::vector<Architecture>{last});
  }
}

TEST_P(SamplerContractTest, ProposesOnlyAdmissibleNetworks) {
  const double low = world_.Cost(world_.space().Smallest());
  const double high = world_.Cost(world_.space().Largest());
  for (const double share : {0.02, 0.1, 0.5}) {
    SamplerOptions options = world_.Options();
    const double bound = low + share * (high - low);
    options.admissible = [this, bound](const Architecture& a) { return world_.Cost(a) <= bound; };
    const std::vector<ScoredTrial> history =
        RunJob(*Make(options, world_.space()), 80, 8,
               [this](int64_t id, const Architecture& a) { return world_.Measure(id, a); });
    EXPECT_THAT(history, SizeIs(80)) << share;
    for (const ScoredTrial& trial : history) EXPECT_LE(trial.objectives[1], bound);
  }
}

TEST_P(SamplerContractTest, FindsAdmissibleNetworksAwayFromTheSmallest) {
  SamplerOptions options = world_.Options();
  const double bound = 0.9 * world_.Cost(world_.space().Largest());
  options.admissible = [this, bound](const Architecture& a) { return world_.Cost(a) >= bound; };
  const std::vector<Architecture> proposals =
      Networks(Make(options, world_.space())->Propose({{}, {}, 40, 0}));
  EXPECT_THAT(proposals, SizeIs(40));
  for (const Architecture& a : proposals) EXPECT_GE(world_.Cost(a), bound);
}

TEST_P(SamplerContractTest, FindsEveryAdmissibleNetworkOfASmallSpaceAndOfNoOther) {
  const SearchSpace space = TinySpace();
  SamplerOptions options = TinyOptions();
  options.admissible = [](const Architecture& a) { return a.choices[2] == 1; };
  EXPECT_THAT(RunJob(*Make(options, space), 100, 3, MeasureTiny), SizeIs(4));
  options.admissible = [](const Architecture&) { return false; };
  EXPECT_THAT(RunJob(*Make(options, space), 100, 3, MeasureTiny), IsEmpty());
  EXPECT_THAT(Make(options, world_.space())->Propose({{}, {}, 3, 0}), IsEmpty());
}

TEST_P(SamplerContractTest, FillsAnyNumberOfSlots) {
  const std::vector<ScoredTrial> history = History(30);
  const std::unique_ptr<Sampler> sampler = Make();
  for (const int slots : {-3, 0, 1, 7, 500}) {
    EXPECT_THAT(sampler->Propose({history, {}, slots, 30}), SizeIs(slots > 0 ? slots : 0));
  }
}

TEST_P(SamplerContractTest, HandlesASpaceOfOneNetwork) {
  const SearchSpace space = SearchSpace::Create("one", 1, {{"a", {5}, std::nullopt}}).value();
  SamplerOptions options = OptionsFor([](const Architecture&) { return 1.0; });
  EXPECT_THAT(Make(options, space)->Propose({{}, {}, 4, 0}), SizeIs(1));
}

TEST_P(SamplerContractTest, SurvivesFailedAndForeignTrials) {
  std::vector<ScoredTrial> history = History(30);
  for (size_t i = 0; i < history.size(); ++i) {
    if (i % 5 == 0) history[i] = {history[i].id, history[i].architecture, {}, kInfinity};
    if (i % 5 == 1) history[i].objectives[0] = kNaN;
    if (i % 5 == 2) history[i].architecture.search_space = "another";
    if (i % 5 == 3) history[i].architecture.choices.resize(2);
    if (i % 10 == 4) history[i].constraint_violation = kNaN;
  }
  const std::vector<Architecture> pending = {{"another", 1, {}}, {"test_world", 1, {-1}}};
  const std::unique_ptr<Sampler> sampler = Make();
  EXPECT_THAT(sampler->Propose({history, pending, 50, 30}), SizeIs(50));
  for (ScoredTrial& trial : history) trial.constraint_violation = kInfinity;
  EXPECT_THAT(sampler->Propose({history, pending, 50, 30}), SizeIs(50));
}

TEST_P(SamplerContractTest, TakesOneObjectiveOrMany) {
  for (const size_t objectives : {1, 3, 4}) {
    std::vector<ScoredTrial> history = History(40);
    for (ScoredTrial& trial : history) {
      trial.objectives.resize(objectives, static_cast<double>(trial.id % 7));
    }
    EXPECT_THAT(Make()->Propose({history, {}, 20, 40}), SizeIs(20));
  }
}

TEST_P(SamplerContractTest, PredictsEachObjectiveInFiniteNumbersOrNothing) {
  const std::unique_ptr<Sampler> sampler = Make();
  const auto check = [&](const std::vector<ScoredTrial>& history, const std::string& what) {
    SCOPED_TRACE(what);
    const std::vector<Proposal> proposals = sampler->Propose({history, {}, 6, 60});
    EXPECT_THAT(proposals, SizeIs(6));
    for (const Proposal& proposal : proposals) {
      if (proposal.predicted.empty()) continue;
      ASSERT_THAT(proposal.predicted, SizeIs(2));
      for (const Prediction& prediction : proposal.predicted) {
        EXPECT_TRUE(std::isfinite(prediction.mean)) << prediction.mean;
        EXPECT_TRUE(std::isfinite(prediction.deviation)) << prediction.deviation;
        EXPECT_GE(prediction.deviation, 0);
      }
      EXPECT_DOUBLE_EQ(proposal.predicted[1].mean, world_.Cost(proposal.architecture));
      EXPECT_EQ(proposal.predicted[1].deviation, 0);
    }
  };
  std::vector<ScoredTrial> history = History(40);
  check(history, "as it should be");
  check({history.begin(), history.begin() + 1}, "one trial");
  check({history.begin(), history.begin() + 2}, "two trials");
  for (ScoredTrial& trial : history) trial.objectives[0] = 3;
  check(history, "all the same");
  for (ScoredTrial& trial : history) trial.objectives[0] = 0;
  check(history, "all nothing");
  for (ScoredTrial& trial : history) trial.objectives[0] = trial.id % 2 == 0 ? 1e9 : -1e-9;
  check(history, "far apart");
  for (size_t i = 0; i < history.size(); i += 2) history[i].objectives[0] = kNaN;
  check(history, "every other unknown");
}

TEST_P(SamplerContractTest, ThreadsMayAskAtOnce) {
  const std::vector<ScoredTrial> history = History(40);
  const std::unique_ptr<Sampler> sampler = Make();
  const ProposeRequest request{history, {}, 20, 40};
  const std::vector<Proposal> expected = sampler->Propose(request);
  std::vector<std::vector<Proposal>> answers(4);
  {
    std::vector<std::unique_ptr<Thread>> threads;
    threads.reserve(answers.size());
    for (std::vector<Proposal>& answer : answers) {
      threads.push_back(std::make_unique<Thread>(
          "propose", [&sampler, &request, &answer] { answer = sampler->Propose(request); }));
    }
    for (const std::unique_ptr<Thread>& thread : threads) thread->Join();
  }
  EXPECT_THAT(answers, Each(expected));
}

INSTANTIATE_TEST_SUITE_P(Samplers, SamplerContractTest, ::testing::ValuesIn(SamplerNames()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace forall
