// SPDX-License-Identifier: Apache-2.0
// Networks that are timed for a lookup table, beside any job.
#include "search/controller/network_tasks.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "search/controller/testing/controller_harness.h"
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
using ::testing::StartsWith;

class NetworkTasksTest : public ::testing::Test {
 protected:
  // Parts 1 .. `parts` of the largest network; 0 alone asks for all of it.
  v1::MeasureNetworksRequest Request(const std::vector<int32_t>& parts) const {
    v1::MeasureNetworksRequest request;
    request.set_device("devices/pc");
    request.set_spec(family_->Spec());
    for (const int32_t part : parts) {
      v1::NetworkSubject* subject = request.add_subjects();
      for (const int32_t choice : family_->search_space().Largest().choices) {
        subject->add_choices(choice);
      }
      subject->set_part(part);
    }
    return request;
  }
  absl::StatusOr<v1::MeasureNetworksResponse> Ask(const v1::MeasureNetworksRequest& request) {
    return CallAndWait(harness_.controller(), &Controller::MeasureNetworks, request);
  }
  std::vector<v1::NetworkTiming::State> States(const v1::MeasureNetworksRequest& request) {
    const absl::StatusOr<v1::MeasureNetworksResponse> answer = Ask(request);
    EXPECT_THAT(answer, IsOk());
    std::vector<v1::NetworkTiming::State> states;
    if (!answer.ok()) return states;
    for (const v1::NetworkTiming& timing : answer->timings()) states.push_back(timing.state());
    return states;
  }
  // Does what is queued, as long as there is something; returns the keys in their order.
  std::vector<std::string> Work(const ControllerHarness::Spoil& spoil = nullptr) {
    std::vector<std::string> keys;
    const auto note = [&](const v1::Task& task, v1::TaskResult* result) {
      EXPECT_EQ(task.kind(), v1::Task::LATENCY);
      EXPECT_EQ(task.network_spec(), family_->Spec());
      EXPECT_EQ(task.artifact_sha256(), "");
      keys.push_back(task.graph_key());
      if (spoil != nullptr) spoil(task, result);
    };
    while (harness_.Step("w", note)) {
    }
    return keys;
  }
  static void Reject(const v1::Task&, v1::TaskResult* result) {
    result->mutable_latency_result()->mutable_verdict()->set_state(v1::Verdict::REJECTED);
    result->mutable_latency_result()->mutable_verdict()->add_reasons("throttled");
  }
  int64_t Stored() { return static_cast<int64_t>(harness_.sqlite()->LoadMeasurements()->size()); }

  ControllerHarness harness_;
  const std::shared_ptr<const Family> family_ = FindFamily("fashion_mnist").value();
};

constexpr auto kWaiting = v1::NetworkTiming::WAITING;
constexpr auto kRunning = v1::NetworkTiming::RUNNING;
constexpr auto kMeasured = v1::NetworkTiming::MEASURED;
constexpr auto kFailed = v1::NetworkTiming::FAILED;
using Are = std::vector<v1::NetworkTiming::State>;

TEST_F(NetworkTasksTest, WhatIsNotKnownIsMeasuredOnce) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({0, 1, 2, 3});
  EXPECT_EQ(States(request), (Are{kWaiting, kWaiting, kWaiting, kWaiting}));
  // Asking again queues nothing more.
  EXPECT_EQ(States(request), (Are{kWaiting, kWaiting, kWaiting, kWaiting}));
  EXPECT_EQ(Work().size(), 4u);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::MeasureNetworksResponse answer, Ask(request));
  for (const v1::NetworkTiming& timing : answer.timings()) {
    EXPECT_EQ(timing.state(), kMeasured);
    EXPECT_GT(timing.measurement().value(), 0);
    EXPECT_EQ(timing.measurement().metric(), "latency_ms");
    EXPECT_EQ(timing.measurement().condition().device(), "devices/pc");
    EXPECT_EQ(timing.measurement().trial(), "");
    EXPECT_THAT(timing.measurement().subject(), StartsWith("t1-"));
    EXPECT_NE(timing.measurement().baseline_id(), "");
  }
  EXPECT_EQ(answer.device().fingerprint(), "f1");
  EXPECT_EQ(answer.profile().hash(), "p1");
  EXPECT_EQ(answer.waiting_reason(), "");
  EXPECT_EQ(Work().size(), 0u);
  EXPECT_EQ(Stored(), 4);
}

