// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_validator.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/cost_model.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

v1::SearchJobSpec GoodSpec() {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("latency_ms");
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("macs");
  constraint->set_at_most(5e7);
  spec.mutable_budget()->set_max_trials(100);
  spec.mutable_fidelity()->set_screening_images(2500);
  return spec;
}

void SetTiers(const std::vector<int32_t>& tiers, v1::SearchJobSpec* spec) {
  spec->mutable_fidelity()->clear_screening_images();
  spec->mutable_fidelity()->mutable_tiers()->Assign(tiers.begin(), tiers.end());
}

TEST(JobValidatorTest, AcceptsAGoodSpecBeforeAndAfterDefaults) {
  v1::SearchJobSpec spec = GoodSpec();
  FORALL_EXPECT_OK(ValidateSearchJobSpec(spec));
  FillDefaults("fashion_mnist", &spec);
  FORALL_EXPECT_OK(ValidateSearchJobSpec(spec));
  EXPECT_EQ(spec.dataset(), "fashion_mnist");
  EXPECT_EQ(spec.objectives(0).goal(), v1::Objective::MAXIMIZE);
  EXPECT_EQ(spec.objectives(1).goal(), v1::Objective::MINIMIZE);
}

struct BadSpec {
  const char* field;
  std::function<void(v1::SearchJobSpec*)> spoil;
};

