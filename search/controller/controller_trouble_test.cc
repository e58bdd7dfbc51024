// SPDX-License-Identifier: Apache-2.0
// What goes wrong around a job, and what its controller makes of it: failures while nothing can be
// stored, workers that cannot or must not do what is asked, jobs that wait, numbers that cannot be
// compared.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/resource_names.h"
#include "search/controller/testing/controller_harness.h"
#include "search/store/artifact_store.h"
#include "search/store/sqlite_result_store.h"
#include "space/cost_model.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ControllerTroubleTest : public ::testing::Test {
 protected:
  std::string SubmitOk(const v1::SearchJobSpec& spec) {
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec);
    EXPECT_THAT(job, IsOk());
    return job.ok() ? job->name() : "";
  }
  Controller* controller() { return harness_.controller(); }
  v1::LeasedTask LeaseOne(const std::string& worker) {
    const absl::StatusOr<v1::LeaseTasksResponse> leased = harness_.Lease(worker);
    EXPECT_THAT(leased, IsOk());
    EXPECT_THAT(leased->tasks(), SizeIs(1));
    return leased->tasks(0);
  }
  static v1::TaskResult Failure(const v1::LeasedTask& leased, v1::TaskFailure::Reason reason,
                                const std::string& message) {
    v1::TaskResult result;
    result.set_task(leased.task().name());
    result.set_lease_token(leased.lease().token());
    result.mutable_failure()->set_reason(reason);
    result.mutable_failure()->set_message(message);
    return result;
  }
  v1::Worker WorkerNamed(const std::string& name) {
    const auto workers =
        CallAndWait(controller(), &Controller::ListWorkers, v1::ListWorkersRequest());
    EXPECT_THAT(workers, IsOk());
    for (const v1::Worker& worker : workers->workers()) {
      if (worker.name() == WorkerName(name)) return worker;
    }
    ADD_FAILURE() << "no worker " << name;
    return v1::Worker();
  }

  ControllerHarness harness_;
};

TEST_F(ControllerTroubleTest, FailureThatAFullDiskKeptOutCountsOnce) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  const v1::LeasedTask leased = LeaseOne("w");
  const v1::TaskResult failure = Failure(leased, v1::TaskFailure::TRANSIENT, "odd");
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost,
                             absl::ResourceExhaustedError("disk full"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(harness_.Complete("w", failure), StatusIs(absl::StatusCode::kResourceExhausted));
    harness_.Tick();
    EXPECT_EQ(WorkerNamed("w").state(), v1::Worker::ACTIVE) << "after " << i + 1 << " repeats";
    // The disk is well for one moment: long enough to go on, and to fail again.
    harness_.store()->Heal();
    harness_.clock()->Advance(absl::Seconds(1 << i));
    harness_.Tick();
    EXPECT_FALSE(controller()->read_only());
    harness_.store()->FailFrom(1, FaultyStore::Fault::kLost,
                               absl::ResourceExhaustedError("disk full"));
  }
  harness_.store()->Heal();
  EXPECT_EQ(harness_.Complete("w", failure)->code(), 0);
  EXPECT_EQ(WorkerNamed("w").failed_tasks(), 1);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), 6);
}

TEST_F(ControllerTroubleTest, FailureThatIsToldAgainToTheNextLifeCountsOnce) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(2));
  const v1::LeasedTask leased = LeaseOne("w");
  const v1::TaskResult failure = Failure(leased, v1::TaskFailure::TRANSIENT, "odd");
  for (int life = 1; life <= 3; ++life) {
    EXPECT_EQ(harness_.Complete("w", failure)->code(), 0) << life;
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<EventRecord> events,
                                harness_.sqlite()->LoadEvents(ParseJobName(name).value(), 0, 1000));
    EXPECT_EQ(std::count_if(events.begin(), events.end(),
                            [](const EventRecord& event) { return event.kind == "failed"; }),
              1)
        << life;
    harness_.Restart();
    harness_.Register("w");
  }
  // Nor is anything else taken under a lease that has ended.
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased))->code(),
            static_cast<int>(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(harness_.RunToEnd(name).measured_trials(), 2);
}

TEST(ControllerOverloadTest, CallsBeyondTheLimitAreRefusedAtOnceAndTheOthersAreAnsweredLater) {
  testing::TempDir dir;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto sqlite, SqliteResultStore::Create({.path = ":memory:"}));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto artifacts, ArtifactStore::Create({.folder = dir.path()}));
  FaultyStore store(sqlite.get());
  FakeClock clock;
  constexpr int kLimit = 20;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto controller,
                              Controller::Create({.store = &store,
                                                  .artifacts = artifacts.get(),
                                                  .clock = &clock,
                                                  .max_waiting_calls = kLimit,
                                                  .background = false}));
  const auto registration = [](int i) {
    v1::RegisterWorkerRequest request;
    request.set_worker_id(absl::StrCat("w", i));
    request.mutable_device()->set_name(absl::StrCat("devices/d", i));
    request.mutable_device()->set_fingerprint("f");
    request.mutable_profile()->set_hash("p");
    return request;
  };
  store.Hang();
  Mutex mu;
  std::vector<absl::Status> answers;
  for (int i = 0; i < 3 * kLimit; ++i) {
    controller->RegisterWorker(registration(i),
                               [&](const absl::StatusOr<v1::RegisterWorkerResponse>& answer) {
                                 MutexLock lock(&mu);
                                 answers.push_back(answer.status());
                               });
  }
  {
    MutexLock lock(&mu);
    EXPECT_EQ(answers.size(), 2 * kLimit);
    for (const absl::Status& answer : answers) {
      EXPECT_THAT(answer, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("overloaded")));
    }
    answers.clear();
  }
  // Nothing of the refused calls was done, and the calls that need no store go on.
  v1::LeaseTasksRequest poll;
  poll.set_worker("w0");
  poll.set_max_tasks(1);
  absl::Status polled = absl::UnknownError("not answered");
  controller->LeaseTasks(poll, [&](const auto& answer) { polled = answer.status(); });
  EXPECT_THAT(polled, IsOk());
  poll.set_worker(absl::StrCat("w", 2 * kLimit));
  controller->LeaseTasks(poll, [&](const auto& answer) { polled = answer.status(); });
  EXPECT_THAT(polled, StatusIs(absl::StatusCode::kNotFound));
  store.GoOn();
  // Whoever repeats it comes in once those before are through.
  absl::Status repeated = absl::ResourceExhaustedError("");
  while (absl::IsResourceExhausted(repeated)) {
    repeated =
        CallAndWait(controller.get(), &Controller::RegisterWorker, registration(1000)).status();
  }
  EXPECT_THAT(repeated, IsOk());
  {
    MutexLock lock(&mu);
    EXPECT_EQ(answers.size(), kLimit);
    EXPECT_THAT(answers, ::testing::Each(IsOk()));
  }
  controller->Stop();
}

