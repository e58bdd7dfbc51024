// SPDX-License-Identifier: Apache-2.0
// Races over tiers of validation images (docs/adr/0006-racing.md): whole jobs on a made-up but
// life-like population of subnets, whose every image is right or wrong by a Rasch model.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "search/pareto/hypervolume.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::testing::AnyOf;

constexpr int64_t kImages = 10'000;

// Rasch, "Probabilistic models for some intelligence and attainment tests", 1960: a subnet of skill
// s answers an image of difficulty d rightly with probability 1 / (1 + exp(d - s)). Difficulties
// are spread as widely as makes most images easy or hard for everybody.
class Population {
 public:
  // `spread`: of the subnets' own part of their skill; 0: all are equally skilled.
  Population(uint64_t seed, double spread) : seed_(seed), spread_(spread) {
    Random random = Random::ForStream(seed, 1);
    for (int64_t i = 0; i < kImages; ++i) difficulty_.push_back(4 * random.Gaussian());
  }

  bool Right(const std::string& arch_key, double mmacs, int64_t image) const {
    const uint64_t network = SplitMix64(Fnv1a64(arch_key) ^ seed_);
    const double own = 2 * Random(network).Double() - 1;
    const double grown = spread_ == 0 ? 0 : 2.5 * (1 - std::exp(-mmacs / 25));
    const double skill = 1.5 + grown + spread_ * own;
    const double draw = Random::ForStream(network, static_cast<uint64_t>(image)).Double();
    return draw * (1 + std::exp(difficulty_[image] - skill)) < 1;
  }

  // What a worker reports about the task.
  v1::AccuracyResult Evaluate(const v1::Task& task, double mmacs) const {
    const int64_t total = task.images() == 0 ? kImages : task.images();
    const int64_t part = task.part_images() == 0 ? total : task.part_images();
    v1::AccuracyResult result;
    result.set_split_images(kImages);
    result.set_images(std::min(part, total - task.first_image()));
    result.set_top5_correct(result.images());
    std::string bitmap(static_cast<size_t>(result.images() + 7) / 8, '\0');
    for (int64_t i = 0; i < result.images(); ++i) {
      if (!Right(task.arch_key(), mmacs, task.first_image() + i)) continue;
      result.set_top1_correct(result.top1_correct() + 1);
      bitmap[i / 8] = static_cast<char>(static_cast<unsigned char>(bitmap[i / 8]) | 1u << (i % 8));
    }
    result.set_top1_bitmap(bitmap);
    return result;
  }

 private:
  const uint64_t seed_;
  const double spread_;
  std::vector<double> difficulty_;
};

v1::SearchJobSpec RaceSpec(int trials, const std::vector<int32_t>& tiers) {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("macs");
  // The same subnets whatever their accuracies.
  spec.mutable_sampler()->set_algorithm("random");
  spec.mutable_budget()->set_max_trials(trials);
  spec.mutable_fidelity()->mutable_tiers()->Add(tiers.begin(), tiers.end());
  spec.set_seed(5);
  return spec;
}

double Macs(const v1::Trial& trial) {
  for (const v1::Measurement& measurement : trial.measurements()) {
    if (measurement.metric() == "macs") return measurement.value();
  }
  return 0;
}

// Of (accuracy in percent, MACs), as ADR 5 takes it: accuracy over the worst of all, log MACs.
double HypervolumeOf(const std::vector<std::pair<double, double>>& points, double accuracy_floor) {
  std::vector<double> oriented;
  for (const auto& [accuracy, macs] : points) {
    oriented.push_back((100 - accuracy) / (100 - accuracy_floor));
    oriented.push_back((std::log(macs) - std::log(1e6)) / (std::log(1e8) - std::log(1e6)));
  }
  const std::vector<double> worst = {1, 1};
  return Hypervolume(PointsView{oriented, 2}, worst).value();
}

struct Raced {
  v1::SearchJob job;
  std::vector<v1::Trial> trials;
  std::vector<v1::FrontierMember> members;
  int64_t images = 0;
  int stopped = 0;
};