TEST(JobValidatorTest, NamesTheFieldOfEveryMistake) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<BadSpec> bad = {
      {"spec.display_name", [](auto* s) { s->set_display_name(std::string(201, 'x')); }},
      {"spec.supernet", [](auto* s) { s->clear_supernet(); }},
      {"spec.supernet", [](auto* s) { s->set_supernet("fashion_mnist"); }},
      {"spec.supernet", [](auto* s) { s->set_supernet("supernets/../etc"); }},
      {"spec.budget.plateau_trials", [](auto* s) { s->mutable_budget()->set_plateau_trials(-1); }},
      {"spec.budget.plateau_improvement",
       [](auto* s) {
         s->mutable_budget()->set_plateau_trials(5);
         s->mutable_budget()->set_plateau_improvement(1);
       }},
      {"spec.budget.plateau_improvement",
       [nan](auto* s) {
         s->mutable_budget()->set_plateau_trials(5);
         s->mutable_budget()->set_plateau_improvement(nan);
       }},
      {"spec.budget.plateau_improvement",
       [](auto* s) { s->mutable_budget()->set_plateau_improvement(0.1); }},
      {"spec.budget.plateau_trials",
       [](auto* s) {
         s->mutable_budget()->set_plateau_trials(5);
         s->clear_objectives();
         for (const char* metric :
              {"accuracy_top1", "macs", "params", "model_bytes", "peak_activation_bytes"}) {
           s->add_objectives()->set_metric(metric);
         }
       }},
      {"spec.objectives", [](auto* s) { s->clear_objectives(); }},
      {"spec.objectives",
       [](auto* s) {
         for (int i = 0; i < 1'000'000; ++i) s->add_objectives();
       }},
      {"spec.constraints",
       [](auto* s) {
         for (int i = 0; i < 1'000'000; ++i) s->add_constraints();
       }},
      {"spec.objectives[0].metric", [](auto* s) { s->mutable_objectives(0)->clear_metric(); }},
      {"spec.objectives[1].metric", [](auto* s) { s->mutable_objectives(1)->set_metric("speed"); }},
      {"spec.objectives[0].goal",
       [](auto* s) { s->mutable_objectives(0)->set_goal(static_cast<v1::Objective::Goal>(7)); }},
      {"spec.objectives[2]", [](auto* s) { s->add_objectives()->set_metric("latency_ms"); }},
      {"spec.objectives[1].condition.device",
       [](auto* s) { s->mutable_objectives(1)->mutable_condition()->set_device("pi5"); }},
      {"spec.objectives[0].condition",
       [](auto* s) { s->mutable_objectives(0)->mutable_condition()->set_device("devices/pi5"); }},
      {"spec.objectives[1].condition",
       [](auto* s) { s->mutable_objectives(1)->mutable_condition()->set_grid_grams_per_kwh(386); }},
      {"spec.objectives[2].condition",
       [](auto* s) {
         s->add_objectives()->set_metric("latency_ms");
         s->mutable_objectives(2)->mutable_condition()->set_grid_grams_per_kwh(-0.0);
       }},
      {"spec.objectives[1].condition.batch",
       [](auto* s) { s->mutable_objectives(1)->mutable_condition()->set_batch(-1); }},
      {"spec.objectives[0].condition.split",
       [](auto* s) { s->mutable_objectives(0)->mutable_condition()->set_split("test"); }},
      {"spec.objectives[0].condition.recipe",
       [](auto* s) { s->mutable_objectives(0)->mutable_condition()->set_recipe("int4"); }},
      {"spec.objectives[0].condition.dataset",
       [](auto* s) {
         s->set_dataset("a");
         s->mutable_objectives(0)->mutable_condition()->set_dataset("b");
       }},
      {"spec.constraints[0]", [](auto* s) { s->mutable_constraints(0)->clear_at_most(); }},
      {"spec.constraints[0].at_most",
       [=](auto* s) { s->mutable_constraints(0)->set_at_most(nan); }},
      {"spec.constraints[0].at_most", [](auto* s) { s->mutable_constraints(0)->set_at_most(-1); }},
      {"spec.constraints[0].at_least",
       [=](auto* s) { s->mutable_constraints(0)->set_at_least(-infinity); }},
      {"spec.constraints[0]", [](auto* s) { s->mutable_constraints(0)->set_at_least(6e7); }},
      {"spec.constraints[1].at_least",
       [](auto* s) {
         v1::Constraint* constraint = s->add_constraints();
         constraint->set_metric("accuracy_top1");
         constraint->set_at_least(101);
       }},
      {"spec.sampler.algorithm", [](auto* s) { s->mutable_sampler()->set_algorithm("magic"); }},
      {"spec.sampler.population_size",
       [](auto* s) { s->mutable_sampler()->set_population_size(-5); }},
      {"spec.sampler.mutation_probability",
       [=](auto* s) { s->mutable_sampler()->set_mutation_probability(nan); }},
      {"spec.budget.max_trials", [](auto* s) { s->clear_budget(); }},
      {"spec.budget.max_trials", [](auto* s) { s->mutable_budget()->set_max_trials(-3); }},
      {"spec.budget.max_trials", [](auto* s) { s->mutable_budget()->set_max_trials(1'000'001); }},
      {"spec.budget.max_duration",
       [](auto* s) { s->mutable_budget()->mutable_max_duration()->set_seconds(-1); }},
      {"spec.budget.max_duration", [](auto* s) { s->mutable_budget()->mutable_max_duration(); }},
      {"spec.dataset", [](auto* s) { s->set_dataset(std::string(1'000'000, 'x')); }},
      {"spec.fidelity.screening_images",
       [](auto* s) { s->mutable_fidelity()->set_screening_images(-1); }},
      {"spec.fidelity.final_images",
       [](auto* s) { s->mutable_fidelity()->set_final_images(2499); }},
      {"spec.fidelity.calibration_images",
       [](auto* s) { s->mutable_fidelity()->set_calibration_images(-2); }},
      {"spec.fidelity.calibration_seed",
       [](auto* s) { s->mutable_fidelity()->set_calibration_seed(-2); }},
      {"spec.fidelity.part_images", [](auto* s) { s->mutable_fidelity()->set_part_images(-64); }},
      {"spec.fidelity.part_images", [](auto* s) { s->mutable_fidelity()->set_part_images(1000); }},
      {"spec.fidelity.screening_latency.base",
       [](auto* s) { s->mutable_fidelity()->mutable_screening_latency()->set_base("sloppy"); }},
      {"spec.fidelity.final_latency.target_half_width",
       [=](auto* s) {
         s->mutable_fidelity()->mutable_final_latency()->set_target_half_width(nan);
       }},
      {"spec.fidelity.final_latency.max_runs",
       [](auto* s) {
         s->mutable_fidelity()->mutable_final_latency()->set_min_runs(50);
         s->mutable_fidelity()->mutable_final_latency()->set_max_runs(49);
       }},
      {"spec.fidelity.final_latency.min_runs",
       [](auto* s) { s->mutable_fidelity()->mutable_final_latency()->set_min_runs(11); }},
      {"spec.fidelity.final_latency",
       [](auto* s) { s->mutable_fidelity()->mutable_final_latency()->set_sessions(4); }},
      {"spec.fidelity.final_latency",
       [](auto* s) { s->mutable_fidelity()->mutable_final_latency()->set_base("standard"); }},
      {"spec.fidelity.final_latency.sessions",
       [](auto* s) { s->mutable_fidelity()->mutable_final_latency()->set_sessions(21); }},
      {"spec.fidelity.screening_latency.max_duration",
       [](auto* s) {
         s->mutable_fidelity()->mutable_screening_latency()->mutable_max_duration()->set_seconds(
             -1);
       }},
      {"spec.fidelity.tiers[0]",
       [](auto* s) {
         SetTiers({0, 5}, s);
       }},
      {"spec.fidelity.tiers[1]",
       [](auto* s) {
         SetTiers({500, 500}, s);
       }},
      {"spec.fidelity.tiers",
       [](auto* s) {
         SetTiers({1, 2, 3, 4, 5, 6, 7, 8, 9}, s);
       }},
      {"spec.fidelity.screening_images",
       [](auto* s) {
         SetTiers({500, 5000}, s);
         s->mutable_fidelity()->set_screening_images(501);
       }},
      {"spec.fidelity.final_images",
       [](auto* s) {
         SetTiers({500, 5000}, s);
         s->mutable_fidelity()->set_final_images(5000);
       }},
      {"spec.fidelity.tiers",
       [](auto* s) {
         SetTiers({500, 5000}, s);
         s->mutable_objectives(0)->set_metric("params");
       }},
      {"spec.objectives[0]",
       [](auto* s) {
         SetTiers({500, 5000}, s);
         s->mutable_objectives(0)->set_metric("accuracy_top5");
       }},
      {"spec.parallelism", [](auto* s) { s->set_parallelism(-1); }},
      {"spec.priority", [](auto* s) { s->set_priority(101); }},
      {"spec.priority", [](auto* s) { s->set_priority(-101); }},
      {"spec.weight", [](auto* s) { s->set_weight(0); }},
      {"spec.weight", [](auto* s) { s->set_weight(-1); }},
      {"spec.weight", [](auto* s) { s->set_weight(0.009F); }},
      {"spec.weight", [](auto* s) { s->set_weight(101); }},
      {"spec.weight", [](auto* s) { s->set_weight(NAN); }},
      {"spec.recipe", [](auto* s) { s->set_recipe("int8"); }},
  };
  for (const BadSpec& mistake : bad) {
    v1::SearchJobSpec spec = GoodSpec();
    mistake.spoil(&spec);
    EXPECT_THAT(
        ValidateSearchJobSpec(spec),
        StatusIs(absl::StatusCode::kInvalidArgument, StartsWith(std::string(mistake.field) + ": ")))
        << mistake.field;
  }
}

