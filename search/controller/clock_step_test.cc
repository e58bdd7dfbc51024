// SPDX-License-Identifier: Apache-2.0
// Somebody sets the machine's clock, forwards or back: leases, sessions and time limits go by the
// steady clock and do not notice. Only across a restart is there none, and the wall clock counts.
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kBeat = ControllerHarness::kHeartbeat;

class ClockStepTest : public ::testing::TestWithParam<absl::Duration> {
 protected:
  std::string Submit(int trials, int max_seconds = 0) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    if (max_seconds > 0) spec.mutable_budget()->mutable_max_duration()->set_seconds(max_seconds);
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec);
    EXPECT_THAT(job, IsOk());
    return job->name();
  }
  void Step() { harness_.clock()->Step(GetParam()); }
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::LeasedTask& held) {
    v1::HeartbeatRequest request;
    request.set_worker("w");
    v1::HeldLease* const lease = request.add_leases();
    lease->set_task(held.task().name());
    lease->set_token(held.lease().token());
    return CallAndWait(harness_.controller(), &Controller::Heartbeat, request);
  }
  absl::StatusOr<v1::RegisterWorkerResponse> RegisterAs(const std::string& instance) {
    v1::RegisterWorkerRequest request = harness_.Registration("w");
    request.set_instance(instance);
    request.set_protocol_version(2);
    return CallAndWait(harness_.controller(), &Controller::RegisterWorker, request);
  }

  ControllerHarness harness_;
};

TEST_P(ClockStepTest, ALeaseDoesNotRunOut) {
  harness_.Register("w");
  harness_.Register("other");
  Submit(1);
  const absl::StatusOr<v1::LeaseTasksResponse> leased = harness_.Lease("w");
  ASSERT_THAT(leased, IsOk());
  ASSERT_THAT(leased->tasks(), SizeIs(1));
  Step();
  harness_.Tick();
  EXPECT_THAT(harness_.Lease("other")->tasks(), IsEmpty()) << "it is the first one's still";
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::HeartbeatResponse beat, Heartbeat(leased->tasks(0)));
  EXPECT_THAT(beat.lost_tokens(), IsEmpty());
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased->tasks(0)))->code(), 0);
}

TEST_P(ClockStepTest, ALeaseDoesNotLiveLonger) {
  harness_.Register("w");
  Submit(1);
  ASSERT_THAT(harness_.Lease("w")->tasks(), SizeIs(1));
  Step();
  harness_.clock()->Advance(3 * kBeat + absl::Seconds(1));
  harness_.Register("other");
  harness_.Tick();
  EXPECT_THAT(harness_.Lease("other")->tasks(), SizeIs(1)) << "the first one is silent";
}

TEST_P(ClockStepTest, AJobsTimeIsWhatPassed) {
  harness_.Register("w");
  const std::string name = Submit(1000, 60);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness_.Step("w"));
  Step();
  harness_.Tick();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness_.Step("w"));
  EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::RUNNING);
  EXPECT_EQ(harness_.Job(name)->stop_reason(), "");
  harness_.clock()->Advance(absl::Seconds(61));
  harness_.Register("w");
  harness_.Tick();
  EXPECT_THAT(harness_.RunToEnd(name).stop_reason(), HasSubstr("budget.max_duration of 1m"));
}

TEST_P(ClockStepTest, AWorkerIsTakenOverWhenItWasSilentAndNotBefore) {
  FORALL_ASSERT_OK(RegisterAs("first"));
  Step();
  EXPECT_THAT(RegisterAs("second"), StatusIs(absl::StatusCode::kAlreadyExists));
  harness_.clock()->Advance(3 * kBeat + absl::Seconds(1));
  EXPECT_THAT(RegisterAs("second"), IsOk());
}

TEST_P(ClockStepTest, ASearchIsTheSameWithAClockThatStepsAllTheTime) {
  const auto log = [](bool steps) {
    ControllerHarness harness;
    Random random(7);
    harness.Register("w");
    const absl::StatusOr<v1::SearchJob> job = harness.Submit(ControllerHarness::Spec(12));
    EXPECT_THAT(job, IsOk());
    for (int i = 0; i < 10'000 && harness.Step("w"); ++i) {
      if (steps) harness.clock()->Step(random.Uniform(2) == 0 ? GetParam() : -GetParam());
      harness.clock()->Advance(absl::Milliseconds(10));
      harness.Tick();
    }
    EXPECT_EQ(harness.Job(job->name())->state(), v1::SearchJob::SUCCEEDED);
    // Without times: those of measurements are the wall clock's.
    std::vector<std::string> lines = harness.Log(job->name());
    for (const v1::FrontierMember& member : harness.FrontierMembers(job->name())) {
      lines.push_back(member.trial().name());
    }
    return lines;
  };
  EXPECT_EQ(log(true), log(false));
}

// The time that a job has had is then what lies between its submission and the start, by the wall
// clock of each: too much after a step forwards, none at all after one back beyond its submission.
TEST_P(ClockStepTest, AcrossARestartTheWallClockCounts) {
  harness_.Register("w");
  const std::string name = Submit(1000, 600);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness_.Step("w"));
  harness_.clock()->Advance(absl::Minutes(5));
  Step();
  harness_.Restart();
  harness_.Register("w");
  harness_.Tick();
  if (GetParam() > absl::ZeroDuration()) {
    EXPECT_THAT(harness_.RunToEnd(name).stop_reason(), HasSubstr("budget.max_duration"));
    return;
  }
  harness_.clock()->Advance(absl::Minutes(9));
  harness_.Register("w");
  harness_.Tick();
  EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::RUNNING);
  harness_.clock()->Advance(absl::Minutes(2));
  harness_.Register("w");
  harness_.Tick();
  EXPECT_THAT(harness_.RunToEnd(name).stop_reason(), HasSubstr("budget.max_duration"));
}

INSTANTIATE_TEST_SUITE_P(ForwardsAndBack, ClockStepTest,
                         ::testing::Values(absl::Hours(1), -absl::Hours(1)), [](const auto& step) {
                           return step.param > absl::ZeroDuration() ? "Forwards" : "Back";
                         });

}  // namespace
}  // namespace forall
