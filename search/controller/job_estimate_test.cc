// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_estimate.h"

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/controller.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr double kHour = 3600;

class JobEstimateTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::SearchJobEstimate> Estimate(const v1::SearchJobSpec& spec) {
    v1::EstimateSearchJobRequest request;
    *request.mutable_spec() = spec;
    return CallAndWait(harness_.controller(), &Controller::EstimateSearchJob, request);
  }
  v1::SearchJobEstimate EstimateOk(const v1::SearchJobSpec& spec) {
    absl::StatusOr<v1::SearchJobEstimate> estimate = Estimate(spec);
    EXPECT_THAT(estimate, IsOk());
    return estimate.ok() ? *estimate : v1::SearchJobEstimate();
  }
  // An export takes 1 s, a screening accuracy of 2,500 images 5 s, a final one 20 s, a latency 2 s
  // and 8 s.
  static absl::Duration TakenBy(const v1::Task& task) {
    const bool final = task.fidelity() == "final";
    if (task.kind() == v1::Task::EXPORT) return absl::Seconds(1);
    if (task.kind() == v1::Task::ACCURACY) return absl::Seconds(final ? 20 : 5);
    // Whatever is measured beside takes 3 s.
    return absl::Seconds((final ? 8 : 2) + 3 * task.metrics_size());
  }
  void RegisterMeasuring(const std::string& worker, const std::string& device) {
    v1::RegisterWorkerRequest request = harness_.Registration(worker, device);
    (*request.mutable_device()->mutable_properties())["measures"] =
        "latency_p90_ms, latency_p99_ms, energy_mj";
    FORALL_ASSERT_OK(CallAndWait(harness_.controller(), &Controller::RegisterWorker, request));
  }
  static v1::SearchJobSpec SpecOf(int trials, const std::vector<std::string>& metrics) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    for (const std::string& metric : metrics) spec.add_objectives()->set_metric(metric);
    return spec;
  }
  // Two tasks at a time, as workers lease them; one is done after the other.
  std::string RunJob(const v1::SearchJobSpec& spec) {
    const std::string name = harness_.Submit(spec)->name();
    while (!harness_.Job(name)->has_end_time()) {
      const absl::StatusOr<v1::LeaseTasksResponse> leased = harness_.Lease("w", 2);
      EXPECT_THAT(leased, IsOk());
      if (!leased.ok() || leased->tasks().empty()) break;
      for (const v1::LeasedTask& task : leased->tasks()) {
        harness_.clock()->Advance(TakenBy(task.task()));
        EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(task))->code(), 0);
      }
    }
    EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::SUCCEEDED);
    return name;
  }
  void ExpectSeconds(const v1::SearchJobEstimate& estimate) {
    ASSERT_THAT(estimate.work(), SizeIs(4));
    EXPECT_NEAR(estimate.work(0).seconds_each(), 6, 1e-6) << "export and accuracy";
    EXPECT_NEAR(estimate.work(1).seconds_each(), 20, 1e-6);
    EXPECT_NEAR(estimate.work(2).seconds_each(), 2, 1e-6);
    EXPECT_NEAR(estimate.work(3).seconds_each(), 8, 1e-6);
  }

  ControllerHarness harness_;
};

TEST_F(JobEstimateTest, KnowsNothingInAnEmptyStoreAndSaysSo) {
  const v1::SearchJobEstimate estimate = EstimateOk(ControllerHarness::Spec(50));
  ASSERT_THAT(estimate.work(), SizeIs(4));
  EXPECT_EQ(estimate.work(0).metric(), "accuracy_top1");
  EXPECT_EQ(estimate.work(0).fidelity(), "screening");
  EXPECT_EQ(estimate.work(0).measurements(), 50);
  EXPECT_EQ(estimate.work(1).fidelity(), "final");
  EXPECT_EQ(estimate.work(1).measurements(), 10) << "a fifth";
  for (const auto& work : estimate.work()) {
    EXPECT_FALSE(work.has_seconds_each());
    EXPECT_FALSE(work.has_device_hours());
  }
  EXPECT_EQ(estimate.device_hours(), 0);
  EXPECT_FALSE(estimate.has_wall_hours());
  EXPECT_THAT(estimate.warnings(), Contains(HasSubstr("no worker that has dataset")));
  EXPECT_THAT(estimate.warnings(), Contains(HasSubstr("no worker that measures latency_ms")));
  EXPECT_THAT(estimate.warnings(),
              Contains(HasSubstr("how long accuracy_top1 takes (final, screening)")));
  EXPECT_THAT(estimate.warnings(), Contains(HasSubstr("are assumed")));
}