// However they are spread over constraints: a job file shows one on each line.
TEST(JobValidatorTest, ThirtyTwoBoundsAreTheMost) {
  const auto with = [](int both, int one) {
    v1::SearchJobSpec spec = GoodSpec();
    spec.clear_constraints();
    for (int i = 0; i < both + one; ++i) {
      v1::Constraint* const constraint = spec.add_constraints();
      constraint->set_metric("macs");
      constraint->set_at_most(1e9 + i);
      if (i < both) constraint->set_at_least(i);
    }
    return ValidateSearchJobSpec(spec);
  };
  FORALL_EXPECT_OK(with(16, 0));
  FORALL_EXPECT_OK(with(0, 32));
  FORALL_EXPECT_OK(with(10, 12));
  for (const absl::Status& refused : {with(16, 1), with(17, 0), with(0, 33), with(32, 0)}) {
    EXPECT_THAT(refused, StatusIs(absl::StatusCode::kInvalidArgument,
                                  HasSubstr("spec.constraints: at most 32")));
  }
}

TEST(JobValidatorTest, PriorityAndWeightReachToTheirBounds) {
  for (const auto& [priority, weight] : {std::pair(-100, 0.01F), {100, 100.0F}}) {
    v1::SearchJobSpec spec = GoodSpec();
    spec.set_priority(priority);
    spec.set_weight(weight);
    FORALL_EXPECT_OK(ValidateSearchJobSpec(spec));
    FORALL_EXPECT_OK(CheckStoredSpec(spec));
  }
  v1::SearchJobSpec spec = GoodSpec();
  spec.set_weight(INFINITY);
  EXPECT_THAT(CheckStoredSpec(spec), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(JobValidatorTest, ContradictingConstraintsAreBothNamed) {
  for (const char* metric : {"macs", "latency_ms", "accuracy_top1"}) {
    v1::SearchJobSpec spec = GoodSpec();
    spec.clear_constraints();
    for (const bool at_most : {true, false}) {
      v1::Constraint* constraint = spec.add_constraints();
      constraint->set_metric(metric);
      at_most ? constraint->set_at_most(10) : constraint->set_at_least(20);
    }
    // The same condition in other words.
    if (metric == std::string("latency_ms"))
      spec.mutable_constraints(1)->mutable_condition()->set_batch(1);
    if (metric == std::string("accuracy_top1")) {
      spec.mutable_constraints(0)->mutable_condition()->set_split("validation");
    }
    for (const bool swapped : {false, true}) {
      if (swapped) spec.mutable_constraints()->SwapElements(0, 1);
      EXPECT_THAT(ValidateSearchJobSpec(spec),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           AllOf(HasSubstr("spec.constraints[0]"), HasSubstr("spec.constraints[1]"),
                                 HasSubstr(std::string(metric) + ">=20"),
                                 HasSubstr(std::string(metric) + "<=10"))));
    }
    // Bounds that leave something between them are two constraints like any others.
    for (v1::Constraint& constraint : *spec.mutable_constraints()) {
      if (constraint.has_at_least()) constraint.set_at_least(10);
    }
    FORALL_EXPECT_OK(ValidateSearchJobSpec(spec));
  }
}

TEST(JobValidatorTest, BoundsOfTwoDevicesDoNotContradict) {
  v1::SearchJobSpec spec = GoodSpec();
  v1::Constraint* fast = spec.add_constraints();
  fast->set_metric("latency_ms");
  fast->mutable_condition()->set_device("devices/pc");
  fast->set_at_most(1);
  v1::Constraint* slow = spec.add_constraints();
  slow->set_metric("latency_ms");
  slow->mutable_condition()->set_device("devices/pi");
  slow->set_at_least(2);
  FORALL_EXPECT_OK(ValidateSearchJobSpec(spec));
}

TEST(JobValidatorTest, TheFirstTierIsTheScreening) {
  v1::SearchJobSpec spec = GoodSpec();
  SetTiers({500, 5000}, &spec);
  FORALL_ASSERT_OK(ValidateSearchJobSpec(spec));
  FillDefaults("fashion_mnist", &spec);
  EXPECT_EQ(spec.fidelity().screening_images(), 500);
  FORALL_EXPECT_OK(ValidateSearchJobSpec(spec)) << "as it is stored";
}

TEST(JobValidatorTest, RefusesFieldsOfANewerClient) {
  v1::SearchJobSpec spec = GoodSpec();
  spec.mutable_objectives(1)
      ->GetReflection()
      ->MutableUnknownFields(spec.mutable_objectives(1))
      ->AddVarint(77, 1);
  EXPECT_THAT(ValidateSearchJobSpec(spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("spec.objectives[1]"), HasSubstr("77"))));
}