TEST_F(ControllerTroubleTest, RequestsOfTooManyBytesAreRefusedWhileOthersWaitForTheStore) {
  harness_.set_max_waiting_bytes(3'000);
  harness_.Restart();
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(8);
  spec.set_parallelism(8);
  SubmitOk(spec);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w", 8));
  ASSERT_EQ(leased.tasks_size(), 8);
  const auto complete = [&](int i, size_t bytes) {
    v1::CompleteTasksRequest request;
    request.set_worker("w");
    *request.add_results() =
        Failure(leased.tasks(i), v1::TaskFailure::TRANSIENT, std::string(bytes, 'x'));
    const auto answer = std::make_shared<std::promise<absl::Status>>();
    controller()->CompleteTasks(
        request, [answer](const auto& response) { answer->set_value(response.status()); });
    return answer->get_future();
  };
  const auto is_answered = [](const std::future<absl::Status>& answer) {
    return answer.wait_for(absl::ToChronoSeconds(absl::ZeroDuration())) ==
           std::future_status::ready;
  };
  const auto overloaded =
      StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("calls of 0 MiB wait"));
  harness_.store()->Hang();
  std::future<absl::Status> large = complete(0, 5'000);  // One alone is always taken.
  std::future<absl::Status> small = complete(1, 100);
  ASSERT_TRUE(is_answered(small));
  EXPECT_THAT(small.get(), overloaded);
  EXPECT_FALSE(is_answered(large));
  harness_.store()->GoOn();
  EXPECT_THAT(large.get(), IsOk());
  v1::HeartbeatRequest heartbeat;
  heartbeat.set_worker("w");
  // Several that fit together, and one more that does not; they are forgotten with their rounds.
  for (const int first : {1, 4}) {
    harness_.store()->Hang();
    std::future<absl::Status> one = complete(first, 1'000);
    std::future<absl::Status> two = complete(first + 1, 1'000);
    std::future<absl::Status> three = complete(first + 2, 1'000);
    ASSERT_TRUE(is_answered(three));
    EXPECT_THAT(three.get(), overloaded);
    EXPECT_FALSE(is_answered(one) || is_answered(two));
    // Heartbeats keep nothing, and are not held up.
    FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::Heartbeat, heartbeat).status());
    harness_.store()->GoOn();
    EXPECT_THAT(one.get(), IsOk());
    EXPECT_THAT(two.get(), IsOk());
    FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  }
}

// The store writes the rest of a round while it still has the job that the round deletes.
TEST_F(ControllerTroubleTest, ARequestIdIsNotUsedAgainInTheRoundThatDeletesItsJob) {
  harness_.Register("w");
  v1::SubmitSearchJobRequest submission;
  *submission.mutable_spec() = ControllerHarness::Spec(2);
  submission.mutable_spec()->mutable_objectives(1)->mutable_condition()->set_device("devices/pc");
  submission.set_request_id("r1");
  const auto submit = [&] {
    return CallAndWait(controller(), &Controller::SubmitSearchJob, submission);
  };
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, submit());
  harness_.RunToEnd(job.name());
  harness_.store()->Hang();
  // A device that is new takes a commit, and what follows goes into one round.
  controller()->RegisterWorker(ControllerHarness::Registration("w2", "new"), [](const auto&) {});
  std::promise<absl::Status> deleted;
  v1::DeleteSearchJobRequest deletion;
  deletion.set_name(job.name());
  controller()->DeleteSearchJob(deletion,
                                [&](const auto& answer) { deleted.set_value(answer.status()); });
  std::promise<absl::Status> submitted;
  controller()->SubmitSearchJob(submission,
                                [&](const auto& answer) { submitted.set_value(answer.status()); });
  harness_.store()->GoOn();
  EXPECT_THAT(deleted.get_future().get(), IsOk());
  EXPECT_THAT(submitted.get_future().get(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("is being deleted")));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob again, submit());
  EXPECT_EQ(again.name(), "searchJobs/2");
}

TEST(ControllerRoundTest, EveryCallIsAnsweredOnceAlsoByAControllerThatStops) {
  testing::TempDir dir;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto sqlite, SqliteResultStore::Create({.path = ":memory:"}));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto artifacts, ArtifactStore::Create({.folder = dir.path()}));
  constexpr int kCallers = 4;
  constexpr int kCalls = 100;
  std::array<std::atomic<int>, kCallers* kCalls> answers = {};
  {
    FORALL_ASSERT_OK_AND_ASSIGN(
        const auto controller,
        Controller::Create({.store = sqlite.get(), .artifacts = artifacts.get()}));
    std::atomic<int> made{0};
    std::vector<Thread> callers;
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.emplace_back("caller", [&, caller] {
        for (int call = caller * kCalls; call < (caller + 1) * kCalls; ++call) {
          // A worker each, so that every call has something to store.
          controller->RegisterWorker(
              ControllerHarness::Registration(absl::StrCat("w", call), absl::StrCat("d", call)),
              [&answers, call](const auto&) { ++answers[call]; });
          ++made;
        }
      });
    }
    while (made.load() < kCalls) std::this_thread::yield();
    controller->Stop();
    for (Thread& caller : callers) caller.Join();
  }
  for (const std::atomic<int>& count : answers) EXPECT_EQ(count.load(), 1);
}

TEST_F(ControllerTroubleTest, JobWhoseCancellationWasNotKeptGoesOn) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  const v1::LeasedTask leased = LeaseOne("w");
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost,
                             absl::ResourceExhaustedError("disk full"));
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(name);
  EXPECT_THAT(CallAndWait(controller(), &Controller::CancelSearchJob, cancel),
              StatusIs(absl::StatusCode::kResourceExhausted));
  harness_.store()->Heal();
  harness_.Tick();
  EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::RUNNING);
  // The task that was leased meanwhile returns to its queue like any other.
  v1::ReleaseTaskRequest release;
  release.set_worker("w");
  release.set_task(leased.task().name());
  release.set_lease_token(leased.lease().token());
  EXPECT_THAT(CallAndWait(controller(), &Controller::ReleaseTask, release), IsOk());
  harness_.Tick();
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), 6);
}