TEST_F(JobEstimateTest, IsMadeOfWhatFormerTasksTookAlsoAfterARestart) {
  harness_.Register("w");
  const std::string former = RunJob(ControllerHarness::Spec(16));
  const int64_t members = harness_.Job(former)->finalized_trials();
  v1::SearchJobSpec spec = ControllerHarness::Spec(100);
  spec.mutable_sampler()->set_algorithm("guided");
  for (const bool restarted : {false, true}) {
    if (restarted) {
      harness_.Restart();
      harness_.Register("w");
    }
    const v1::SearchJobEstimate estimate = EstimateOk(spec);
    ExpectSeconds(estimate);
    EXPECT_GE(estimate.work(1).measurements(), members);
    const double finals = estimate.work(1).measurements();
    EXPECT_NEAR(estimate.work(0).device_hours(), 600 / kHour, 1e-9);
    EXPECT_NEAR(estimate.device_hours(), (100 * 8 + finals * 28) / kHour, 1e-9);
    // One worker does it all.
    EXPECT_NEAR(estimate.wall_hours(), estimate.device_hours(), 1e-12);
    EXPECT_THAT(estimate.warnings(), IsEmpty());
    EXPECT_EQ(estimate.known_subnets(), 16);
    EXPECT_GT(estimate.work(2).basis_count(), 10);
    EXPECT_EQ(estimate.work(2).basis(), "of this supernet on devices/pc");
  }
  spec.set_cold_start(true);
  EXPECT_EQ(EstimateOk(spec).known_subnets(), 0);
}

TEST_F(JobEstimateTest, StoresNothing) {
  harness_.Register("w");
  const int64_t commits = harness_.store()->commits();
  EstimateOk(ControllerHarness::Spec(50));
  EXPECT_EQ(harness_.store()->commits(), commits);
  EXPECT_THAT(harness_.Lease("w")->tasks(), IsEmpty());
  EXPECT_EQ(harness_.Submit(ControllerHarness::Spec(2))->name(), "searchJobs/1");
}

TEST_F(JobEstimateTest, MoreWorkersTakeLessWallClockTimeButADeviceIsOne) {
  harness_.Register("w");
  RunJob(ControllerHarness::Spec(16));
  const v1::SearchJobEstimate alone = EstimateOk(ControllerHarness::Spec(100));
  // It classifies images, and measures no latency that is wanted here.
  v1::RegisterWorkerRequest request = harness_.Registration("helper", "other");
  request.add_kinds(v1::Task::EXPORT);
  request.add_kinds(v1::Task::ACCURACY);
  FORALL_ASSERT_OK(CallAndWait(harness_.controller(), &Controller::RegisterWorker, request));
  v1::SearchJobEstimate two = EstimateOk(ControllerHarness::Spec(100));
  EXPECT_NEAR(two.wall_hours(), alone.wall_hours() / 2, 1e-9);
  EXPECT_NEAR(two.device_hours(), alone.device_hours(), 1e-9);
  for (const char* worker : {"a", "b", "c", "d", "e", "f"}) {
    request.set_worker_id(worker);
    FORALL_ASSERT_OK(CallAndWait(harness_.controller(), &Controller::RegisterWorker, request));
  }
  const v1::SearchJobEstimate many = EstimateOk(ControllerHarness::Spec(100));
  const double latencies = many.work(2).device_hours() + many.work(3).device_hours();
  EXPECT_NEAR(many.wall_hours(), latencies, 1e-9);
}

TEST_F(JobEstimateTest, NamesAllThatATaskMeasures) {
  RegisterMeasuring("w", "pc");
  v1::SearchJobSpec spec = SpecOf(50, {"accuracy_top5", "latency_p99_ms", "carbon_mg"});
  spec.mutable_objectives(4)->mutable_condition()->set_grid_grams_per_kwh(300);
  const v1::SearchJobEstimate estimate = EstimateOk(spec);
  ASSERT_THAT(estimate.work(), SizeIs(4));
  EXPECT_EQ(estimate.work(0).metric(), "accuracy_top1, accuracy_top5");
  EXPECT_EQ(estimate.work(2).metric(), "latency_ms, latency_p99_ms, energy_mj, carbon_mg");
  EXPECT_EQ(estimate.work(2).measurements(), 50) << "one task has them all";
}

