// SPDX-License-Identifier: Apache-2.0
// Jobs that are deleted: what goes, what stays, and what no other job may notice.
#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "search/store/store_check.h"

namespace forall {
namespace {

using ::forall::testing::Await;
using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class JobDeletionTest : public ::testing::Test {
 protected:
  Controller* controller() { return harness_.controller(); }

  std::string RunOne(int trials, int64_t seed = 7) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    spec.set_seed(seed);
    const absl::StatusOr<v1::SearchJob> job =
        harness_.Submit(spec, "request " + std::to_string(seed));
    FORALL_EXPECT_OK(job);
    EXPECT_EQ(harness_.RunToEnd(job->name()).state(), v1::SearchJob::SUCCEEDED);
    return job->name();
  }

  absl::StatusOr<v1::DeleteSearchJobResponse> Delete(const std::string& name) {
    v1::DeleteSearchJobRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::DeleteSearchJob, request);
  }
  absl::Status Cancel(const std::string& name) {
    v1::CancelSearchJobRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::CancelSearchJob, request).status();
  }

  // Values of the frontier over everything, as text.
  std::vector<std::string> FrontierOverAll() {
    v1::QueryParetoFrontierRequest request;
    request.set_supernet("supernets/fashion_mnist");
    for (const char* metric : {"accuracy_top1", "latency_ms"}) {
      request.add_objectives()->set_metric(metric);
    }
    std::vector<std::string> members;
    const absl::StatusOr<v1::QueryParetoFrontierResponse> frontier =
        CallAndWait(controller(), &Controller::QueryParetoFrontier, request);
    FORALL_EXPECT_OK(frontier);
    for (const v1::FrontierMember& member : frontier->members()) {
      members.push_back(member.trial().arch_key() + " " + std::to_string(member.values(0)) + " " +
                        std::to_string(member.values(1)));
    }
    return members;
  }

  ControllerHarness harness_;
};

TEST_F(JobDeletionTest, WhatIsTheJobsOwnGoesAndWhatWasMeasuredServesTheNextOne) {
  harness_.Register("w");
  const std::string name = RunOne(12);
  const int64_t events = harness_.Job(name)->event_sequence();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto before, harness_.sqlite()->LoadMeasurements());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::DeleteSearchJobResponse went, Delete(name));
  EXPECT_EQ(went.trials(), 12);
  EXPECT_GT(went.tasks(), 30);
  EXPECT_EQ(went.events(), events);
  EXPECT_EQ(went.kept_measurements(), static_cast<int64_t>(before.size()));
  // At once, and after a restart.
  for (const bool restarted : {false, true}) {
    if (restarted) harness_.Restart();
    EXPECT_THAT(harness_.Job(name), StatusIs(absl::StatusCode::kNotFound));
    EXPECT_THAT(Delete(name), StatusIs(absl::StatusCode::kNotFound));
    v1::GetTrialRequest trial;
    trial.set_name(name + "/trials/1");
    EXPECT_THAT(CallAndWait(controller(), &Controller::GetTrial, trial),
                StatusIs(absl::StatusCode::kNotFound));
    v1::ListSearchJobsRequest list;
    EXPECT_THAT(CallAndWait(controller(), &Controller::ListSearchJobs, list)->search_jobs(),
                IsEmpty());
    EXPECT_THAT(FrontierOverAll(), IsEmpty()) << "no trial is left that names a subnet";
    EXPECT_THAT(harness_.sqlite()->LoadMeasurements(), IsOkAndHolds(SizeIs(before.size())));
  }
  // The same search again: nothing is measured twice, and the job's name is another one.
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(12);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob again, harness_.Submit(spec, "request 7"));
  EXPECT_NE(again.name(), name);
  int tasks = 0;
  const v1::SearchJob job =
      harness_.RunToEnd(again.name(), "w", [&](const v1::Task&, v1::TaskResult*) { ++tasks; });
  EXPECT_EQ(job.reused_trials(), 12);
  EXPECT_EQ(tasks, 0);
  EXPECT_THAT(FrontierOverAll(), Not(IsEmpty()));
  // What reads from memory is what would be read from the store.
  const std::vector<std::string> all = FrontierOverAll();
  harness_.Restart();
  EXPECT_EQ(FrontierOverAll(), all);
}

