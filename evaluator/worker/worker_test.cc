// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/worker.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "base/thread.h"
#include "evaluator/worker/testing/fake_fleet_service.h"
#include "evaluator/worker/testing/local_server.h"

namespace forall {
namespace {

using ::forall::testing::FakeFleetService;
using ::forall::testing::IsOk;
using ::forall::testing::LocalServer;
using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Seen = FakeFleetService::Seen;

// Runs what the test gives it, and knows what runs.
class ScriptedExecutor : public TaskExecutor {
 public:
  using Script = std::function<absl::StatusOr<v1::TaskResult>(const v1::Task&, const StopSignal&)>;

  void SetScript(Script script) {
    MutexLock lock(&mu_);
    script_ = std::move(script);
  }
  // A gate that a script can wait at.
  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
    changed_.SignalAll();
  }
  // True when stopped while waiting.
  bool AwaitOpenOrStopped(const StopSignal& stop) {
    MutexLock lock(&mu_);
    while (!open_ && !stop.stopped()) changed_.WaitWithTimeout(&mu_, absl::Milliseconds(5));
    return !open_;
  }
  bool AwaitStarted(size_t count) {
    MutexLock lock(&mu_);
    for (int i = 0; i < 200 && started_.size() < count; ++i) {
      changed_.WaitWithTimeout(&mu_, absl::Milliseconds(100));
    }
    return started_.size() >= count;
  }
  std::vector<std::string> started() {
    MutexLock lock(&mu_);
    return started_;
  }
  int most_at_once() {
    MutexLock lock(&mu_);
    return most_at_once_;
  }
  bool others_overlapped() {
    MutexLock lock(&mu_);
    return others_overlapped_;
  }

  absl::StatusOr<v1::TaskResult> Execute(const v1::Task& task, int threads,
                                         const StopSignal& stop) override {
    Script script;
    {
      MutexLock lock(&mu_);
      started_.push_back(task.name());
      ++running_;
      most_at_once_ = std::max(most_at_once_, running_);
      others_ += task.kind() != v1::Task::EXPORT;
      if (others_ > 0 && running_ > 1) others_overlapped_ = true;
      script = script_;
      changed_.SignalAll();
    }
    absl::StatusOr<v1::TaskResult> result = Success();
    if (script) result = script(task, stop);
    MutexLock lock(&mu_);
    --running_;
    others_ -= task.kind() != v1::Task::EXPORT;
    return result;
  }

  static v1::TaskResult Success() {
    v1::TaskResult result;
    result.mutable_accuracy_result()->set_images(7);
    return result;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  Script script_ ABSL_GUARDED_BY(mu_);
  bool open_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::string> started_ ABSL_GUARDED_BY(mu_);
  int running_ ABSL_GUARDED_BY(mu_) = 0;
  int others_ ABSL_GUARDED_BY(mu_) = 0;
  int most_at_once_ ABSL_GUARDED_BY(mu_) = 0;
  bool others_overlapped_ ABSL_GUARDED_BY(mu_) = false;
};

class WorkerTest : public ::testing::Test {
 protected:
  void Start(absl::Duration drain_grace = absl::Hours(1), int threads = 1) {
    Worker::Options options;
    options.fleet = &client_;
    options.executor = &executor_;
    options.registration.set_worker_id("w1");
    options.registration.set_instance("one");
    options.threads = threads;
    options.lease_wait = absl::Seconds(60);
    options.drain_grace = drain_grace;
    options.backoff.first = absl::Milliseconds(1);
    options.backoff.longest = absl::Milliseconds(5);
    options.read_machine = [this] {
      ++readings_;
      return std::map<std::string, std::string>{{"temperature_celsius", "51.5"}};
    };
    options.reading_period = reading_period_;
    worker_ = std::make_unique<Worker>(std::move(options));
    thread_ = Thread("worker", [this] { result_ = worker_->Run(); });
  }
  // The result of Run.
  absl::Status Join() {
    thread_.Join();
    return result_;
  }
  absl::Status DrainAndJoin() {
    worker_->Drain();
    return Join();
  }
  ~WorkerTest() override {
    executor_.Open();
    if (worker_ != nullptr) worker_->Drain();
  }
  // The script of a task that lasts until the gate opens or it is stopped.
  ScriptedExecutor::Script UntilOpen() {
    return [this](const v1::Task&, const StopSignal& stop) -> absl::StatusOr<v1::TaskResult> {
      if (executor_.AwaitOpenOrStopped(stop)) return absl::CancelledError("stopped");
      return ScriptedExecutor::Success();
    };
  }