// Whether the controller is read-only, by what operators see of it.
std::map<std::string, std::string> ServerStatus(Controller* controller) {
  const absl::StatusOr<v1::GetServerStatusResponse> status =
      CallAndWait(controller, &Controller::GetServerStatus, v1::GetServerStatusRequest());
  EXPECT_THAT(status, IsOk());
  return {status->values().begin(), status->values().end()};
}

TEST_F(ControllerTroubleTest, ReadsGoOnWhileNothingCanBeStored) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(harness_.Step("w"));
  const std::string before = harness_.Frontier(name).SerializeAsString();
  const std::string job_before = harness_.Job(name)->SerializeAsString();
  const size_t trials_before = harness_.Trials(name).size();
  const v1::LeasedTask leased = LeaseOne("w");
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost,
                             absl::ResourceExhaustedError("disk full"));
  int changes = 0;
  controller()->WatchReadOnly([&changes] { ++changes; });
  EXPECT_THAT(harness_.Complete("w", harness_.Evaluate(leased)),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("disk full"), HasSubstr("nothing of this call was kept"))));
  EXPECT_TRUE(controller()->read_only());
  EXPECT_EQ(changes, 1);
  // The lease has ended in memory alone: the worker is not told to throw its result away.
  {
    v1::HeartbeatRequest heartbeat;
    heartbeat.set_worker("w");
    heartbeat.add_leases()->set_task(leased.task().name());
    heartbeat.mutable_leases(0)->set_token(leased.lease().token());
    const auto kept = CallAndWait(controller(), &Controller::Heartbeat, heartbeat);
    EXPECT_THAT(kept, IsOk());
    EXPECT_THAT(kept->lost_tokens(), IsEmpty());
  }
  // Memory is ahead of the store: a read waits until it is read anew, and is then answered.
  absl::StatusOr<v1::SearchJob> waiting = absl::UnknownError("not answered");
  v1::GetSearchJobRequest get;
  get.set_name(name);
  controller()->GetSearchJob(get, [&](absl::StatusOr<v1::SearchJob> job) { waiting = job; });
  EXPECT_THAT(waiting, StatusIs(absl::StatusCode::kUnknown));
  harness_.Tick();
  FORALL_ASSERT_OK(waiting.status());
  EXPECT_THAT(waiting->waiting_reason(), HasSubstr("disk full"));
  waiting->clear_waiting_reason();
  EXPECT_EQ(waiting->SerializeAsString(), job_before);
  EXPECT_EQ(harness_.Frontier(name).SerializeAsString(), before);
  EXPECT_EQ(harness_.Trials(name).size(), trials_before);
  // Nothing is proposed, poisoned or closed meanwhile, and leases are renewed.
  const auto pass = [&](int intervals) {
    for (int i = 0; i < intervals; ++i) {
      harness_.clock()->Advance(ControllerHarness::kHeartbeat);
      v1::HeartbeatRequest heartbeat;
      heartbeat.set_worker("w");
      heartbeat.add_leases()->set_task(leased.task().name());
      heartbeat.mutable_leases(0)->set_token(leased.lease().token());
      const auto kept = CallAndWait(controller(), &Controller::Heartbeat, heartbeat);
      EXPECT_THAT(kept, IsOk());
      EXPECT_THAT(kept->lost_tokens(), IsEmpty());
      harness_.Tick();
    }
  };
  pass(20);
  EXPECT_EQ(harness_.Trials(name).size(), trials_before);
  std::map<std::string, std::string> status = ServerStatus(controller());
  EXPECT_EQ(status["read_only"], "true");
  EXPECT_THAT(status["read_only_reason"], HasSubstr("disk full"));
  EXPECT_THAT(status["read_only_since"], HasSubstr("Z"));
  // At once, after 1, 2, 4, 8, 16 s, then every 30 s: nine times in 100 s at most.
  EXPECT_GE(std::stoi(status["read_only_attempts"]), 5);
  EXPECT_LE(std::stoi(status["read_only_attempts"]), 9);
  EXPECT_THAT(harness_.Submit(ControllerHarness::Spec(3)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("read-only since")));

  harness_.store()->Heal();
  pass(6);
  EXPECT_FALSE(controller()->read_only());
  EXPECT_EQ(changes, 2);
  EXPECT_EQ(ServerStatus(controller())["read_only"], "false");
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased))->code(), 0);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), 6);
}

TEST_F(ControllerTroubleTest, ReadThatWaitedForALostCommitIsAnsweredByWhatIsDurable) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost, absl::UnavailableError("I/O error"));
  v1::PauseSearchJobRequest pause;
  pause.set_name(name);
  v1::GetSearchJobRequest get;
  get.set_name(name);
  std::promise<v1::SearchJob> seen;
  // The pause is in the round that is lost; so is whatever was seen of it.
  EXPECT_THAT(CallAndWait(controller(), &Controller::PauseSearchJob, pause),
              StatusIs(absl::StatusCode::kUnavailable));
  controller()->GetSearchJob(get, [&](absl::StatusOr<v1::SearchJob> job) {
    FORALL_EXPECT_OK(job.status());
    seen.set_value(*job);
  });
  harness_.Tick();
  EXPECT_EQ(seen.get_future().get().state(), v1::SearchJob::RUNNING);
}