Raced RunRace(const Population& population, const v1::SearchJobSpec& spec) {
  ControllerHarness harness;
  harness.Register("w");
  Raced raced;
  const std::string name = harness.Submit(spec)->name();
  std::map<std::string, double> mmacs;
  raced.job = harness.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
    if (task.kind() != v1::Task::ACCURACY) return;
    double& own = mmacs[task.arch_key()];
    if (own == 0) {
      v1::GetTrialRequest request;
      request.set_name(task.trial());
      own = Macs(CallAndWait(harness.controller(), &Controller::GetTrial, request).value()) * 1e-6;
    }
    *result->mutable_accuracy_result() = population.Evaluate(task, own);
    raced.images += result->accuracy_result().images();
  });
  raced.trials = harness.Trials(name);
  raced.members = harness.FrontierMembers(name);
  for (const v1::Trial& trial : raced.trials) raced.stopped += trial.stopped_by().empty() ? 0 : 1;
  return raced;
}

// What the scheme's frontier is worth, relative to that of everybody on all images.
double Loss(const Population& population, const Raced& raced) {
  std::vector<std::pair<double, double>> everybody;
  double floor = 100;
  for (const v1::Trial& trial : raced.trials) {
    v1::Task whole;
    whole.set_arch_key(trial.arch_key());
    const v1::AccuracyResult all = population.Evaluate(whole, Macs(trial) * 1e-6);
    everybody.emplace_back(100.0 * static_cast<double>(all.top1_correct()) / kImages, Macs(trial));
    floor = std::min(floor, everybody.back().first);
  }
  std::vector<std::pair<double, double>> found;
  for (const v1::FrontierMember& member : raced.members) {
    EXPECT_EQ(member.trial().accuracy_images(), kImages);
    found.emplace_back(member.values(0), member.values(1));
  }
  const double best = HypervolumeOf(everybody, floor);
  return (best - HypervolumeOf(found, floor)) / best;
}

struct Scheme {
  const char* name;
  std::vector<int32_t> tiers;  // a single one is a screening without a race
  double images = 0;
  double stopped = 0;
  double finals = 0;
  double loss = 0;
  double worst = 0;
};

void Try(uint64_t draw, int trials, double share, Scheme* scheme) {
  const Population population(draw + 1, 0.5);
  v1::SearchJobSpec spec = RaceSpec(trials, scheme->tiers);
  if (scheme->tiers.size() == 1) {
    spec.mutable_fidelity()->clear_tiers();
    spec.mutable_fidelity()->set_screening_images(scheme->tiers[0]);
  }
  spec.set_seed(5 + static_cast<int64_t>(draw));
  const Raced raced = RunRace(population, spec);
  ASSERT_EQ(raced.job.state(), v1::SearchJob::SUCCEEDED) << scheme->name;
  const double loss = Loss(population, raced);
  scheme->images += share * static_cast<double>(raced.images);
  scheme->stopped += share * raced.stopped;
  scheme->loss += share * loss;
  scheme->worst = std::max(scheme->worst, loss);
  for (const v1::Trial& trial : raced.trials) scheme->finals += trial.finalized() ? share : 0;
}

// With FORALL_RACING_DRAWS=20 it prints the table of docs/adr/0006-racing.md; otherwise it looks at
// one smaller draw.
TEST(RacingTest, RacesCostLessThanScreeningEverybodyAtTheLastTierAndLoseNoMore) {
  const char* const asked = std::getenv("FORALL_RACING_DRAWS");
  const int draws = asked == nullptr ? 1 : std::max(1, std::atoi(asked));
  const int trials = asked == nullptr ? 50 : 110;
  std::vector<Scheme> schemes = {{"all for everyone", {}},
                                 {"screening on 5,000", {5000}},
                                 {"races 500, 1,000, 5,000", {500, 1000, 5000}}};
  if (asked != nullptr) {
    schemes.push_back({"races 1,000, 5,000", {1000, 5000}});
    schemes.push_back({"screening on 2,500", {2500}});
    schemes.push_back({"races 500, 1,000, 2,500", {500, 1000, 2500}});
    schemes.push_back({"screening on 1,000", {1000}});
    schemes.push_back({"races 250, 1,000", {250, 1000}});
  }
  for (int draw = 0; draw < draws; ++draw) {
    for (Scheme& scheme : schemes) {
      Try(static_cast<uint64_t>(draw), trials, 1.0 / draws, &scheme);
    }
  }
  for (const Scheme& scheme : schemes) {
    absl::PrintF("%-25s images %8.0f  stopped %4.1f  finals %4.1f  loss %.2f %%  worst %.2f %%\n",
                 scheme.name, scheme.images, scheme.stopped, scheme.finals, 100 * scheme.loss,
                 100 * scheme.worst);
  }
  EXPECT_LT(schemes[2].images, 0.8 * schemes[1].images);
  EXPECT_LT(schemes[2].images, 0.5 * schemes[0].images);
  EXPECT_LE(schemes[2].loss, schemes[1].loss + 0.001);
}