  FakeFleetService service_;
  LocalServer server_{{&service_}};
  FleetClient client_{server_.Channel(), FleetClient::Options{}};
  ScriptedExecutor executor_;
  std::unique_ptr<Worker> worker_;
  absl::Status result_;
  std::atomic<int> readings_{0};
  absl::Duration reading_period_ = absl::Hours(1);
  Thread thread_;
};

TEST_F(WorkerTest, LeasesExecutesAndReports) {
  for (const char* name : {"tasks/1", "tasks/2", "tasks/3"}) {
    service_.AddTask(name, v1::Task::ACCURACY);
  }
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 3; }));
  for (const v1::TaskResult& result : service_.seen().results) {
    EXPECT_EQ(result.lease_token(), "token-" + result.task());
    EXPECT_EQ(result.accuracy_result().images(), 7);
  }
  EXPECT_THAT(DrainAndJoin(), IsOk());
  EXPECT_EQ(service_.seen().registrations, 1);
}

TEST_F(WorkerTest, AnswerToTheLastResultBringsTheNextTasks) {
  for (const char* name : {"tasks/1", "tasks/2", "tasks/3", "tasks/4", "tasks/5"}) {
    service_.AddTask(name, v1::Task::ACCURACY);
  }
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 5; }));
  // One core leases two at a time.
  EXPECT_EQ(service_.seen().leased_with_answers, 3);
  EXPECT_EQ(executor_.started().size(), 5u);
}

TEST_F(WorkerTest, WhatAnAnswerBroughtToALeavingWorkerIsGivenBack) {
  service_.FailNext("Complete", grpc::StatusCode::UNAVAILABLE, 1'000'000);
  service_.AddTask("tasks/1", v1::Task::LATENCY);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.completion_attempts > 0; }));
  service_.AddTask("tasks/2", v1::Task::LATENCY);
  worker_->Drain();
  service_.FailNext("Complete", grpc::StatusCode::OK, 0);
  EXPECT_THAT(Join(), IsOk());
  EXPECT_THAT(service_.seen().results, SizeIs(1));
  EXPECT_THAT(service_.seen().released, ElementsAre("tasks/2"));
  EXPECT_EQ(executor_.started().size(), 1u);
}

TEST_F(WorkerTest, ReportsFailuresToo) {
  executor_.SetScript([](const v1::Task&, const StopSignal&) -> absl::StatusOr<v1::TaskResult> {
    v1::TaskResult result;
    result.mutable_failure()->set_reason(v1::TaskFailure::DETERMINISTIC);
    return result;
  });
  service_.AddTask("tasks/1", v1::Task::EXPORT);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
  EXPECT_EQ(service_.seen().results[0].failure().reason(), v1::TaskFailure::DETERMINISTIC);
}

TEST_F(WorkerTest, SendsAResultAgainUntilItIsAcknowledged) {
  service_.FailNext("Complete", grpc::StatusCode::UNAVAILABLE, 3);
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
  EXPECT_EQ(service_.seen().completion_attempts, 4);
  EXPECT_EQ(executor_.started().size(), 1u);
}

TEST_F(WorkerTest, SurvivesUnavailableEverywhere) {
  for (const char* method : {"Register", "Lease", "Heartbeat", "Complete"}) {
    service_.FailNext(method, grpc::StatusCode::UNAVAILABLE, 4);
  }
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  EXPECT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
}

TEST_F(WorkerTest, ResultOutlivesAControllerThatForgotTheWorker) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  service_.ForgetWorker();
  executor_.Open();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
  const Seen seen = service_.seen();
  EXPECT_EQ(seen.registrations, 2);
  EXPECT_EQ(executor_.started().size(), 1u);
}

TEST_F(WorkerTest, ResultOutlivesAControllerThatWentAway) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  server_.Stop();
  executor_.Open();
  service_.ForgetWorker();
  server_.Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
  EXPECT_EQ(executor_.started().size(), 1u);
}

TEST_F(WorkerTest, FirstHeartbeatAfterARegistrationListsHeldLeases) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  service_.ForgetWorker();
  ASSERT_TRUE(
      service_.Await([](const Seen& seen) { return seen.registrations == 2 && seen.polls > 0; }));
  const int heartbeats = service_.seen().heartbeats;
  ASSERT_TRUE(service_.Await([&](const Seen& seen) { return seen.heartbeats > heartbeats; }));
  EXPECT_THAT(service_.seen().first_heartbeat_tokens, ElementsAre("token-tasks/1"));
}

TEST_F(WorkerTest, HeartbeatsListWhatIsHeldAndOnlyThat) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) {
    return seen.last_heartbeat_tokens == std::set<std::string>{"token-tasks/1"};
  }));
  executor_.Open();
  EXPECT_TRUE(service_.Await([](const Seen& seen) {
    return seen.results.size() == 1 && seen.last_heartbeat_tokens.empty();
  }));
}