TEST_F(ControllerTroubleTest, StoppingWhileReadOnlyAnswersTheReadsThatWait) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  const v1::LeasedTask leased = LeaseOne("w");
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost, absl::UnavailableError("I/O error"));
  EXPECT_THAT(harness_.Complete("w", harness_.Evaluate(leased)),
              StatusIs(absl::StatusCode::kUnavailable));
  v1::GetSearchJobRequest get;
  get.set_name(name);
  absl::Status answered = absl::UnknownError("not answered");
  controller()->GetSearchJob(get,
                             [&](absl::StatusOr<v1::SearchJob> job) { answered = job.status(); });
  controller()->Stop();
  EXPECT_THAT(answered, StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ControllerTroubleTest, WaitingJobSaysForWhat) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(1);
  spec.set_parallelism(1);
  const std::string name = SubmitOk(spec);
  const auto reason = [&] { return harness_.Job(name)->waiting_reason(); };
  EXPECT_THAT(reason(), IsEmpty());

  // The only worker cannot do the only task: it is not asked again before it was mended.
  v1::LeasedTask leased = LeaseOne("w");
  EXPECT_EQ(
      harness_.Complete("w", Failure(leased, v1::TaskFailure::WORKER_UNABLE, "cache full"))->code(),
      0);
  EXPECT_THAT(harness_.Lease("w")->tasks(), IsEmpty());
  EXPECT_THAT(reason(), AllOf(HasSubstr("workers/w"), HasSubstr("cache full"), HasSubstr("mend")));
  harness_.Register("w");
  EXPECT_THAT(reason(), IsEmpty());

  // Its device comes back with another profile than the job's latencies have.
  ASSERT_TRUE(harness_.Step("w"));
  v1::RegisterWorkerRequest other = harness_.Registration("w");
  other.mutable_profile()->set_hash("p2");
  FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::RegisterWorker, other));
  ASSERT_TRUE(harness_.Step("w"));  // the accuracy, which belongs to no device
  EXPECT_THAT(harness_.Lease("w")->tasks(), IsEmpty());
  EXPECT_THAT(reason(), AllOf(HasSubstr("devices/pc"), HasSubstr("p1"), HasSubstr("p2")));

  harness_.clock()->Advance(absl::Minutes(1));
  harness_.Tick();
  EXPECT_THAT(reason(), HasSubstr("none is connected"));
  harness_.Register("w");
  EXPECT_THAT(reason(), IsEmpty());
  EXPECT_EQ(harness_.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
}

TEST_F(ControllerTroubleTest, QuarantinedWorkerIsNamedInTheReason) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(4));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(harness_
                  .Complete("w", Failure(LeaseOne("w"), v1::TaskFailure::WORKER_UNABLE,
                                         "no such dataset"))
                  ->code(),
              0);
  }
  EXPECT_THAT(harness_.Job(name)->waiting_reason(),
              AllOf(HasSubstr("workers/w is quarantined"), HasSubstr("no such dataset")));
}

TEST_F(ControllerTroubleTest, WatchersHearWhenTheLastWorkerIsLost) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(4));
  int told = 0;
  const int64_t subscription = controller()->Subscribe(1, [&told] { ++told; });
  harness_.Tick();
  EXPECT_EQ(told, 0);
  harness_.clock()->Advance(absl::Minutes(1));
  harness_.Tick();
  EXPECT_EQ(told, 1);
  harness_.Tick();
  EXPECT_EQ(told, 1);
  controller()->Unsubscribe(subscription);
}

TEST_F(ControllerTroubleTest, WatchersHearOfAnEndThatWasKeptThoughItsCommitFailed) {
  const std::string name = SubmitOk(ControllerHarness::Spec(4));
  int told = 0;
  const int64_t subscription = controller()->Subscribe(1, [&told] { ++told; });
  harness_.store()->FailFrom(1, FaultyStore::Fault::kUnanswered,
                             absl::UnavailableError("no answer"));
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(name);
  EXPECT_THAT(CallAndWait(controller(), &Controller::CancelSearchJob, cancel),
              StatusIs(absl::StatusCode::kUnavailable));
  told = 0;
  harness_.store()->Heal();
  harness_.clock()->Advance(absl::Seconds(1));
  harness_.Tick();
  EXPECT_GE(told, 1);
  EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::CANCELLED);
  controller()->Unsubscribe(subscription);
}

TEST_F(ControllerTroubleTest, LogsAreIndexedBeforeTheStoreIsReadAnewWhereThatCanBe) {
  harness_.Register("w");
  SubmitOk(ControllerHarness::Spec(1));
  const std::string name = SubmitOk(ControllerHarness::Spec(2));
  const auto lose_a_commit = [&] {
    harness_.store()->FailFrom(1, FaultyStore::Fault::kLost, absl::ResourceExhaustedError("full"));
    EXPECT_THAT(harness_.Submit(ControllerHarness::Spec(1)),
                StatusIs(absl::StatusCode::kResourceExhausted));
  };
  // The disk is full still: logs are read as they are.
  const int64_t before = harness_.store()->logs_read();
  lose_a_commit();
  harness_.Tick();
  EXPECT_EQ(harness_.store()->logs_read(), before + 2);
  FORALL_EXPECT_OK(harness_.Job(name));
  harness_.store()->Heal();
  harness_.clock()->Advance(absl::Seconds(1));
  harness_.Tick();
  EXPECT_FALSE(controller()->read_only());
  lose_a_commit();
  harness_.store()->Heal();
  harness_.clock()->Advance(absl::Minutes(1));  // as long as it may wait
  harness_.Tick();
  EXPECT_FALSE(controller()->read_only());
  EXPECT_EQ(harness_.store()->logs_read(), 2) << "one for each job, all of them indexed";
  harness_.Register("w");
  EXPECT_EQ(harness_.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
}

TEST_F(ControllerTroubleTest, AnEndedJobStaysAsItIsAfterReadingTheStoreAnew) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(4));
  v1::LeasedTask leased = LeaseOne("w");
  while (leased.task().kind() == v1::Task::EXPORT) {
    ASSERT_EQ(harness_.Complete("w", harness_.Evaluate(leased))->code(), 0);
    leased = LeaseOne("w");
  }
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(name);
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::CancelSearchJob, cancel));
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost, absl::UnavailableError("no answer"));
  EXPECT_THAT(harness_.Submit(ControllerHarness::Spec(1)),
              StatusIs(absl::StatusCode::kUnavailable));
  harness_.store()->Heal();
  harness_.clock()->Advance(absl::Seconds(1));
  harness_.Tick();
  const auto events = [&] {
    return harness_.sqlite()->LoadEvents(ParseJobName(name).value(), 0, 1000)->size();
  };
  const size_t before = events();
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased))->code(), 0);
  EXPECT_EQ(events(), before);
  EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::CANCELLED);
}

TEST_F(ControllerTroubleTest, TimeThatIsOverBeforeADeviceCameIsTheReason) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(10);
  spec.mutable_budget()->mutable_max_duration()->set_seconds(60);
  const std::string name = SubmitOk(spec);
  harness_.clock()->Advance(absl::Seconds(61));
  harness_.Tick();
  const v1::SearchJob job = *harness_.Job(name);
  EXPECT_EQ(job.state(), v1::SearchJob::FAILED);
  EXPECT_THAT(job.error(), AllOf(HasSubstr("max_duration"), HasSubstr("worker")));
}