TEST_F(JobDeletionTest, AJobThatGoesOnIsNotDeleted) {
  harness_.Register("w");
  const std::string name = harness_.Submit(ControllerHarness::Spec(6))->name();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(harness_.Step("w"));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  ASSERT_THAT(leased.tasks(), SizeIs(1));
  EXPECT_THAT(Delete(name),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("cancel it first")));
  FORALL_ASSERT_OK(Cancel(name));
  EXPECT_THAT(Delete(name), StatusIs(absl::StatusCode::kFailedPrecondition,
                                     HasSubstr("workers still hold 1 task")));
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased.tasks(0)))->code(), 0);
  FORALL_EXPECT_OK(Delete(name));
  EXPECT_THAT(Delete("searchJobs/07"), StatusIs(absl::StatusCode::kInvalidArgument));
  // A worker that repeats its result is told that there is no such task.
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased.tasks(0)))->code(),
            static_cast<int>(absl::StatusCode::kAborted));
}

TEST_F(JobDeletionTest, TaskWhoseWorkerIsGoneHoldsTheJobNoLongerThanItsLease) {
  harness_.Register("w");
  const std::string name = harness_.Submit(ControllerHarness::Spec(6))->name();
  FORALL_ASSERT_OK(harness_.Lease("w").status());
  FORALL_ASSERT_OK(Cancel(name));
  EXPECT_THAT(Delete(name), StatusIs(absl::StatusCode::kFailedPrecondition));
  harness_.clock()->Advance(3 * ControllerHarness::kHeartbeat);
  harness_.Tick();
  FORALL_EXPECT_OK(Delete(name));
}

TEST_F(JobDeletionTest, OthersJobsAreDeletedByAnAdministratorOnly) {
  harness_.Register("w");
  const std::string name = RunOne(4);
  v1::DeleteSearchJobRequest request;
  request.set_name(name);
  const auto as = [&](const Principal& by) {
    return Await<v1::DeleteSearchJobResponse>([&](Done<v1::DeleteSearchJobResponse> done) {
      controller()->DeleteSearchJobAs(by, request, std::move(done));
    });
  };
  // Of a job that nobody in particular has submitted, nobody in particular is the owner.
  for (const char* tenant : {"alice", ""}) {
    EXPECT_THAT(as({tenant, false}),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("admin")));
  }
  FORALL_EXPECT_OK(harness_.Job(name));
  FORALL_EXPECT_OK(as({"alice", true}));
}

TEST_F(JobDeletionTest, NumbersOfADeletedJobDoNotComeBack) {
  harness_.Register("w");
  RunOne(4);
  const std::string last = RunOne(4, 8);
  FORALL_ASSERT_OK_AND_ASSIGN(const StoreIds ids, harness_.sqlite()->LoadIds());
  FORALL_ASSERT_OK(Delete(last));
  harness_.Restart();
  EXPECT_THAT(harness_.sqlite()->LoadIds(), IsOkAndHolds(ids));
  harness_.Register("w");
  EXPECT_EQ(RunOne(4, 9), "searchJobs/3");
}

TEST_F(JobDeletionTest, AWarmJobThatLearntFromItGoesOnAsIfItWereThere) {
  const auto run = [](bool deleted) {
    ControllerHarness harness;
    harness.Register("w");
    const std::string former = harness.Submit(ControllerHarness::Spec(16))->name();
    harness.RunToEnd(former);
    v1::SearchJobSpec spec = ControllerHarness::Spec(9);
    spec.mutable_sampler()->set_algorithm("guided");
    spec.set_seed(11);
    const std::string name = harness.Submit(spec)->name();
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(harness.Step("w"));
    if (deleted) {
      v1::DeleteSearchJobRequest request;
      request.set_name(former);
      EXPECT_THAT(CallAndWait(harness.controller(), &Controller::DeleteSearchJob, request), IsOk());
    }
    // In a later life it has only the store to go by.
    harness.Restart();
    harness.Register("w");
    EXPECT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
    return harness.Log(name);
  };
  EXPECT_EQ(run(false), run(true));
}