TEST_F(WorkerTest, HeartbeatsTellOfTheMachineAtFirstAndThenSeldom) {
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.heartbeats >= 10; }));
  EXPECT_EQ(service_.seen().readings, 1);
  EXPECT_EQ(service_.seen().last_readings,
            (std::map<std::string, std::string>{{"temperature_celsius", "51.5"}}));
  // A controller that started anew knows nothing of it.
  service_.ForgetWorker();
  EXPECT_TRUE(service_.Await([](const Seen& seen) { return seen.readings == 2; }));
}

TEST_F(WorkerTest, NothingIsReadWhileATaskIsTimed) {
  reading_period_ = absl::ZeroDuration();
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::LATENCY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  const int before = readings_;
  const int heartbeats = service_.seen().heartbeats;
  ASSERT_TRUE(service_.Await([&](const Seen& seen) { return seen.heartbeats >= heartbeats + 10; }));
  // One may have been under way when the task began.
  EXPECT_LE(readings_, before + 1);
  EXPECT_EQ(service_.seen().readings_while_timing, 0);
  executor_.Open();
  const int sent = service_.seen().readings;
  EXPECT_TRUE(service_.Await([&](const Seen& seen) { return seen.readings >= sent + 3; }));
}

TEST_F(WorkerTest, LostLeaseStopsTheWorkAndReportsNothing) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  const int polls = service_.seen().polls;
  service_.LoseLease("tasks/1");
  ASSERT_TRUE(service_.Await([&](const Seen& seen) { return seen.polls > polls; }));
  EXPECT_THAT(service_.seen().results, IsEmpty());
  EXPECT_THAT(service_.seen().released, IsEmpty());
  EXPECT_EQ(service_.seen().completion_attempts, 0);
}

TEST_F(WorkerTest, LostLeaseEndsTheRepeatingOfAResult) {
  service_.FailNext("Complete", grpc::StatusCode::UNAVAILABLE, 1 << 30);
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.completion_attempts > 2; }));
  const int polls = service_.seen().polls;
  service_.LoseLease("tasks/1");
  EXPECT_TRUE(service_.Await([&](const Seen& seen) { return seen.polls > polls; }));
}

TEST_F(WorkerTest, StaleLeaseIsDroppedAndWorkGoesOn) {
  service_.AnswerCompletion("tasks/1", grpc::StatusCode::ABORTED);
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  service_.AddTask("tasks/2", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
  EXPECT_EQ(service_.seen().results[0].task(), "tasks/2");
  EXPECT_EQ(service_.seen().completion_attempts, 2);
}

TEST_F(WorkerTest, DrainInterruptsAnIdlePoll) {
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.polls == 1; }));
  EXPECT_THAT(DrainAndJoin(), IsOk());
  EXPECT_TRUE(service_.seen().drained);
}

TEST_F(WorkerTest, DrainFinishesWhatHasBegunAndGivesBackTheRest) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::LATENCY);
  service_.AddTask("tasks/2", v1::Task::LATENCY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  worker_->Drain();
  executor_.Open();
  EXPECT_THAT(Join(), IsOk());
  const Seen seen = service_.seen();
  ASSERT_THAT(seen.results, SizeIs(1));
  EXPECT_EQ(seen.results[0].task(), "tasks/1");
  EXPECT_THAT(seen.released, ElementsAre("tasks/2"));
}

TEST_F(WorkerTest, DrainGivesBackWorkThatOutlastsTheGrace) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::LATENCY);
  Start(/*drain_grace=*/absl::ZeroDuration());
  ASSERT_TRUE(executor_.AwaitStarted(1));
  EXPECT_THAT(DrainAndJoin(), IsOk());
  EXPECT_THAT(service_.seen().results, IsEmpty());
  EXPECT_THAT(service_.seen().released, ElementsAre("tasks/1"));
}

TEST_F(WorkerTest, DrainWithoutAControllerEnds) {
  service_.FailNext("Register", grpc::StatusCode::UNAVAILABLE, 1 << 30);
  Start();
  EXPECT_THAT(DrainAndJoin(), IsOk());
}

TEST_F(WorkerTest, LeavesWhenTheControllerSaysSo) {
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.polls == 1; }));
  service_.AskToDrain();
  EXPECT_THAT(Join(), IsOk());
}