TEST_F(ControllerTroubleTest, ConstraintsThatNothingMeetsTogetherAreRefused) {
  const auto family = FindFamily("fashion_mnist").value();
  const Costs least = CountCosts(*family->Describe(family->search_space().Smallest()));
  const Costs most = CountCosts(*family->Describe(family->search_space().Largest()));
  v1::SearchJobSpec spec = ControllerHarness::Spec(10);
  v1::Constraint* small = spec.add_constraints();
  small->set_metric("macs");
  small->set_at_most(1.02 * static_cast<double>(least.macs));
  v1::Constraint* large = spec.add_constraints();
  large->set_metric("params");
  large->set_at_least(0.98 * static_cast<double>(most.params));
  EXPECT_THAT(harness_.Submit(spec),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("spec.constraints"), HasSubstr("together"))));
  spec.mutable_constraints()->RemoveLast();
  EXPECT_THAT(harness_.Submit(spec), IsOk());
}

TEST_F(ControllerTroubleTest, LatencyThatSeveralDevicesCouldMeasureMustNameOne) {
  harness_.Register("w");
  harness_.Register("v", "pi");
  v1::SearchJobSpec spec = ControllerHarness::Spec(3);
  EXPECT_THAT(harness_.Submit(spec),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("spec.objectives[1].condition.device"),
                             HasSubstr("devices/pc"), HasSubstr("devices/pi"))));
  spec.mutable_objectives(1)->mutable_condition()->set_device("devices/pi");
  FORALL_EXPECT_OK(harness_.Submit(spec));
}

// What spoils a result so that no measurement could have it.
using Spoil = std::function<void(v1::TaskResult*)>;

std::vector<std::pair<std::string, Spoil>> ImpossibleLatencies() {
  std::vector<std::pair<std::string, Spoil>> all;
  for (const double absurd : {1e200, std::nan(""), HUGE_VAL, -1.0, 0.0}) {
    all.emplace_back("latency_result.ratio", [absurd](v1::TaskResult* result) {
      result->mutable_latency_result()->set_ratio(absurd);
      result->mutable_latency_result()->set_ratio_high(absurd);
    });
  }
  all.emplace_back("latency_result.calibrated_reference_ns", [](v1::TaskResult* result) {
    result->mutable_latency_result()->set_calibrated_reference_ns(1e300);
  });
  all.emplace_back("latency_result.samples_ns", [](v1::TaskResult* result) {
    result->mutable_latency_result()->add_samples_ns(std::nan(""));
  });
  return all;
}

TEST_F(ControllerTroubleTest, ImpossibleLatencyIsAFailedAttemptAndTriedElsewhere) {
  uint64_t seed = 10;
  for (const auto& [field, spoil] : ImpossibleLatencies()) {
    for (const char* worker : {"a", "b"}) harness_.Register(worker);  // no quarantine yet
    v1::SearchJobSpec spec = ControllerHarness::Spec(1);
    // A subnet that was not measured before.
    spec.mutable_sampler()->set_algorithm("random");
    spec.set_seed(++seed);
    const std::string name = SubmitOk(spec);
    v1::LeasedTask leased = LeaseOne("a");
    while (leased.task().kind() != v1::Task::LATENCY) {
      ASSERT_EQ(harness_.Complete("a", harness_.Evaluate(leased))->code(), 0);
      leased = LeaseOne("a");
    }
    v1::TaskResult result = harness_.Evaluate(leased);
    spoil(&result);
    // A repeated call gets the same answer, also from a controller that only has the store.
    for (const bool restart : {false, false, true}) {
      if (restart) {
        harness_.Restart();
        for (const char* worker : {"a", "b"}) harness_.Register(worker);
      }
      const absl::StatusOr<v1::TaskCompletion> completion = harness_.Complete("a", result);
      ASSERT_THAT(completion, IsOk());
      EXPECT_EQ(completion->code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
      EXPECT_THAT(completion->message(), HasSubstr(field));
    }
    const v1::Trial trial = harness_.Trials(name)[0];
    EXPECT_EQ(trial.state(), v1::Trial::ACTIVE);
    EXPECT_THAT(trial.error(), AllOf(HasSubstr("tried again after a: "), HasSubstr(field)));
    for (const v1::Measurement& measurement : trial.measurements()) {
      EXPECT_NE(measurement.metric(), "latency_ms");
    }
    // The other worker's number counts, the first one's is nowhere.
    const v1::SearchJob job = harness_.RunToEnd(name, "b");
    EXPECT_EQ(job.measured_trials(), 1);
    EXPECT_THAT(harness_.Trials(name)[0].error(), IsEmpty());
  }
}

TEST_F(ControllerTroubleTest, WorkerThatOnlyHasImpossibleNumbersComesToAnEnd) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(3);
  spec.set_parallelism(1);
  const std::string name = SubmitOk(spec);
  int lies = 0;
  for (int i = 0; i < 100; ++i) {
    // Registering anew lifts a quarantine.
    if (WorkerNamed("w").state() == v1::Worker::QUARANTINED) harness_.Register("w");
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
    if (leased.tasks().empty()) break;
    v1::TaskResult result = harness_.Evaluate(leased.tasks(0));
    const bool lie = result.has_accuracy_result();
    lies += lie ? 1 : 0;
    if (lie) {
      result.mutable_accuracy_result()->set_top1_correct(result.accuracy_result().images() + 1);
    }
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::TaskCompletion completion,
                                harness_.Complete("w", result));
    EXPECT_EQ(completion.code() != 0, lie);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Job(name));
  EXPECT_EQ(job.state(), v1::SearchJob::FAILED);
  EXPECT_THAT(job.error(), HasSubstr("accuracy_result.top1_correct"));
  EXPECT_EQ(job.failed_trials(), 3);
  EXPECT_EQ(lies, 9) << "three attempts a trial";
  for (const v1::Trial& trial : harness_.Trials(name)) {
    EXPECT_THAT(trial.error(), HasSubstr("accuracy_result.top1_correct: must be from 0"));
    for (const v1::Measurement& measurement : trial.measurements()) {
      EXPECT_THAT(measurement.metric(), Not(HasSubstr("accuracy")));
    }
  }
}