// Two blocks of one shape are one subject, wherever they stand.
TEST_F(NetworkTasksTest, EqualPartsAreOneMeasurement) {
  harness_.Register("w");
  // Parts 4 and 5 are the second and third block of the first stage.
  EXPECT_EQ(States(Request({4, 5})).size(), 2u);
  EXPECT_EQ(Work().size(), 1u);
  EXPECT_EQ(States(Request({4, 5})), (Are{kMeasured, kMeasured}));
}

TEST_F(NetworkTasksTest, AControllerThatWasKilledLosesNothing) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({0, 1, 2});
  States(request);
  ASSERT_TRUE(harness_.Step("w"));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  ASSERT_EQ(leased.tasks_size(), 1);
  harness_.Restart();
  // Nobody has asked this controller, and it knows no worker yet.
  EXPECT_THAT(Ask(request), StatusIs(absl::StatusCode::kFailedPrecondition,
                                     HasSubstr("no worker has registered")));
  harness_.Register("w");
  EXPECT_EQ(States(request), (Are{kMeasured, kWaiting, kWaiting}));
  // A result of the earlier life is no other task's.
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::TaskCompletion completion,
                              harness_.Complete("w", harness_.Evaluate(leased.tasks(0))));
  EXPECT_EQ(completion.code(), static_cast<int>(absl::StatusCode::kAborted));
  EXPECT_EQ(Work().size(), 2u);
  EXPECT_EQ(States(request), (Are{kMeasured, kMeasured, kMeasured}));
  EXPECT_EQ(Stored(), 3);
}

TEST_F(NetworkTasksTest, ALostCommitIsMeasuredAnew) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({1, 2});
  States(request);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost, absl::UnavailableError("disk"));
  EXPECT_FALSE(harness_.Complete("w", harness_.Evaluate(leased.tasks(0))).ok());
  harness_.store()->Heal();
  harness_.Tick();  // Reads the store anew.
  EXPECT_EQ(States(request), (Are{kWaiting, kWaiting}));
  EXPECT_EQ(Work().size(), 2u);
  EXPECT_EQ(States(request), (Are{kMeasured, kMeasured}));
  EXPECT_EQ(Stored(), 2);
}

TEST_F(NetworkTasksTest, WhatNobodyAsksForIsNotBegun) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({1, 2, 3});
  States(request);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  ASSERT_EQ(leased.tasks_size(), 1);
  EXPECT_EQ(States(request), (Are{kRunning, kWaiting, kWaiting}));
  const auto pass = [&](absl::Duration time) {
    // The worker lives on.
    for (absl::Duration passed; passed < time; passed += absl::Seconds(5)) {
      harness_.clock()->Advance(absl::Seconds(5));
      v1::HeartbeatRequest heartbeat;
      heartbeat.set_worker("workers/w");
      v1::HeldLease* held = heartbeat.add_leases();
      held->set_task(leased.tasks(0).task().name());
      held->set_token(leased.tasks(0).lease().token());
      FORALL_EXPECT_OK(CallAndWait(harness_.controller(), &Controller::Heartbeat, heartbeat));
      harness_.Tick();
    }
  };
  pass(absl::Seconds(50));
  EXPECT_EQ(harness_.Lease("w")->tasks_size(), 1) << "not yet a minute";
  pass(absl::Seconds(30));
  EXPECT_EQ(harness_.Lease("w")->tasks_size(), 0);
  // What was begun counts all the same.
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::TaskCompletion completion,
                              harness_.Complete("w", harness_.Evaluate(leased.tasks(0))));
  EXPECT_EQ(completion.code(), 0) << completion.message();
  EXPECT_EQ(States(request)[0], kMeasured);
}

TEST_F(NetworkTasksTest, RejectedThreeTimesIsFailedUntilItIsForgotten) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({7});
  for (int i = 0; i < NetworkTasks::kAttempts; ++i) {
    EXPECT_EQ(States(request), Are{kWaiting}) << i;
    EXPECT_EQ(Work(Reject).size(), 1u);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::MeasureNetworksResponse answer, Ask(request));
  EXPECT_EQ(answer.timings(0).state(), kFailed);
  EXPECT_THAT(answer.timings(0).error(), AllOf(HasSubstr("3 times"), HasSubstr("throttled")));
  EXPECT_EQ(Work().size(), 0u);
  harness_.clock()->Advance(absl::Seconds(61));
  harness_.Tick();
  harness_.Register("w");
  EXPECT_EQ(States(request), Are{kWaiting});
  EXPECT_EQ(Work().size(), 1u);
  EXPECT_EQ(States(request), Are{kMeasured});
}