TEST_F(JobEstimateTest, EachDeviceAndBatchIsCountedForItself) {
  harness_.Register("a", "pc");
  harness_.Register("b", "orin");
  v1::SearchJobSpec spec = ControllerHarness::Spec(50);
  v1::Condition* condition = spec.mutable_objectives(1)->mutable_condition();
  condition->set_device("devices/pc");
  for (const char* const device : {"devices/pc", "devices/orin"}) {
    v1::Objective* const objective = spec.add_objectives();
    objective->set_metric("latency_ms");
    objective->mutable_condition()->set_device(device);
    objective->mutable_condition()->set_batch(8);
  }
  const v1::SearchJobEstimate estimate = EstimateOk(spec);
  ASSERT_THAT(estimate.work(), SizeIs(8)) << "accuracy and three latencies, screening and final";
  EXPECT_EQ(estimate.work(2).condition().batch(), 1);
  EXPECT_EQ(estimate.work(4).condition().device(), "devices/pc");
  EXPECT_EQ(estimate.work(4).condition().batch(), 8);
  EXPECT_EQ(estimate.work(6).condition().device(), "devices/orin");
  EXPECT_THAT(estimate.warnings(), Contains(HasSubstr("on devices/orin in batches of 8 (")));
}

TEST_F(JobEstimateTest, MoreMetricsAreNotTakenToCostAsLittleAsLatenciesAlone) {
  RegisterMeasuring("w", "pc");
  RunJob(ControllerHarness::Spec(16));
  // The reference takes 2 ms, subnets more than nothing: 662 runs of both take more than 1.3 s.
  v1::SearchJobEstimate estimate = EstimateOk(SpecOf(50, {"latency_p99_ms"}));
  EXPECT_GT(estimate.work(2).seconds_each(), 2 + 662 * 2e-3);
  EXPECT_LT(estimate.work(2).seconds_each(), 2 + 662 * 20e-3);
  EXPECT_THAT(estimate.work(2).basis(), HasSubstr("scaled for 662 runs"));
  estimate = EstimateOk(SpecOf(50, {"latency_p90_ms"}));
  EXPECT_THAT(estimate.work(2).basis(), HasSubstr("scaled for 64 runs"));
  // Nobody knows how long energy takes.
  estimate = EstimateOk(SpecOf(50, {"latency_p99_ms", "energy_mj"}));
  EXPECT_FALSE(estimate.work(2).has_seconds_each());
  EXPECT_FALSE(estimate.has_wall_hours());
  EXPECT_THAT(estimate.warnings(), Contains(HasSubstr("screening; latency_ms alone took 2.00 s")));
}

TEST_F(JobEstimateTest, WhereAProgramMeasuresItIsCalledMoreOften) {
  v1::RegisterWorkerRequest request = harness_.Registration("w", "pc");
  auto& properties = *request.mutable_device()->mutable_properties();
  properties["measures"] = "latency_p99_ms";
  properties["reached_by"] = "ssh pc";
  FORALL_ASSERT_OK(CallAndWait(harness_.controller(), &Controller::RegisterWorker, request));
  RunJob(ControllerHarness::Spec(16));
  // Latencies had 20 runs in 2 s.
  EXPECT_NEAR(EstimateOk(SpecOf(50, {"latency_p99_ms"})).work(2).seconds_each(), 2.0 * 662 / 20,
              1e-6);
}

TEST_F(JobEstimateTest, TasksOfOtherMetricsAndRulesAreKeptApart) {
  RegisterMeasuring("w", "pc");
  RunJob(SpecOf(16, {"latency_p90_ms", "energy_mj"}));
  EXPECT_NEAR(EstimateOk(SpecOf(50, {"latency_p90_ms", "energy_mj"})).work(2).seconds_each(), 8,
              1e-6);
  const v1::SearchJobEstimate less = EstimateOk(SpecOf(50, {"energy_mj"}));
  EXPECT_NEAR(less.work(2).seconds_each(), 8, 1e-6) << "at most as long as with more";
  EXPECT_THAT(less.work(2).basis(), HasSubstr("with latency_p90_ms measured too"));
  RunJob(ControllerHarness::Spec(40));
  EXPECT_NEAR(EstimateOk(ControllerHarness::Spec(50)).work(2).seconds_each(), 2, 1e-6);
  EXPECT_NEAR(EstimateOk(SpecOf(50, {"latency_p90_ms", "energy_mj"})).work(2).seconds_each(), 8,
              1e-6);
  v1::SearchJobSpec longer = ControllerHarness::Spec(50);
  longer.mutable_fidelity()->mutable_screening_latency()->set_min_runs(400);
  const v1::SearchJobEstimate ruled = EstimateOk(longer);
  EXPECT_FALSE(ruled.work(2).has_seconds_each());
  EXPECT_NEAR(ruled.work(3).seconds_each(), 8, 1e-6) << "final ones are as ever";
}