TEST_F(ControllerTroubleTest, AnswersOfReadsCountAmongTheBytesThatWait) {
  harness_.set_max_waiting_bytes(20'000);
  harness_.Restart();
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(20));
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(harness_.Step("w"));
  const v1::LeasedTask leased = LeaseOne("w");
  const auto running_seconds = [this] {
    for (const MetricFamily& family : controller()->CollectMetrics()) {
      if (family.name == "forall_commit_running_seconds") return family.samples.at(0).value;
    }
    return -1.0;
  };
  EXPECT_EQ(running_seconds(), 0);
  harness_.store()->Hang();
  v1::CompleteTasksRequest complete;
  complete.set_worker("w");
  *complete.add_results() = Failure(leased, v1::TaskFailure::TRANSIENT, "no");
  controller()->CompleteTasks(complete, [](const auto&) {});
  EXPECT_GT(running_seconds(), 0);
  std::vector<std::future<absl::Status>> answers;
  const auto note = [&answers] {
    const auto promise = std::make_shared<std::promise<absl::Status>>();
    answers.push_back(promise->get_future());
    return [promise](const auto& answer) { promise->set_value(answer.status()); };
  };
  const auto is_refused = [](std::future<absl::Status>& answer) {
    return answer.wait_for(absl::ToChronoSeconds(absl::ZeroDuration())) ==
           std::future_status::ready;
  };
  v1::ListTrialsRequest list;
  list.set_parent(name);
  v1::GetSearchJobRequest get;
  get.set_name(std::string(1'000, 'x'));
  controller()->GetSnapshot(name, note());
  for (int i = 0; i < 20; ++i) {
    controller()->ListTrials(list, note());
    controller()->GetSearchJob(get, note());
  }
  std::vector<std::future<absl::Status>> waiting;
  for (std::future<absl::Status>& answer : answers) {
    if (!is_refused(answer)) {
      waiting.push_back(std::move(answer));
    } else {
      EXPECT_THAT(answer.get(), StatusIs(absl::StatusCode::kResourceExhausted));
    }
  }
  EXPECT_GT(waiting.size(), 2u) << "some found room";
  EXPECT_LT(waiting.size(), 21u);
  harness_.store()->GoOn();
  for (std::future<absl::Status>& answer : waiting) {
    EXPECT_THAT(answer.get(), Not(StatusIs(absl::StatusCode::kResourceExhausted)));
  }
  FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::ListTrials, list).status())
      << "they were forgotten with their round";
}

TEST_F(ControllerTroubleTest, ImagesThatALiarNamedFirstAreForgottenWithItsMeasurements) {
  const auto of = [](const std::string& checksum, int64_t images) {
    return [checksum, images](const v1::Task&, v1::TaskResult* result) {
      if (!result->has_accuracy_result()) return;
      result->mutable_accuracy_result()->set_dataset_checksum(checksum);
      result->mutable_accuracy_result()->set_split_images(images);
    };
  };
  harness_.Register("liar");
  const std::string name = SubmitOk(ControllerHarness::Spec(3));
  while (harness_.Job(name)->measured_trials() == 0) {
    ASSERT_TRUE(harness_.Step("liar", of("others", 2600)));
  }
  v1::RetractMeasurementsRequest retract;
  retract.set_worker("workers/liar");
  retract.set_reason("it has others' images");
  const auto datasets = [this] {
    const auto all = harness_.store()->LoadDatasets();
    return all.ok() ? static_cast<int>(all->size()) : -1;
  };
  retract.set_dry_run(true);
  FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::RetractMeasurements, retract).status());
  EXPECT_EQ(datasets(), 1) << "it was only asked";
  retract.set_dry_run(false);
  FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::RetractMeasurements, retract).status());
  EXPECT_EQ(datasets(), 0);
  harness_.Register("good");
  while (harness_.Job(name)->measured_trials() == 0) {
    ASSERT_TRUE(harness_.Step("good", of("right", 10'000)));
  }
  EXPECT_EQ(WorkerNamed("good").failed_tasks(), 0);
  // What others measured on them keeps them.
  FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::RetractMeasurements, retract).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<DatasetRecord> known,
                              harness_.store()->LoadDatasets());
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0].checksum, "right");
  EXPECT_EQ(known[0].images, 10'000);
  harness_.Restart();
  harness_.Register("good");
  EXPECT_EQ(harness_.RunToEnd(name, "good", of("right", 10'000)).state(), v1::SearchJob::SUCCEEDED);
}

TEST_F(ControllerTroubleTest, AccuracyOfOtherImagesIsNotMixedIn) {
  harness_.Register("good");
  const std::string name = SubmitOk(ControllerHarness::Spec(3));
  const auto of = [](const std::string& checksum) {
    return [checksum](const v1::Task&, v1::TaskResult* result) {
      if (result->has_accuracy_result()) {
        result->mutable_accuracy_result()->set_dataset_checksum(checksum);
      }
    };
  };
  while (harness_.Job(name)->measured_trials() == 0) ASSERT_TRUE(harness_.Step("good", of("a")));
  harness_.Register("stale");
  v1::LeasedTask leased;
  for (leased = LeaseOne("stale"); leased.task().kind() != v1::Task::ACCURACY;
       leased = LeaseOne("stale")) {
    ASSERT_EQ(harness_.Complete("stale", harness_.Evaluate(leased))->code(), 0);
  }
  v1::TaskResult result = harness_.Evaluate(leased);
  result.mutable_accuracy_result()->set_dataset_checksum("b");
  EXPECT_EQ(harness_.Complete("stale", result)->code(), 0);
  EXPECT_EQ(harness_.Complete("stale", result)->code(), 0) << "repeated: the same answer";
  EXPECT_EQ(WorkerNamed("stale").failed_tasks(), 1);
  // What was known is known after a restart as well.
  harness_.Restart();
  harness_.Register("good");
  EXPECT_EQ(harness_.RunToEnd(name, "good", of("a")).state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(harness_.Job(name)->measured_trials(), 3);
}

TEST_F(ControllerTroubleTest, ExportWithOtherCalibrationIsNotMixedIn) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(2));
  const v1::LeasedTask leased = LeaseOne("w");
  ASSERT_EQ(leased.task().kind(), v1::Task::EXPORT);
  v1::TaskResult result = harness_.Evaluate(leased);
  result.mutable_export_result()->set_calibration_id("c1-other");
  EXPECT_EQ(harness_.Complete("w", result)->code(), 0);
  EXPECT_EQ(WorkerNamed("w").failed_tasks(), 1);
  harness_.Register("w");
  EXPECT_EQ(harness_.RunToEnd(name).measured_trials(), 2);
}

TEST_F(ControllerTroubleTest, LongFailureMessageIsCutNotRefused) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(1));
  std::string message;
  while (message.size() < 5000) message += "\xc3\xa4";  // two bytes a letter
  EXPECT_EQ(
      harness_.Complete("w", Failure(LeaseOne("w"), v1::TaskFailure::DETERMINISTIC, "x" + message))
          ->code(),
      0);
  const std::string error = harness_.Trials(name)[0].error();
  EXPECT_EQ(error.size(), 4095u) << "not within a letter";
}