// Parts of an accuracy that wait are of the job's tasks.
TEST_F(JobDeletionTest, AJobThatCountedOnItsPartsMeasuresThemItself) {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("macs");
  spec.mutable_budget()->set_max_trials(1);
  spec.mutable_fidelity()->set_part_images(2048);
  harness_.Register("w");
  const std::string first = harness_.Submit(spec)->name();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(harness_.Step("w"));  // the export, three of five parts
  FORALL_ASSERT_OK(Cancel(first));
  EXPECT_THAT(harness_.sqlite()->LoadParts(), IsOkAndHolds(SizeIs(3)));
  const std::string second = harness_.Submit(spec)->name();
  FORALL_ASSERT_OK(Delete(first));
  EXPECT_THAT(harness_.sqlite()->LoadParts(), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(harness_.RunToEnd(second).state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(harness_.Trials(second)[0].state(), v1::Trial::MEASURED);
}

TEST_F(JobDeletionTest, WatchersHearOfIt) {
  harness_.Register("w");
  const std::string name = RunOne(4);
  int told = 0;
  const int64_t subscription = controller()->Subscribe(1, [&told] { ++told; });
  FORALL_ASSERT_OK(Delete(name));
  FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  EXPECT_EQ(told, 1);
  controller()->Unsubscribe(subscription);
}

TEST_F(JobDeletionTest, AfterAFailedCommitItIsThereOrGoneAndNeverHalf) {
  for (const FaultyStore::Fault fault :
       {FaultyStore::Fault::kLost, FaultyStore::Fault::kUnanswered}) {
    // The batch before the deletion, and the deletion.
    for (int64_t at = 1; at <= 2; ++at) {
      ControllerHarness harness;
      harness.Register("w");
      const std::string name = harness.Submit(ControllerHarness::Spec(6))->name();
      harness.RunToEnd(name);
      FORALL_ASSERT_OK(harness.sqlite()->Commit({}));
      v1::DeleteSearchJobRequest request;
      request.set_name(name);
      harness.store()->FailFrom(at, fault, absl::UnavailableError("killed"));
      EXPECT_THAT(CallAndWait(harness.controller(), &Controller::DeleteSearchJob, request),
                  StatusIs(absl::StatusCode::kUnavailable));
      harness.Restart();
      const bool gone = fault == FaultyStore::Fault::kUnanswered && at == 2;
      FORALL_ASSERT_OK_AND_ASSIGN(const auto trials, harness.sqlite()->LoadTrials(1));
      EXPECT_THAT(trials, SizeIs(gone ? 0 : 6));
      if (gone) {
        EXPECT_THAT(harness.Job(name), StatusIs(absl::StatusCode::kNotFound));
        continue;
      }
      EXPECT_THAT(harness.Job(name), IsOk());
      EXPECT_THAT(CallAndWait(harness.controller(), &Controller::DeleteSearchJob, request), IsOk());
    }
  }
}

TEST(JobDeletionFileTest, TheStoreIsWholeAfterwards) {
  testing::TempDir folder;
  const std::string path = folder / "forall.db";
  ControllerHarness harness({.path = path});
  harness.Register("w");
  std::vector<std::string> names;
  for (int64_t seed = 1; seed <= 3; ++seed) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(6);
    spec.set_seed(seed);
    names.push_back(harness.Submit(spec)->name());
    harness.RunToEnd(names.back());
  }
  v1::DeleteSearchJobRequest request;
  request.set_name(names[1]);
  FORALL_ASSERT_OK(CallAndWait(harness.controller(), &Controller::DeleteSearchJob, request));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const CheckReport report,
      CheckStore({.db = path, .artifacts = harness.artifacts_path(), .deep = true}));
  EXPECT_EQ(report.jobs, 2);
  for (const auto& finding : report.findings) ADD_FAILURE() << finding.what;
}

}  // namespace
}  // namespace forall