TEST_F(NetworkTasksTest, ANoisyNumberIsKept) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({7});
  States(request);
  Work([](const v1::Task&, v1::TaskResult* result) {
    result->mutable_latency_result()->mutable_verdict()->set_state(v1::Verdict::NOISY);
    result->mutable_latency_result()->mutable_verdict()->add_reasons("load");
  });
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::MeasureNetworksResponse answer, Ask(request));
  EXPECT_EQ(answer.timings(0).state(), kMeasured);
  EXPECT_EQ(answer.timings(0).measurement().verdict().state(), v1::Verdict::NOISY);
  EXPECT_EQ(Work().size(), 0u);
}

TEST_F(NetworkTasksTest, AModelThatCannotRunIsReported) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({7});
  States(request);
  EXPECT_EQ(Work([](const v1::Task&, v1::TaskResult* result) {
              result->mutable_failure()->set_reason(v1::TaskFailure::DETERMINISTIC);
              result->mutable_failure()->set_message("no such operator");
            }).size(),
            1u);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::MeasureNetworksResponse answer, Ask(request));
  EXPECT_EQ(answer.timings(0).state(), kFailed);
  EXPECT_EQ(answer.timings(0).error(), "no such operator");
}

TEST_F(NetworkTasksTest, AWorkerThatCannotIsNamed) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({7});
  States(request);
  Work([](const v1::Task&, v1::TaskResult* result) {
    result->mutable_failure()->set_reason(v1::TaskFailure::WORKER_UNABLE);
    result->mutable_failure()->set_message("versions differ");
  });
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::MeasureNetworksResponse answer, Ask(request));
  EXPECT_EQ(answer.timings(0).state(), kWaiting);
  EXPECT_THAT(answer.waiting_reason(), AllOf(HasSubstr("workers/w"), HasSubstr("versions differ")));
}

TEST_F(NetworkTasksTest, ImpossibleNumbersAreNotStored) {
  harness_.Register("w");
  States(Request({7}));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  v1::TaskResult result = harness_.Evaluate(leased.tasks(0));
  result.mutable_latency_result()->set_ratio(-1);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::TaskCompletion completion, harness_.Complete("w", result));
  EXPECT_EQ(completion.code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Stored(), 0);
  // It is somebody's again.
  EXPECT_EQ(Work().size(), 1u);
  EXPECT_EQ(States(Request({7})), Are{kMeasured});
}

TEST_F(NetworkTasksTest, ARepeatedCallIsAnsweredAlike) {
  harness_.Register("w");
  States(Request({7}));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  v1::TaskResult result = harness_.Evaluate(leased.tasks(0));
  EXPECT_EQ(harness_.Complete("w", result)->code(), 0);
  EXPECT_EQ(harness_.Complete("w", result)->code(), 0);
  EXPECT_EQ(Stored(), 1);
  result.mutable_latency_result()->set_runs(21);
  EXPECT_EQ(harness_.Complete("w", result)->code(),
            static_cast<int>(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(Stored(), 1);
}

TEST_F(NetworkTasksTest, AMorePreciseNumberIsTakenToo) {
  harness_.Register("w");
  v1::MeasureNetworksRequest request = Request({7});
  request.set_latency_profile("standard");
  States(request);
  Work();
  request.set_latency_profile("screening");
  EXPECT_EQ(States(request), Are{kMeasured});
  request.set_latency_profile("final");
  EXPECT_EQ(States(request), Are{kWaiting});
  request = Request({7});
  request.set_batch(8);
  EXPECT_EQ(States(request), Are{kWaiting});
  request = Request({7});
  request.set_recipe("fp16");
  EXPECT_EQ(States(request), Are{kWaiting});
}

TEST_F(NetworkTasksTest, NumbersBelongToADeviceAsItIs) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({7});
  States(request);
  Work();
  harness_.Register("w", "pc", "f2");
  EXPECT_EQ(States(request), Are{kWaiting});
  harness_.Register("w", "pc", "f1");
  EXPECT_EQ(States(request), Are{kMeasured});
}

TEST_F(NetworkTasksTest, JobsAndTablesDoNotMix) {
  harness_.Register("w");
  States(Request({0, 1, 2}));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Submit(ControllerHarness::Spec(6)));
  const v1::SearchJob ended = harness_.RunToEnd(job.name());
  EXPECT_EQ(ended.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(ended.measured_trials(), 6);
  EXPECT_EQ(States(Request({0, 1, 2})), (Are{kMeasured, kMeasured, kMeasured}));
  // And the store reads back.
  harness_.Restart();
  EXPECT_EQ(harness_.Job(job.name())->state(), v1::SearchJob::SUCCEEDED);
}

// The other device has timed parts for a table, no trial: a frontier over the supernet has one
// place.
TEST_F(NetworkTasksTest, TablesAreNoPlaceOfAFrontier) {
  harness_.Register("w");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Submit(ControllerHarness::Spec(4)));
  harness_.RunToEnd(job.name());
  harness_.Register("v", "laptop");
  v1::MeasureNetworksRequest request = Request({1, 2});
  request.set_device("devices/laptop");
  States(request);
  while (harness_.Step("v")) {
  }
  ASSERT_EQ(States(request), (Are{kMeasured, kMeasured}));
  v1::QueryParetoFrontierRequest query;
  query.set_supernet("supernets/fashion_mnist");
  for (const char* metric : {"accuracy_top1", "latency_ms"}) {
    query.add_objectives()->set_metric(metric);
  }
  for (const bool restarted : {false, true}) {
    if (restarted) harness_.Restart();
    FORALL_ASSERT_OK_AND_ASSIGN(
        const v1::QueryParetoFrontierResponse frontier,
        CallAndWait(harness_.controller(), &Controller::QueryParetoFrontier, query));
    EXPECT_GT(frontier.members_size(), 0) << restarted;
  }
}