TEST_F(ControllerTroubleTest, BatchesHaveBaselinesOfTheirOwn) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(2);
  harness_.RunToEnd(SubmitOk(spec));
  spec.mutable_objectives(1)->mutable_condition()->set_batch(8);
  // The reference takes eight times as long for eight images; the ratio stays.
  const auto eightfold = [](const v1::Task&, v1::TaskResult* result) {
    if (!result->has_latency_result()) return;
    v1::LatencyResult* latency = result->mutable_latency_result();
    latency->set_reference_median_ns(8 * latency->reference_median_ns());
    latency->set_calibrated_reference_ns(8.8 * 2e6);
  };
  const std::string second = SubmitOk(spec);
  harness_.RunToEnd(second, "w", eightfold);
  const auto value = [&](const std::string& trial) {
    v1::GetTrialRequest request;
    request.set_name(trial);
    const auto answer = CallAndWait(controller(), &Controller::GetTrial, request);
    for (const v1::Measurement& measurement : answer->measurements()) {
      if (measurement.metric() == "latency_ms" && measurement.fidelity() == "screening") {
        return measurement.value() / measurement.ratio();
      }
    }
    return 0.0;
  };
  EXPECT_NEAR(value("searchJobs/1/trials/1"), 2, 1e-9) << "no calibration was reported: its own";
  EXPECT_NEAR(value("searchJobs/2/trials/1"), 8.8 * 2, 1e-9) << "as calibrated";
}

TEST_F(ControllerTroubleTest, ReusedMeansThatNothingHadToBeMeasured) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_fidelity()->set_screening_images(0);
  spec.mutable_objectives(0)->set_metric("macs");
  harness_.RunToEnd(SubmitOk(spec));
  spec.mutable_objectives(0)->set_metric("accuracy_top1");
  const v1::SearchJob job = harness_.RunToEnd(SubmitOk(spec));
  EXPECT_EQ(job.measured_trials(), 5);
  EXPECT_EQ(job.reused_trials(), 0) << "latencies were known, accuracies were not";
}

TEST_F(ControllerTroubleTest, ReusedAreAlsoTrialsThatKnownValuesMakeInfeasible) {
  harness_.Register("w");
  harness_.RunToEnd(SubmitOk(ControllerHarness::Spec(12)));
  v1::SearchJobSpec spec = ControllerHarness::Spec(12);
  v1::Constraint* const constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_at_most(1e-6);
  const std::string name = SubmitOk(spec);
  harness_.RunToEnd(name);
  int infeasible = 0;
  int reused = 0;
  for (const v1::Trial& trial : harness_.Trials(name)) {
    infeasible += trial.state() == v1::Trial::INFEASIBLE;
    reused += trial.reused();
  }
  EXPECT_EQ(infeasible, 12);
  EXPECT_GT(reused, 0);
  EXPECT_EQ(harness_.Job(name)->reused_trials(), reused);
}

TEST_F(ControllerTroubleTest, WhereNothingIsMeasuredNothingIsReused) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_objectives(0)->set_metric("params");
  spec.mutable_objectives(1)->set_metric("macs");
  const v1::SearchJob job = *harness_.Job(SubmitOk(spec));
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), 5);
  EXPECT_EQ(job.reused_trials(), 0);
}

// The frontier over everything takes each number from whichever job has it, and shows that one.
TEST_F(ControllerTroubleTest, FrontierOverAllJobsShowsTheEvidenceOfItsValues) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(12);
  spec.mutable_objectives(0)->set_metric("macs");
  harness_.RunToEnd(SubmitOk(spec));
  spec.mutable_objectives(0)->set_metric("accuracy_top1");
  harness_.RunToEnd(SubmitOk(spec));
  v1::QueryParetoFrontierRequest request;
  request.set_supernet("supernets/fashion_mnist");
  for (const char* metric : {"accuracy_top1", "latency_ms", "macs"}) {
    request.add_objectives()->set_metric(metric);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse all,
                              CallAndWait(controller(), &Controller::QueryParetoFrontier, request));
  ASSERT_GT(all.members_size(), 2);
  EXPECT_FALSE(all.has_hypervolume());
  for (const v1::FrontierMember& member : all.members()) {
    ASSERT_THAT(member.measurements(), SizeIs(3));
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(member.measurements(i).metric(), request.objectives(i).metric());
    }
    EXPECT_LT(member.measurements(0).interval().low(), member.measurements(0).value());
    EXPECT_EQ(member.measurements(0).condition().split(), "validation");
    EXPECT_EQ(member.measurements(1).value(), member.values(1));
    EXPECT_EQ(member.measurements(1).verdict().state(), v1::Verdict::TRUSTED);
    EXPECT_EQ(member.measurements(2).interval().kind(), "exact");
  }
}

// What one job took as final can be another one's screening, and the other way round: each job's
// own frontier is the one that a query shows.
TEST_F(ControllerTroubleTest, FrontierOfAJobThatReusesOtherFidelitiesIsItsOwn) {
  harness_.Register("w");
  v1::SearchJobSpec first = ControllerHarness::Spec(30);
  first.mutable_fidelity()->set_screening_images(500);
  first.mutable_fidelity()->set_final_images(2500);
  v1::SearchJobSpec second = first;
  second.mutable_fidelity()->set_screening_images(2500);
  second.mutable_fidelity()->set_final_images(0);
  v1::SearchJobSpec third = first;
  third.mutable_fidelity()->set_screening_images(100);
  third.mutable_fidelity()->set_final_images(500);
  for (const v1::SearchJobSpec& spec : {first, second, third}) {
    const std::string name = SubmitOk(spec);
    const v1::SearchJob job = harness_.RunToEnd(name);
    ASSERT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
    const std::vector<v1::FrontierMember> members = harness_.FrontierMembers(name);
    EXPECT_THAT(members, SizeIs(job.frontier_size())) << name;
    for (const v1::FrontierMember& member : members) {
      EXPECT_EQ(member.values(0), member.measurements(0).value())
          << name << ": a finished job's members have measured values, no estimates";
    }
  }
}

