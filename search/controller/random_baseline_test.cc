// SPDX-License-Identifier: Apache-2.0
#include "search/controller/random_baseline.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RandomBaselineTest : public ::testing::Test {
 protected:
  RandomBaselineTest() { harness_.Register("w"); }

  std::string Run(const std::string& sampler, int64_t seed,
                  const std::function<void(v1::SearchJobSpec*)>& change = nullptr) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(6);
    spec.mutable_sampler()->set_algorithm(sampler);
    spec.set_seed(seed);
    if (change != nullptr) change(&spec);
    const std::string name = harness_.Submit(spec)->name();
    EXPECT_EQ(harness_.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
    return name;
  }

  RandomBaseline Baseline(const std::string& job) {
    return CallAndWait(harness_.controller(), &Controller::GetSnapshot, job)->random;
  }

  ControllerHarness harness_;
};

TEST_F(RandomBaselineTest, IsWhatRandomJobsMeasuredInTheScaleOfTheJob) {
  const std::string job = Run("nsga2", 1);
  EXPECT_THAT(Baseline(job).jobs, IsEmpty());
  const std::string random = Run("random", 2);
  const RandomBaseline baseline = Baseline(job);
  EXPECT_THAT(baseline.jobs, ElementsAre(random));

  const v1::SearchJob scale = *harness_.Job(job);
  std::set<std::vector<double>> expected;
  for (const v1::Trial& trial : harness_.Trials(random)) {
    std::vector<double> point(2);
    for (const v1::Measurement& measurement : trial.measurements()) {
      if (measurement.fidelity() != "screening") continue;
      if (measurement.metric() == "accuracy_top1") point[0] = (100 - measurement.value()) / 100;
      if (measurement.metric() == "latency_ms") {
        point[1] = measurement.value() / scale.hypervolume_reference(1);
      }
    }
    expected.insert(point);
  }
  ASSERT_EQ(expected.size(), 6u);
  ASSERT_EQ(baseline.points.size(), 6u);
  for (const std::vector<double>& point : baseline.points) {
    EXPECT_EQ(std::count_if(expected.begin(), expected.end(),
                            [&](const std::vector<double>& other) {
                              return std::abs(point[0] - other[0]) < 1e-12 &&
                                     std::abs(point[1] - other[1]) < 1e-12;
                            }),
              1);
  }
}

TEST_F(RandomBaselineTest, CountsEverySubnetOnceAndNotTheJobItself) {
  const std::string first = Run("random", 2);
  const std::string same = Run("random", 2);
  const std::string other = Run("random", 3);
  const std::string job = Run("guided", 1);
  const RandomBaseline baseline = Baseline(job);
  EXPECT_THAT(baseline.jobs, ElementsAre(first, other));
  EXPECT_EQ(baseline.points.size(), 12u);
  // Others in the eyes of a random job are random as well.
  EXPECT_THAT(Baseline(other).jobs, ElementsAre(first));
}

TEST_F(RandomBaselineTest, LeavesOutJobsThatAskedSomethingElse) {
  const std::string job = Run("nsga2", 1);
  Run("evolution", 2);
  Run("random", 3, [](v1::SearchJobSpec* spec) {
    v1::Constraint* constraint = spec->add_constraints();
    constraint->set_metric("macs");
    constraint->set_at_most(40e6);
  });
  Run("random", 4,
      [](v1::SearchJobSpec* spec) { spec->mutable_fidelity()->set_screening_images(500); });
  Run("random", 5, [](v1::SearchJobSpec* spec) { spec->add_objectives()->set_metric("params"); });
  Run("random", 6,
      [](v1::SearchJobSpec* spec) { spec->mutable_fidelity()->set_calibration_images(77); });
  Run("random", 7, [](v1::SearchJobSpec* spec) { spec->set_recipe("fp16"); });
  EXPECT_THAT(Baseline(job).jobs, IsEmpty());
  // What only names the device that the job is bound to anyway asks the same.
  const std::string named = Run("random", 8, [](v1::SearchJobSpec* spec) {
    spec->mutable_objectives(1)->mutable_condition()->set_device("devices/pc");
  });
  EXPECT_THAT(Baseline(job).jobs, ElementsAre(named));
}

}  // namespace
}  // namespace forall