TEST_F(WorkerTest, RefusedRegistrationIsAnError) {
  service_.FailNext("Register", grpc::StatusCode::INVALID_ARGUMENT, 1);
  Start();
  EXPECT_THAT(Join(), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(WorkerTest, QuarantinedWorkerWaitsForBetterDays) {
  service_.FailNext("Lease", grpc::StatusCode::FAILED_PRECONDITION, 3);
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  EXPECT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
}

TEST_F(WorkerTest, EveryCallSaysWhichProcessItIs) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::LATENCY);
  service_.AddTask("tasks/2", v1::Task::LATENCY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  worker_->Drain();
  executor_.Open();
  EXPECT_THAT(Join(), IsOk());
  EXPECT_THAT(service_.seen().instances,
              UnorderedElementsAre("Register one", "Lease one", "Heartbeat one", "Complete one",
                                   "Release one", "Drain one"));
  EXPECT_EQ(service_.seen().protocol_version, 2);
}

TEST_F(WorkerTest, AsksAgainUntilNobodyElseIsTheWorker) {
  service_.FailNext("Register", grpc::StatusCode::ALREADY_EXISTS, 3);
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  EXPECT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
}

TEST_F(WorkerTest, RefusedWorkerEndsWhenItIsDrained) {
  service_.FailNext("Register", grpc::StatusCode::ALREADY_EXISTS, 1 << 30);
  Start();
  EXPECT_THAT(DrainAndJoin(), IsOk());
  EXPECT_FALSE(service_.seen().drained) << "the worker is another process";
}

TEST_F(WorkerTest, ProcessThatWasReplacedDropsItsWorkAndAsksForItsPlace) {
  executor_.SetScript(UntilOpen());
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(executor_.AwaitStarted(1));
  service_.FailNext("Register", grpc::StatusCode::ALREADY_EXISTS, 2);
  service_.FailNext("Heartbeat", grpc::StatusCode::FAILED_PRECONDITION, 1);
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.registrations == 2; }));
  EXPECT_THAT(service_.seen().first_heartbeat_tokens, IsEmpty());
  executor_.Open();
  service_.AddTask("tasks/2", v1::Task::ACCURACY);
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
  EXPECT_EQ(service_.seen().results[0].task(), "tasks/2");
  EXPECT_EQ(service_.seen().completion_attempts, 1);
  EXPECT_THAT(service_.seen().released, IsEmpty());
}

TEST_F(WorkerTest, ProcessThatWasReplacedLeavesWithoutDrainingTheOther) {
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.polls > 0; }));
  service_.FailNext("Register", grpc::StatusCode::ALREADY_EXISTS, 1 << 30);
  service_.FailNext("Heartbeat", grpc::StatusCode::FAILED_PRECONDITION, 1);
  ASSERT_TRUE(service_.AwaitFailures("Register", 2));
  EXPECT_THAT(DrainAndJoin(), IsOk());
  EXPECT_FALSE(service_.seen().drained);
}

TEST_F(WorkerTest, ResultOfAProcessThatWasReplacedIsNotSentForEver) {
  service_.FailNext("Complete", grpc::StatusCode::FAILED_PRECONDITION, 1);
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  service_.AddTask("tasks/2", v1::Task::ACCURACY);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
  EXPECT_EQ(service_.seen().results[0].task(), "tasks/2");
}

TEST_F(WorkerTest, ControllerOfOtherVersionsIsAskedUntilItIsUpgraded) {
  service_.AddTask("tasks/1", v1::Task::ACCURACY);
  int registrations = 0;
  for (const auto& [least, most] : std::vector<std::pair<int, int>>{{3, 4}, {1, 1}}) {
    service_.SpeakVersions(least, most);
    if (worker_ == nullptr) Start();
    registrations += 3;
    ASSERT_TRUE(
        service_.Await([&](const Seen& seen) { return seen.registrations >= registrations; }));
    registrations = service_.seen().registrations;
    EXPECT_EQ(service_.seen().heartbeats, 0);
    EXPECT_EQ(service_.seen().polls, 0);
  }
  service_.SpeakVersions(1, 2);
  EXPECT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 1; }));
}

TEST_F(WorkerTest, OneCoreDoesOneTaskAtATime) {
  for (int i = 0; i < 6; ++i) service_.AddTask(absl::StrCat("tasks/", i), v1::Task::EXPORT);
  Start();
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 6; }));
  EXPECT_EQ(executor_.most_at_once(), 1);
}

TEST_F(WorkerTest, ExportsRunSideBySideAndNothingElseDoes) {
  executor_.SetScript([this](const v1::Task& task, const StopSignal& stop) {
    // Both exports must be under way at once, or this waits in vain.
    if (task.kind() == v1::Task::EXPORT) {
      EXPECT_TRUE(executor_.AwaitStarted(2));
    }
    return absl::StatusOr<v1::TaskResult>(ScriptedExecutor::Success());
  });
  service_.AddTask("tasks/1", v1::Task::LATENCY);
  service_.AddTask("tasks/2", v1::Task::EXPORT);
  service_.AddTask("tasks/3", v1::Task::ACCURACY);
  service_.AddTask("tasks/4", v1::Task::EXPORT);
  Start(absl::Hours(1), /*threads=*/2);
  ASSERT_TRUE(service_.Await([](const Seen& seen) { return seen.results.size() == 4; }));
  EXPECT_EQ(executor_.most_at_once(), 2);
  EXPECT_FALSE(executor_.others_overlapped());
}

}  // namespace
}  // namespace forall
