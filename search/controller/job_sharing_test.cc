// SPDX-License-Identifier: Apache-2.0
// Whose tasks workers get: priorities, weights and tenants, from submission to lease, also where
// several jobs want the same (tasks_in_flight_test.cc has what else follows from that).
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::Await;
using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOkAndHolds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// A job of exports, all of which wait at once. Jobs of one seed want the same subnets, those of
// different ones none in common: other samplers all begin with the smallest and the largest.
v1::SearchJobSpec Spec(int trials, int64_t seed, int32_t priority = 0) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
  spec.mutable_sampler()->set_algorithm("random");
  spec.set_seed(seed);
  spec.set_parallelism(trials);
  spec.set_priority(priority);
  return spec;
}

class JobSharingTest : public ::testing::Test {
 protected:
  std::string SubmitAs(const std::string& tenant, const v1::SearchJobSpec& spec) {
    v1::SubmitSearchJobRequest request;
    *request.mutable_spec() = spec;
    const absl::StatusOr<v1::SearchJob> answer =
        Await<v1::SearchJob>([&](Done<v1::SearchJob> done) {
          harness_.controller()->SubmitSearchJobAs({tenant, false}, request, std::move(done));
        });
    FORALL_EXPECT_OK(answer);
    return answer.ok() ? answer->name() : "";
  }

  // Of whom the next `count` leases are.
  std::map<std::string, int> Leased(int count) {
    std::map<std::string, int> leased;
    while (count > 0) {
      const absl::StatusOr<v1::LeaseTasksResponse> response =
          harness_.Lease("w", std::min(count, 10));
      FORALL_EXPECT_OK(response);
      if (!response.ok() || response->tasks().empty()) break;
      for (const v1::LeasedTask& task : response->tasks()) {
        const std::string& trial = task.task().trial();
        ++leased[trial.substr(0, trial.find("/trials"))];
        --count;
      }
    }
    return leased;
  }

  ControllerHarness harness_;
};

TEST_F(JobSharingTest, AJobOfHigherPriorityGoesFirstWhenItComes) {
  harness_.Register("w");
  const std::string usual = SubmitAs("a", Spec(20, 1));
  EXPECT_THAT(Leased(3), ElementsAre(Pair(usual, 3)));
  const std::string urgent = SubmitAs("b", Spec(5, 2, 10));
  const std::string idle = SubmitAs("c", Spec(20, 3, -10));
  EXPECT_THAT(Leased(7), ElementsAre(Pair(usual, 2), Pair(urgent, 5)));
  EXPECT_THAT(Leased(16), ElementsAre(Pair(usual, 15), Pair(idle, 1)));
}

TEST_F(JobSharingTest, TenantsAndThenJobsShare) {
  harness_.Register("w");
  v1::SearchJobSpec heavy = Spec(60, 1);
  heavy.set_weight(3);
  const std::string first = SubmitAs("a", heavy);
  const std::string second = SubmitAs("a", Spec(60, 2));
  const std::string third = SubmitAs("b", Spec(60, 3));
  EXPECT_THAT(Leased(40), ElementsAre(Pair(first, 15), Pair(second, 5), Pair(third, 20)));
  // Who they are of, and what they were given, is known after a restart.
  harness_.Restart();
  harness_.Register("w");
  EXPECT_THAT(Leased(40), ElementsAre(Pair(first, 15), Pair(second, 5), Pair(third, 20)));
  EXPECT_EQ(harness_.Job(third)->tenant(), "b");
  EXPECT_EQ(harness_.Job(first)->spec().weight(), 3);
}

TEST_F(JobSharingTest, WhatAnUrgentJobWaitsForIsUrgent) {
  harness_.Register("w");
  const std::string other = SubmitAs("a", Spec(20, 1));
  const std::string idle = SubmitAs("a", Spec(20, 2, -10));
  EXPECT_THAT(Leased(1), ElementsAre(Pair(other, 1)));
  // It wants the first five of the other's subnets, each of which is one open task.
  SubmitAs("b", Spec(5, 2, 10));
  EXPECT_THAT(harness_.sqlite()->LoadTasks(3), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(Leased(6), ElementsAre(Pair(other, 1), Pair(idle, 5)));
  // Once it does not want them any more they are as idle as they were.
  const std::string second = SubmitAs("b", Spec(9, 2, 10));
  v1::CancelSearchJobRequest request;
  request.set_name(second);
  FORALL_ASSERT_OK(CallAndWait(harness_.controller(), &Controller::CancelSearchJob, request));
  EXPECT_THAT(Leased(18), ElementsAre(Pair(other, 18)));
}

TEST_F(JobSharingTest, ATenantsTurnsAreItsOwnAlsoForWhatOthersOpened) {
  harness_.Register("w");
  const std::string first = SubmitAs("a", Spec(60, 1));
  const std::string second = SubmitAs("a", Spec(40, 2));
  // Ten turns of the one tenant, half of them for each of its jobs, and ten of the other.
  SubmitAs("b", Spec(40, 2));
  EXPECT_THAT(Leased(20), ElementsAre(Pair(first, 5), Pair(second, 15)));
  harness_.Restart();
  harness_.Register("w");
  EXPECT_THAT(Leased(20), ElementsAre(Pair(first, 5), Pair(second, 15)));
}

TEST(JobSharingLogTest, WhatASearchFindsDoesNotDependOnItsShare) {
  const auto log = [](int32_t priority, float weight) {
    ControllerHarness harness;
    harness.Register("w");
    v1::SearchJobSpec spec = ControllerHarness::Spec(12);
    spec.set_priority(priority);
    spec.set_weight(weight);
    const std::string name = harness.Submit(spec)->name();
    EXPECT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
    return harness.Log(name);
  };
  EXPECT_EQ(log(0, 1), log(-7, 2.5F));
}

TEST_F(JobSharingTest, AJobOfNobodyHasNoTenant) {
  const absl::StatusOr<v1::SearchJob> job = harness_.Submit(ControllerHarness::Spec(4));
  FORALL_ASSERT_OK(job);
  EXPECT_EQ(job->tenant(), "");
  harness_.Restart();
  EXPECT_EQ(harness_.Job(job->name())->tenant(), "");
}

}  // namespace
}  // namespace forall
