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
    return absl::Seconds(final ? 8 : 2);
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
