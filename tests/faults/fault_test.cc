// SPDX-License-Identifier: Apache-2.0
// Random jobs under random faults, against the same jobs undisturbed: kills at random moments, a
// network that delays and cuts, and a worker that repeats, reorders, drops and falsifies. The
// environment's FORALL_FAULT_KILLS and FORALL_FAULT_SEED make longer and other campaigns.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/fault_lab.h"

namespace forall {
namespace {

using testing::ExpectNothingLostOrDoubled;
using testing::ExpectTheSame;
using testing::ExpectTheSameFrontier;
using testing::Outcome;
using testing::RunJob;
using testing::Trouble;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}
constexpr uint64_t kMostRounds = 20;
uint64_t Seed() { return FromEnvironment("FORALL_FAULT_SEED", 1); }

// Any job that one worker can do in a few seconds. One trial at a time, so that the whole job is a
// function of the spec.
v1::SearchJobSpec AnyJob(uint64_t seed) {
  Random random = Random::ForStream(Seed(), seed);
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.set_seed(static_cast<int64_t>(random.Uniform(1'000'000)));
  spec.set_parallelism(1);
  const char* const samplers[] = {"guided", "nsga2", "random"};
  spec.mutable_sampler()->set_algorithm(samplers[random.Uniform(3)]);
  spec.mutable_budget()->set_max_trials(static_cast<int32_t>(15 + random.Uniform(20)));
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("latency_ms");
  if (random.Bernoulli(0.5)) spec.add_objectives()->set_metric("macs");
  v1::Fidelity* const fidelity = spec.mutable_fidelity();
  fidelity->set_screening_images(random.Bernoulli(0.5) ? 2500 : 1000);
  fidelity->set_test_split(random.Bernoulli(0.5));
  if (random.Bernoulli(0.4)) fidelity->set_part_images(512);
  if (random.Bernoulli(0.3)) {
    v1::Constraint* const constraint = spec.add_constraints();
    constraint->set_metric("latency_ms");
    constraint->set_at_most(2.0);
  }
  return spec;
}

Outcome Calm(const v1::SearchJobSpec& spec) {
  const Outcome calm = RunJob(spec, {});
  EXPECT_EQ(calm.job.state(), v1::SearchJob::SUCCEEDED) << calm.job.error();
  EXPECT_GE(calm.trials.size(), 15u);
  ExpectNothingLostOrDoubled(calm);
  return calm;
}

TEST(FaultTest, Invariant4TwoHundredKillsLeaveRandomJobsTheSame) {
  const int wanted = static_cast<int>(FromEnvironment("FORALL_FAULT_KILLS", 200));
  int controller_kills = 0;
  int worker_kills = 0;
  for (uint64_t job = 1; controller_kills + worker_kills < wanted; ++job) {
    ASSERT_LT(job, 1'000u) << "jobs end before anything is killed";
    SCOPED_TRACE(absl::StrCat("job ", job, " of FORALL_FAULT_SEED=", Seed()));
    const v1::SearchJobSpec spec = AnyJob(job);
    const Outcome calm = Calm(spec);
    // The same job twice: kills come at other moments.
    for (uint64_t round = 0; round < 2; ++round) {
      const Outcome disturbed =
          RunJob(spec, {.seed = 2 * job + round, .mean_life = absl::Milliseconds(30)});
      controller_kills += disturbed.controller_kills;
      worker_kills += disturbed.worker_kills;
      ASSERT_EQ(disturbed.job.state(), v1::SearchJob::SUCCEEDED) << disturbed.job.error();
      ExpectNothingLostOrDoubled(disturbed);
      ExpectTheSame(disturbed, calm);
    }
    if (HasFailure()) return;
  }
  EXPECT_GE(controller_kills, wanted / 4);
  EXPECT_GE(worker_kills, wanted / 4);
  std::cout << controller_kills << " kills of the controller, " << worker_kills
            << " of the worker\n";
}

TEST(FaultTest, Invariant2ANetworkThatDelaysAndCutsLosesAndDoublesNothing) {
  v1::SearchJobSpec spec = AnyJob(1'001);
  spec.mutable_budget()->set_max_trials(20);
  const Outcome calm = Calm(spec);
  int64_t cuts = 0;
  int64_t stops = 0;
  // However fast the machine is.
  for (uint64_t round = 0; round < kMostRounds && (cuts < 2 || stops < 1); ++round) {
    const Outcome disturbed = RunJob(spec, {.seed = Seed() + round, .network = true});
    cuts += disturbed.cuts;
    stops += disturbed.stops;
    ASSERT_EQ(disturbed.job.state(), v1::SearchJob::SUCCEEDED) << disturbed.job.error();
    ExpectNothingLostOrDoubled(disturbed);
    ExpectTheSame(disturbed, calm);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GE(cuts, 2);
  EXPECT_GE(stops, 1);
}

TEST(FaultTest, Invariant2AMischievousWorkerChangesNothing) {
  v1::SearchJobSpec spec = AnyJob(1'002);
  spec.mutable_budget()->set_max_trials(60);
  const Outcome calm = Calm(spec);
  const std::vector<std::string> kinds = {"repeated", "changed",       "never leased", "given back",
                                          "dropped",  "held too long", "falsified"};
  std::map<std::string, int> seen;
  for (uint64_t round = 0; round < kMostRounds && seen.size() < kinds.size(); ++round) {
    const Outcome disturbed = RunJob(spec, {.seed = Seed() + 1000 * round, .mischief = true});
    EXPECT_THAT(disturbed.faults, ::testing::IsEmpty());
    for (const auto& [kind, count] : disturbed.mischiefs) seen[kind] += count;
    ASSERT_EQ(disturbed.job.state(), v1::SearchJob::SUCCEEDED) << disturbed.job.error();
    ExpectNothingLostOrDoubled(disturbed);
    ExpectTheSameFrontier(disturbed, calm);
    ASSERT_FALSE(HasFailure());
  }
  for (const std::string& kind : kinds) EXPECT_GE(seen[kind], 1) << kind;
}

TEST(FaultTest, Invariant2EverythingAtOnceChangesNothing) {
  v1::SearchJobSpec spec = AnyJob(1'003);
  spec.mutable_budget()->set_max_trials(15);
  const Outcome calm = Calm(spec);
  int kills = 0;
  for (uint64_t round = 0; round < kMostRounds && kills < 3; ++round) {
    const Outcome disturbed = RunJob(spec, {.seed = Seed() + 1000 * round,
                                            .mean_life = absl::Seconds(1),
                                            .mischief = true,
                                            .network = true});
    kills += disturbed.controller_kills + disturbed.worker_kills;
    EXPECT_THAT(disturbed.faults, ::testing::IsEmpty());
    ASSERT_EQ(disturbed.job.state(), v1::SearchJob::SUCCEEDED) << disturbed.job.error();
    ExpectNothingLostOrDoubled(disturbed);
    ExpectTheSameFrontier(disturbed, calm);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GE(kills, 3);
}

}  // namespace
}  // namespace forall