// A spec is stored as it was accepted; what comes out of a file may be anything.
TEST(JobValidatorTest, StoredSpecsThatWouldNeverEndAreDataLoss) {
  FORALL_EXPECT_OK(CheckStoredSpec(GoodSpec()));
  const auto refused = [](const std::function<void(v1::SearchJobSpec*)>& change,
                          const char* field) {
    v1::SearchJobSpec spec = GoodSpec();
    change(&spec);
    EXPECT_THAT(CheckStoredSpec(spec), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(field)));
  };
  using Spec = v1::SearchJobSpec;
  refused([](Spec* spec) { spec->clear_objectives(); }, "spec.objectives");
  refused(
      [](Spec* spec) {
        for (int i = 0; i < 1000; ++i) spec->add_objectives()->set_metric("macs");
      },
      "spec.objectives");
  refused([](Spec* spec) { spec->mutable_budget()->set_max_trials(1 << 30); }, "max_trials");
  refused([](Spec* spec) { spec->mutable_sampler()->set_population_size(-1); }, "population_size");
  refused([](Spec* spec) { spec->mutable_sampler()->set_mutation_probability(NAN); },
          "mutation_probability");
  refused([](Spec* spec) { spec->mutable_constraints(0)->set_at_most(NAN); }, "spec.constraints");
  refused([](Spec* spec) { spec->mutable_fidelity()->add_tiers(-5); }, "spec.fidelity.tiers");
  refused([](Spec* spec) { spec->mutable_objectives(0)->mutable_condition()->set_batch(1 << 30); },
          "batch");
}

TEST(JobValidatorTest, ImpossibleExactConstraintNamesTheNearestBound) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::shared_ptr<const Family> family,
                              FindFamily("fashion_mnist"));
  FORALL_ASSERT_OK_AND_ASSIGN(const Network smallest,
                              family->Describe(family->search_space().Smallest()));
  const int64_t least = CountCosts(smallest).macs;
  v1::SearchJobSpec spec = GoodSpec();
  spec.mutable_constraints(0)->set_at_most(static_cast<double>(least));
  FORALL_EXPECT_OK(CheckFeasible(spec, *family));
  spec.mutable_constraints(0)->set_at_most(static_cast<double>(least) - 1);
  EXPECT_THAT(CheckFeasible(spec, *family), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                     AllOf(HasSubstr("spec.constraints[0].at_most"),
                                                           HasSubstr(std::to_string(least)))));
  spec.mutable_constraints(0)->clear_at_most();
  spec.mutable_constraints(0)->set_at_least(1e12);
  EXPECT_THAT(CheckFeasible(spec, *family),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("at_least")));
}

}  // namespace
}  // namespace forall
