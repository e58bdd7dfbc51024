// SPDX-License-Identifier: Apache-2.0
#include "cli/job_file.h"

#include <string>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

constexpr char kWhole[] = R"(
name: pi5 under 8 ms
supernet: fashion_mnist
objectives: [accuracy_top1, latency_ms@pi5-lab]
constraints: ["latency_ms@pi5-lab<=8", "macs<=50M"]
sampler: {algorithm: nsga2, population_size: 40, mutation_probability: 0.2}
budget: {max_trials: 300, max_duration: 2h}
fidelity: {screening_images: 2500, final_images: 10000, calibration_images: 2000, calibration_seed: 7, test_split: true, part_images: 6400, tiers: [2500, 5000], screening_latency: standard, final_latency: {base: final, target_half_width: 0.003, min_runs: 100, max_runs: 700, max_duration: 2500ms, sessions: 7, fresh: false}}
seed: 3
dataset: fashion_mnist
parallelism: 4
priority: -5
weight: 2.5
recipe: fp32
cold_start: true
)";

TEST(JobFileTest, ReadsEveryField) {
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJobSpec spec, ParseJobFile(kWhole));
  EXPECT_EQ(spec.display_name(), "pi5 under 8 ms");
  EXPECT_EQ(spec.supernet(), "supernets/fashion_mnist");
  ASSERT_EQ(spec.objectives_size(), 2);
  EXPECT_EQ(spec.objectives(1).condition().device(), "devices/pi5-lab");
  ASSERT_EQ(spec.constraints_size(), 2);
  EXPECT_EQ(spec.constraints(1).at_most(), 50e6);
  EXPECT_EQ(spec.sampler().algorithm(), "nsga2");
  EXPECT_EQ(spec.sampler().population_size(), 40);
  EXPECT_EQ(spec.budget().max_trials(), 300);
  EXPECT_EQ(spec.budget().max_duration().seconds(), 7200);
  EXPECT_EQ(spec.fidelity().calibration_seed(), 7);
  EXPECT_TRUE(spec.fidelity().test_split());
  EXPECT_EQ(spec.fidelity().part_images(), 6400);
  EXPECT_EQ(spec.fidelity().screening_latency().base(), "standard");
  const v1::LatencyProfile& rules = spec.fidelity().final_latency();
  EXPECT_EQ(rules.base(), "final");
  EXPECT_EQ(rules.target_half_width(), 0.003);
  EXPECT_EQ(rules.min_runs(), 100);
  EXPECT_EQ(rules.max_runs(), 700);
  EXPECT_EQ(rules.max_duration().seconds(), 2);
  EXPECT_EQ(rules.max_duration().nanos(), 500'000'000);
  EXPECT_EQ(rules.sessions(), 7);
  EXPECT_TRUE(rules.has_fresh());
  EXPECT_FALSE(rules.fresh());
  ASSERT_EQ(spec.fidelity().tiers_size(), 2);
  EXPECT_EQ(spec.fidelity().tiers(1), 5000);
  EXPECT_EQ(spec.seed(), 3);
  EXPECT_EQ(spec.parallelism(), 4);
  EXPECT_EQ(spec.priority(), -5);
  EXPECT_EQ(spec.weight(), 2.5F);
  EXPECT_TRUE(spec.cold_start());
}

TEST(JobFileTest, ReadsJson) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const v1::SearchJobSpec spec,
      ParseJobFile(R"({"supernet": "s", "objectives": ["macs"], "budget": {"max_trials": 5}})"));
  EXPECT_EQ(spec.budget().max_trials(), 5);
}

TEST(JobFileTest, ErrorsNameTheField) {
  struct Case {
    std::string text;
    const char* expected;
  };
  std::string endless = "objectives: [macs";
  for (int i = 0; i < 1000; ++i) endless += ", macs";
  const Case cases[] = {
      {"objectivs: [macs]", "objectivs: unknown field; did you mean \"objectives\"?"},
      {"budget: {max_trails: 3}", "budget.max_trails: unknown field; did you mean \"max_trials\"?"},
      {"budget: {max_trials: many}", "budget.max_trials: must be a whole number"},
      {"budget: {max_trials: 4294967297}", "budget.max_trials: must be a whole number below 2^31"},
      {"budget: {max_duration: -3s}", "budget.max_duration: must be a positive duration"},
      {"budget: 7", "budget: must be a map"},
      {"objectives: macs", "objectives: must be a list"},
      {"objectives: [speed]", "objectives[0]: there is no metric"},
      {"constraints: [\"macs<3\"]", "constraints[0]"},
      {"fidelity: {tiers: 500}", "fidelity.tiers: must be a list"},
      {"fidelity: {tiers: [500, many]}", "fidelity.tiers[1]: must be a whole number"},
      {"priority: high", "priority: must be a whole number"},
      {"weight: half", "weight: must be a number"},
      {"cold_start: 3", "cold_start: must be true or false"},
      {"fidelity: {final_latency: {runs: 5}}", "fidelity.final_latency.runs"},
      {"fidelity: {final_latency: {max_duration: soon}}",
       "fidelity.final_latency.max_duration: must be a positive duration"},
      {"fidelity: {test_split: perhaps}", "fidelity.test_split: must be true or false"},
      {endless + "]", "objectives: has 1001 items"},
      {"- a\n- b", "job: must be a map"},
      {"a: [1, 2\nb: 3", "line "},
      {"name: a\nsupernet: \xfc"
       "ber",
       "line 2: is not UTF-8"},
      {std::string((1 << 20) + 1, 'x'), "1 MiB"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(ParseJobFile(c.text).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.expected)));
  }
}

}  // namespace
}  // namespace forall