TEST_F(JobEstimateTest, RefusesWhatASubmissionRefuses) {
  std::vector<v1::SearchJobSpec> specs(4, ControllerHarness::Spec(5));
  specs[0].mutable_budget()->set_max_trials(-1);
  specs[1].set_supernet("supernets/none");
  v1::Constraint* constraint = specs[2].add_constraints();
  constraint->set_metric("macs");
  constraint->set_at_most(10);
  specs[3].set_dataset("cifar10");
  for (const v1::SearchJobSpec& spec : specs) {
    const absl::Status refused = harness_.Submit(spec).status();
    EXPECT_FALSE(refused.ok());
    EXPECT_EQ(Estimate(spec).status(), refused);
  }
}

TEST_F(JobEstimateTest, GivesTheRangesOfExactCosts) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_objectives(0)->set_metric("params");
  spec.mutable_objectives(1)->set_metric("macs");
  const v1::SearchJobEstimate whole = EstimateOk(spec);
  EXPECT_THAT(whole.work(), IsEmpty());
  EXPECT_EQ(whole.wall_hours(), 0);
  ASSERT_THAT(whole.ranges(), SizeIs(2));
  EXPECT_EQ(whole.ranges(1).metric(), "macs");
  EXPECT_LT(whole.ranges(1).least(), whole.ranges(1).most());
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("macs");
  const double bound = 0.5 * (whole.ranges(1).least() + whole.ranges(1).most());
  constraint->set_at_most(bound);
  const v1::SearchJobEstimate half = EstimateOk(spec);
  EXPECT_EQ(half.ranges(1).least(), whole.ranges(1).least());
  EXPECT_LE(half.ranges(1).most(), bound);
  EXPECT_GT(half.ranges(1).most(), 0.9999 * bound);
  // Whatever the seed; and params, which another cost limits, is not claimed to be exact.
  spec.set_seed(12345);
  const v1::SearchJobEstimate again = EstimateOk(spec);
  EXPECT_EQ(again.ranges(1).most(), half.ranges(1).most());
  EXPECT_EQ(again.ranges(0).most(), half.ranges(0).most());
  EXPECT_EQ(half.ranges(0).least(), whole.ranges(0).least());
  EXPECT_THAT(half.warnings(), ElementsAre(HasSubstr("the range of params is about right")));
  constraint->clear_at_most();
  constraint->set_at_least(bound);
  const v1::SearchJobEstimate upper = EstimateOk(spec);
  EXPECT_EQ(upper.ranges(1).most(), whole.ranges(1).most());
  EXPECT_GE(upper.ranges(1).least(), bound);
  EXPECT_LT(upper.ranges(1).least(), 1.0001 * bound);
}

TEST_F(JobEstimateTest, FindsTheEndsOfANarrowRange) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_objectives(0)->set_metric("params");
  spec.mutable_objectives(1)->set_metric("macs");
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("macs");
  constraint->set_at_least(30e6);
  constraint->set_at_most(30.01e6);
  const v1::SearchJobEstimate estimate = EstimateOk(spec);
  ASSERT_THAT(estimate.ranges(), SizeIs(2));
  EXPECT_NEAR(estimate.ranges(1).least(), 30e6, 3000);
  EXPECT_NEAR(estimate.ranges(1).most(), 30.01e6, 3000);
}

TEST_F(JobEstimateTest, ScalesAccuraciesOfOtherImages) {
  harness_.Register("w");
  RunJob(ControllerHarness::Spec(16));
  v1::SearchJobSpec spec = ControllerHarness::Spec(10);
  spec.mutable_fidelity()->set_screening_images(1250);
  const v1::SearchJobEstimate estimate = EstimateOk(spec);
  EXPECT_NEAR(estimate.work(0).seconds_each(), 1 + 2.5, 1e-6);
  EXPECT_THAT(estimate.work(0).basis(), HasSubstr("scaled from 2500 to 1250 images"));
  spec.mutable_fidelity()->set_test_split(true);
  EXPECT_EQ(EstimateOk(spec).work(2).condition().split(), "test");
}

}  // namespace
}  // namespace forall