TEST_F(NetworkTasksTest, BadRequestsSayWhatToDo) {
  EXPECT_THAT(Ask(Request({1})),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("devices/pc"), HasSubstr("forall-worker"))));
  harness_.Register("w");
  struct Case {
    std::function<void(v1::MeasureNetworksRequest*)> spoil;
    absl::StatusCode code;
    const char* words;
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const std::vector<Case> cases = {
      {[](auto* r) { r->set_device("devices/nobody"); }, absl::StatusCode::kNotFound,
       "there are devices/pc"},
      {[](auto* r) { r->clear_device(); }, invalid, "device: required"},
      {[](auto* r) { r->set_device("pc"); }, invalid, "device"},
      {[](auto* r) { r->set_profile("p9"); }, absl::StatusCode::kFailedPrecondition, "profile: p9"},
      {[](auto* r) { r->set_spec("{"); }, invalid, "spec"},
      {[](auto* r) { r->set_spec(std::string(100'000, ' ')); }, invalid, "spec: at most"},
      {[](auto* r) { r->set_latency_profile("hasty"); }, invalid, "latency_profile: \"hasty\""},
      {[](auto* r) { r->set_recipe("int4"); }, invalid, "recipe"},
      {[](auto* r) { r->set_batch(-1); }, invalid, "batch"},
      {[](auto* r) { r->clear_subjects(); }, invalid, "subjects: from 1 to 1024"},
      {[](auto* r) {
         while (r->subjects_size() < 1025) *r->add_subjects() = r->subjects(0);
       },
       invalid, "got 1025"},
      {[](auto* r) { r->mutable_subjects(0)->set_part(99); }, invalid, "subjects[0]: part"},
      {[](auto* r) { r->mutable_subjects(0)->set_part(-1); }, invalid, "subjects[0]: part"},
      {[](auto* r) { r->mutable_subjects(0)->add_choices(0); }, invalid, "subjects[0]"},
  };
  for (const Case& bad : cases) {
    v1::MeasureNetworksRequest request = Request({1});
    bad.spoil(&request);
    EXPECT_THAT(Ask(request), StatusIs(bad.code, HasSubstr(bad.words))) << bad.words;
  }
  const auto resnet = FindFamily("ofa_resnet50").value();
  v1::MeasureNetworksRequest request = Request({});
  request.set_spec(resnet->Spec());
  v1::NetworkSubject* subject = request.add_subjects();
  for (const int32_t choice : resnet->search_space().Smallest().choices) {
    subject->add_choices(choice);
  }
  EXPECT_EQ(States(request), Are{kWaiting}) << "as a whole it can be timed";
  subject->set_part(1);
  EXPECT_THAT(Ask(request),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("inverted residual")));
}

TEST_F(NetworkTasksTest, ADeviceOfOneBatchSizeIsAskedForNoOther) {
  v1::RegisterWorkerRequest registration = harness_.Registration("w");
  (*registration.mutable_device()->mutable_properties())["only_batch"] = "1";
  ASSERT_THAT(CallAndWait(harness_.controller(), &Controller::RegisterWorker, registration),
              IsOk());
  v1::MeasureNetworksRequest request = Request({0});
  request.set_batch(8);
  EXPECT_THAT(Ask(request), StatusIs(absl::StatusCode::kInvalidArgument,
                                     AllOf(HasSubstr("batch"), HasSubstr("batch 1 only, not 8"))));
  EXPECT_EQ(States(Request({0})), (Are{kWaiting}));
  v1::SearchJobSpec spec = ControllerHarness::Spec(4);
  spec.mutable_objectives(1)->mutable_condition()->set_batch(4);
  EXPECT_THAT(harness_.Submit(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("batch 1 only, not 4")));
}

TEST_F(NetworkTasksTest, NoWorkerIsAskedToMakeGigabytesOfWeights) {
  harness_.Register("w");
  v1::MeasureNetworksRequest request = Request({0});
  nlohmann::json spec = nlohmann::json::parse(request.spec());
  spec["classes"] = 1'000'000;
  request.set_spec(spec.dump());
  EXPECT_THAT(Ask(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("weights of")));
}

TEST_F(NetworkTasksTest, SpecsAreKeptOnceAndNotWithoutBound) {
  FakeClock clock;
  LeaseTable leases({.clock = &clock, .lives = {{1, std::string(kLifeSecretBytes, 's'), 0}}});
  NetworkTasks tasks({.clock = &clock});
  const MeasurementIndex index;
  FORALL_ASSERT_OK_AND_ASSIGN(std::vector<NetworkTask> made, NetworkTasksOf(Request({1})));
  NetworkTask& task = made.front();
  EXPECT_EQ(*task.spec, family_->Spec());
  int64_t measured = 0;
  const auto ask = [&](int subject, std::string spec) {
    task.wire.set_graph_key(absl::StrCat("t1-", subject));
    task.subjects = {task.wire.graph_key()};
    task.spec = std::make_shared<const std::string>(std::move(spec));
    EXPECT_EQ(tasks.Ask(task, "f1", index, &leases, &measured).state(), kWaiting);
  };
  const std::string large(64 << 10, ' ');
  for (int i = 0; i < 2000; ++i) ask(i, large);
  EXPECT_EQ(tasks.spec_bytes(), large.size());
  for (int i = 0; i < 2000; ++i) ask(i + 2000, absl::StrCat(i, large));
  EXPECT_LE(tasks.spec_bytes(), NetworkTasks::kMostSpecBytes);
  EXPECT_GT(tasks.spec_bytes(), NetworkTasks::kMostSpecBytes / 2);
  // Those that nobody asks for any more make room.
  task.spec = nullptr;
  clock.Advance(NetworkTasks::kPatience + absl::Seconds(1));
  tasks.Expire(&leases);
  EXPECT_EQ(tasks.spec_bytes(), 0u);
  ask(1, large);
  EXPECT_EQ(tasks.spec_bytes(), large.size());
}

TEST_F(NetworkTasksTest, AClassIsOneDevice) {
  harness_.Register("w", "pc");
  v1::MeasureNetworksRequest request = Request({1});
  request.clear_device();
  request.set_device_class("x86-64");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::MeasureNetworksResponse answer, Ask(request));
  EXPECT_EQ(answer.device().name(), "devices/pc");
  harness_.Register("v", "laptop");
  EXPECT_THAT(Ask(request), StatusIs(absl::StatusCode::kFailedPrecondition,
                                     HasSubstr("devices/laptop, devices/pc")));
}

TEST_F(NetworkTasksTest, AWorkerThatIsLostIsSaidToBeMissing) {
  harness_.Register("w");
  const v1::MeasureNetworksRequest request = Request({1, 2});
  States(request);
  ASSERT_TRUE(harness_.Step("w"));
  harness_.clock()->Advance(absl::Seconds(20));
  harness_.Tick();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::MeasureNetworksResponse answer, Ask(request));
  EXPECT_EQ(answer.timings(0).state(), kMeasured);
  EXPECT_EQ(answer.timings(1).state(), kWaiting);
  EXPECT_THAT(answer.waiting_reason(), HasSubstr("a worker that serves devices/pc"));
}

}  // namespace
}  // namespace forall