TEST(RacingTest, NoImageIsEvaluatedTwiceAndEveryTrialShowsWhereItStands) {
  const Population population(3, 0.5);
  v1::SearchJobSpec spec = RaceSpec(30, {500, 2500});
  const Raced raced = RunRace(population, spec);
  int64_t images = 0;
  std::map<int64_t, int> at;
  for (const v1::Trial& trial : raced.trials) {
    images += trial.accuracy_images();
    ++at[trial.accuracy_images()];
    EXPECT_FALSE(trial.on_frontier() && !trial.stopped_by().empty()) << trial.name();
    EXPECT_THAT(trial.accuracy_images(), AnyOf(500, 2500, kImages));
    if (trial.accuracy_images() == 500) {
      EXPECT_FALSE(trial.stopped_by().empty());
    }
    // The newest of its measurements is the one on most images, with the interval that they give.
    for (const v1::Measurement& measurement : trial.measurements()) {
      if (measurement.metric() != "accuracy_top1") continue;
      EXPECT_EQ(measurement.sample_count(), trial.accuracy_images());
      break;
    }
  }
  EXPECT_EQ(images, raced.images);
  EXPECT_THAT(at, ::testing::SizeIs(3)) << "all tiers are in use";
}

// The level holds however many rivals and looks there are: of subnets that are equally accurate at
// most one in twenty may be stopped, and those by chance.
TEST(RacingTest, EquallyAccurateSubnetsAreHardlyEverStopped) {
  const Population equals(8, 0);
  const Raced raced = RunRace(equals, RaceSpec(100, {500, 1000, 2000}));
  EXPECT_LE(raced.stopped, 5);
}

TEST(RacingTest, WhoIsStoppedIsNotBetterOnAllImages) {
  const Population population(4, 0.5);
  const Raced raced = RunRace(population, RaceSpec(60, {500, 1000}));
  std::map<std::string, const v1::Trial*> by_name;
  for (const v1::Trial& trial : raced.trials) by_name[trial.name()] = &trial;
  const auto right = [&](const v1::Trial& trial) {
    v1::Task whole;
    whole.set_arch_key(trial.arch_key());
    return population.Evaluate(whole, Macs(trial) * 1e-6).top1_correct();
  };
  int wrong = 0;
  for (const v1::Trial& trial : raced.trials) {
    if (trial.stopped_by().empty()) continue;
    const v1::Trial& better = *by_name[trial.stopped_by()];
    EXPECT_LE(Macs(better), Macs(trial));
    wrong += right(better) <= right(trial) ? 1 : 0;
  }
  EXPECT_GT(raced.stopped, 10);
  EXPECT_EQ(wrong, 0);
}

TEST(RacingTest, Invariant4KilledAtEveryCommitARaceLeavesTheSameLog) {
  const Population population(6, 2);
  v1::SearchJobSpec spec = RaceSpec(6, {256, 1024});
  spec.mutable_fidelity()->set_final_images(2048);
  spec.set_parallelism(2);
  int64_t commits = 0;
  const auto run = [&](int64_t at, FaultyStore::Fault fault) {
    ControllerHarness harness;
    harness.Register("w");
    const std::string name = harness.Submit(spec)->name();
    const int64_t before = harness.store()->commits();
    if (at > 0) harness.store()->FailFrom(at, fault, absl::UnavailableError("killed"));
    harness.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
      if (task.kind() != v1::Task::ACCURACY) return;
      *result->mutable_accuracy_result() = population.Evaluate(task, 20);
    });
    if (at == 0) commits = harness.store()->commits() - before;
    return harness.Log(name);
  };
  const std::vector<std::string> calm = run(0, FaultyStore::Fault::kLost);
  int climbed = 0;
  int stopped = 0;
  for (const std::string& line : calm) {
    climbed += absl::StrContains(line, " climbed ") ? 1 : 0;
    stopped += absl::StrContains(line, "stopped_by") ? 1 : 0;
  }
  EXPECT_GT(climbed, 0);
  EXPECT_GT(stopped, 0);
  for (const FaultyStore::Fault fault :
       {FaultyStore::Fault::kLost, FaultyStore::Fault::kUnanswered}) {
    for (int64_t at = 1; at <= commits; ++at) {
      ASSERT_EQ(run(at, fault), calm) << "killed at commit " << at;
    }
  }
}

}  // namespace
}  // namespace forall