TEST_F(ControllerTroubleTest, OtherObjectivesKeepTheJobsConstraints) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(30);
  v1::Constraint* own = spec.add_constraints();
  own->set_metric("latency_ms");
  own->set_at_most(2);
  const std::string name = SubmitOk(spec);
  EXPECT_GT(harness_.RunToEnd(name).infeasible_trials(), 0);
  v1::QueryParetoFrontierRequest request;
  request.set_parent(name);
  request.add_objectives()->set_metric("accuracy_top1");
  request.add_objectives()->set_metric("macs");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse response,
                              CallAndWait(controller(), &Controller::QueryParetoFrontier, request));
  ASSERT_GT(response.members_size(), 0);
  for (const v1::FrontierMember& member : response.members()) {
    EXPECT_EQ(member.trial().state(), v1::Trial::MEASURED)
        << member.trial().name() << " breaks the job's own bound";
  }
}

TEST_F(ControllerTroubleTest, AddedConstraintDoesNotBringBackWhatTheJobRuledOut) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(20);
  v1::Constraint* own = spec.add_constraints();
  own->set_metric("latency_ms");
  own->set_at_most(2);
  const std::string name = SubmitOk(spec);
  EXPECT_GT(harness_.RunToEnd(name).infeasible_trials(), 0);
  v1::QueryParetoFrontierRequest request;
  request.set_parent(name);
  v1::Constraint* added = request.add_constraints();
  added->set_metric("macs");
  added->set_at_most(7e7);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse response,
                              CallAndWait(controller(), &Controller::QueryParetoFrontier, request));
  ASSERT_GT(response.members_size(), 0);
  for (const v1::FrontierMember& member : response.members()) EXPECT_LE(member.values(1), 2);
}

TEST_F(ControllerTroubleTest, WorkersThatComeBetweenPagesMakeNoDoubles) {
  for (const char* worker : {"b", "d", "f"}) harness_.Register(worker);
  v1::ListWorkersRequest request;
  request.set_page_size(2);
  FORALL_ASSERT_OK_AND_ASSIGN(v1::ListWorkersResponse page,
                              CallAndWait(controller(), &Controller::ListWorkers, request));
  EXPECT_EQ(page.workers(1).name(), "workers/d");
  harness_.Register("a");
  request.set_page_token(page.next_page_token());
  FORALL_ASSERT_OK_AND_ASSIGN(page, CallAndWait(controller(), &Controller::ListWorkers, request));
  ASSERT_THAT(page.workers(), SizeIs(1));
  EXPECT_EQ(page.workers(0).name(), "workers/f");
  EXPECT_THAT(page.next_page_token(), IsEmpty());
  request.set_page_token("bogus");
  EXPECT_THAT(CallAndWait(controller(), &Controller::ListWorkers, request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")));
}

TEST_F(ControllerTroubleTest, OverlongListsAndTextsAreRefusedByName) {
  const auto invalid = [](const std::string& field) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field));
  };
  constexpr int kMany = 1'000'000;
  v1::RegisterWorkerRequest worker = harness_.Registration("w");
  for (int i = 0; i < kMany; ++i) worker.add_datasets("d");
  EXPECT_THAT(CallAndWait(controller(), &Controller::RegisterWorker, worker), invalid("datasets"));
  worker = harness_.Registration("w");
  for (int i = 0; i < kMany; ++i) worker.add_kinds(v1::Task::EXPORT);
  EXPECT_THAT(CallAndWait(controller(), &Controller::RegisterWorker, worker), invalid("kinds"));
  worker = harness_.Registration("w");
  worker.mutable_profile()->set_runtime_version(std::string(kMany, 'x'));
  EXPECT_THAT(CallAndWait(controller(), &Controller::RegisterWorker, worker), invalid("profile"));
  worker = harness_.Registration("w");
  (*worker.mutable_device()->mutable_properties())["cpu_model"] = std::string(kMany, 'x');
  EXPECT_THAT(CallAndWait(controller(), &Controller::RegisterWorker, worker), invalid("device"));

  harness_.Register("w");
  v1::HeartbeatRequest heartbeat;
  heartbeat.set_worker("w");
  for (int i = 0; i < kMany; ++i) heartbeat.add_leases();
  EXPECT_THAT(CallAndWait(controller(), &Controller::Heartbeat, heartbeat), invalid("leases"));
  v1::CompleteTasksRequest complete;
  complete.set_worker("w");
  for (int i = 0; i < kMany; ++i) complete.add_results();
  EXPECT_THAT(CallAndWait(controller(), &Controller::CompleteTasks, complete), invalid("results"));
  EXPECT_THAT(harness_.Lease("w", kMany), invalid("max_tasks"));
  v1::QueryParetoFrontierRequest query;
  query.set_supernet("supernets/fashion_mnist");
  for (int i = 0; i < kMany; ++i) query.add_objectives()->set_metric("macs");
  EXPECT_THAT(CallAndWait(controller(), &Controller::QueryParetoFrontier, query),
              invalid("objectives"));
}

TEST_F(ControllerTroubleTest, WarnsOfAClassThatNoDeviceHas) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_objectives(1)->mutable_condition()->set_device_class("foo");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Submit(spec));
  EXPECT_THAT(job.warnings(),
              ElementsAre(HasSubstr("spec.objectives[1]: no device of class \"foo\" has ever")));
}

TEST_F(ControllerTroubleTest, ExportOfAJobThatEndedWithNothingSaysSo) {
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Submit(ControllerHarness::Spec(5)));
  v1::ExportSubnetRequest request;
  request.set_name(job.name());
  const auto message = [&] {
    return std::string(
        CallAndWait(harness_.controller(), &Controller::ExportSubnet, request).status().message());
  };
  EXPECT_THAT(message(), HasSubstr("no measured trial yet"));
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(job.name());
  FORALL_ASSERT_OK(CallAndWait(harness_.controller(), &Controller::CancelSearchJob, cancel));
  EXPECT_THAT(message(), HasSubstr("was cancelled with nothing measured in full"));
}

}  // namespace
}  // namespace forall
