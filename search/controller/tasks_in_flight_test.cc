// SPDX-License-Identifier: Apache-2.0
// What several jobs want at once is measured once, and whoever waits for another job's task is
// never left waiting, whatever becomes of that task.
#include "search/controller/tasks_in_flight.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/resource_names.h"
#include "search/controller/testing/controller_harness.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;

TEST(TasksInFlightTest, TellsWhoWaitedOnceInTheOrderInWhichTheyCame) {
  TasksInFlight in_flight;
  in_flight.Add(1, 7);
  in_flight.Add(2, 7);
  in_flight.Add(3, 8);
  EXPECT_THAT(in_flight.Of(7), ElementsAre(1, 2));
  in_flight.Wait(1, 20);
  in_flight.Wait(1, 10);
  in_flight.Wait(1, 30);
  in_flight.Wait(3, 10);
  EXPECT_EQ(in_flight.waits(), 4);
  in_flight.Leave(1, 30);
  in_flight.Leave(2, 30);
  EXPECT_THAT(in_flight.WaitersOf(1), ElementsAre(20, 10));
  EXPECT_FALSE(in_flight.has_over());
  in_flight.Remove(1, 7);
  in_flight.Remove(2, 7);
  in_flight.Remove(3, 8);
  EXPECT_TRUE(in_flight.has_over());
  EXPECT_EQ(in_flight.waits(), 0);
  EXPECT_THAT(in_flight.Of(7), IsEmpty());
  EXPECT_THAT(in_flight.TakeOver(),
              ElementsAre(Pair(20, ElementsAre(1)), Pair(10, ElementsAre(1, 3))));
  EXPECT_THAT(in_flight.TakeOver(), IsEmpty());
}

v1::Task LatencyTask() {
  v1::Task task;
  task.set_kind(v1::Task::LATENCY);
  task.set_arch_key("a");
  task.set_graph_key("g");
  task.set_artifact_sha256("m");
  task.set_fidelity("screening");
  task.set_recipe("fp32");
  task.set_device("devices/pc");
  task.set_profile("p");
  task.set_batch(1);
  return task;
}

// Whether each stands for the other, by the hash that finds them.
std::pair<bool, bool> StandIn(const v1::Task& a, const v1::Task& b) {
  const bool found = WorkHash(a) == WorkHash(b);
  return {found && StandsFor(a, "f", b, "f", 0), found && StandsFor(b, "f", a, "f", 0)};
}

TEST(StandsForTest, ALatencyIsOfItsSubjectPlaceMetricsAndCare) {
  const v1::Task task = LatencyTask();
  const auto with = [&](const std::function<void(v1::Task*)>& change) {
    v1::Task other = task;
    change(&other);
    return StandIn(task, other);
  };
  const std::pair both(true, true);
  const std::pair neither(false, false);
  EXPECT_EQ(StandIn(task, task), both);
  EXPECT_FALSE(StandsFor(task, "f", task, "other", 0)) << "the device has changed";
  // A screening belongs to the graph, whatever its weights.
  EXPECT_EQ(with([](v1::Task* other) {
              other->set_artifact_sha256("m2");
              other->set_supernet_sha256("s2");
              other->set_trial("searchJobs/2/trials/1");
            }),
            both);
  for (const auto& change : std::vector<std::function<void(v1::Task*)>>{
           [](v1::Task* other) { other->set_graph_key("g2"); },
           [](v1::Task* other) { other->set_device("devices/other"); },
           [](v1::Task* other) { other->set_profile("p2"); },
           [](v1::Task* other) { other->set_batch(8); },
           [](v1::Task* other) { other->set_recipe("fp16"); },
           [](v1::Task* other) { other->set_fidelity("final"); },
           [](v1::Task* other) { other->set_kind(v1::Task::EXPORT); },
           [](v1::Task* other) { other->add_metrics(kEnergy); },
       }) {
    EXPECT_EQ(with(change), neither);
  }
  // What is derived is derived by whoever wants it.
  v1::Task energy = task;
  energy.add_metrics(kEnergy);
  v1::Task carbon = energy;
  carbon.add_metrics(kCarbon);
  carbon.set_grid_grams_per_kwh(400);
  EXPECT_EQ(StandIn(energy, carbon), both);
  // More care stands for less.
  EXPECT_EQ(with([](v1::Task* other) { other->mutable_latency_rules()->set_min_runs(50); }),
            std::pair(false, true));
  // A final number belongs to the artifact.
  v1::Task final = task;
  final.set_fidelity("final");
  v1::Task other = final;
  other.set_graph_key("g2");
  EXPECT_EQ(StandIn(final, other), both);
  other.set_artifact_sha256("m2");
  EXPECT_EQ(StandIn(final, other), neither);
}

TEST(StandsForTest, AnAccuracyIsOfItsImages) {
  v1::Task task;
  task.set_kind(v1::Task::ACCURACY);
  task.set_artifact_sha256("m");
  task.set_dataset("d");
  task.set_split("validation");
  task.set_images(500);
  v1::Task other = task;
  other.set_fidelity("final");
  EXPECT_EQ(StandIn(task, other), std::pair(true, true));
  other.set_images(600);
  EXPECT_EQ(StandIn(task, other), std::pair(false, false));
  EXPECT_TRUE(StandsFor(task, "", other, "", 500)) << "both are all that there are";
  other.set_part_images(500);
  EXPECT_EQ(StandIn(task, other), std::pair(true, true)) << "a part of the same images";
  other.set_first_image(100);
  EXPECT_EQ(StandIn(task, other), std::pair(false, false));
  other = task;
  other.set_images(0);
  EXPECT_FALSE(StandsFor(task, "", other, "", 0)) << "nobody knows how many all are";
  EXPECT_TRUE(StandsFor(task, "", other, "", 500));
  for (const auto& change : std::vector<std::function<void(v1::Task*)>>{
           [](v1::Task* changed) { changed->set_artifact_sha256("m2"); },
           [](v1::Task* changed) { changed->set_dataset("d2"); },
           [](v1::Task* changed) { changed->set_split("test"); },
       }) {
    other = task;
    change(&other);
    EXPECT_EQ(StandIn(task, other), std::pair(false, false));
  }
}

TEST(StandsForTest, AnExportIsOfItsSupernetSubnetRecipeAndCalibration) {
  v1::Task task;
  task.set_kind(v1::Task::EXPORT);
  task.set_arch_key("a");
  task.set_supernet_sha256("s");
  task.set_recipe("fp32");
  task.set_calibration_dataset("d");
  task.set_calibration_images(100);
  EXPECT_EQ(StandIn(task, task), std::pair(true, true));
  for (const auto& change : std::vector<std::function<void(v1::Task*)>>{
           [](v1::Task* other) { other->set_arch_key("b"); },
           [](v1::Task* other) { other->set_supernet_sha256("s2"); },
           [](v1::Task* other) { other->set_recipe("fp16"); },
           [](v1::Task* other) { other->set_calibration_dataset("d2"); },
           [](v1::Task* other) { other->set_calibration_images(200); },
           [](v1::Task* other) { other->set_calibration_seed(1); },
       }) {
    v1::Task other = task;
    change(&other);
    EXPECT_EQ(StandIn(task, other), std::pair(false, false));
  }
}

// Random proposals: what a job wants depends on nothing that happens.
v1::SearchJobSpec RandomSpec(int trials, int64_t seed = 5) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
  spec.mutable_sampler()->set_algorithm("random");
  spec.set_seed(seed);
  spec.set_parallelism(3);
  return spec;
}

// What a task measures, as text.
std::string KeyOf(const v1::Task& task) {
  switch (task.kind()) {
    case v1::Task::EXPORT:
      return absl::StrCat("export ", task.arch_key());
    case v1::Task::ACCURACY:
      return absl::StrCat("accuracy ", task.arch_key(), " ", task.split(), " ", task.images(), " ",
                          task.first_image(), " ", task.part_images());
    default:
      return absl::StrCat("latency ", task.arch_key(), " ", task.fidelity(), " ", task.device(),
                          " ", task.batch());
  }
}

class SharedWorkTest : public ::testing::Test {
 protected:
  SharedWorkTest() { Register("w"); }

  Controller* controller() { return harness_->controller(); }
  void Register(const std::string& worker) { harness_->Register(worker); }
  void StartAnew() {
    harness_ = std::make_unique<ControllerHarness>();
    accepted_.clear();
    Register("w");
  }

  std::string Submit(const v1::SearchJobSpec& spec) {
    const absl::StatusOr<v1::SearchJob> job = harness_->Submit(spec);
    FORALL_EXPECT_OK(job);
    return job.ok() ? job->name() : "";
  }
  absl::Status Pause(const std::string& name) {
    v1::PauseSearchJobRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::PauseSearchJob, request).status();
  }
  absl::Status Resume(const std::string& name) {
    v1::ResumeSearchJobRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::ResumeSearchJob, request).status();
  }
  absl::Status Cancel(const std::string& name) {
    v1::CancelSearchJobRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::CancelSearchJob, request).status();
  }
  absl::Status Delete(const std::string& name) {
    v1::DeleteSearchJobRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::DeleteSearchJob, request).status();
  }

  std::vector<v1::LeasedTask> Lease(int max, const std::string& worker = "w") {
    const absl::StatusOr<v1::LeaseTasksResponse> leased = harness_->Lease(worker, max);
    FORALL_EXPECT_OK(leased);
    if (!leased.ok()) return {};
    return {leased->tasks().begin(), leased->tasks().end()};
  }
  // Does the task and reports it.
  void Finish(const v1::LeasedTask& leased, const std::string& worker = "w") {
    const absl::StatusOr<v1::TaskCompletion> done =
        harness_->Complete(worker, harness_->Evaluate(leased));
    FORALL_ASSERT_OK(done);
    ASSERT_EQ(done->code(), 0) << done->message();
    ++accepted_[KeyOf(leased.task())];
  }
  void Fail(const v1::LeasedTask& leased, v1::TaskFailure::Reason reason,
            const std::string& worker = "w") {
    v1::TaskResult result;
    result.set_task(leased.task().name());
    result.set_lease_token(leased.lease().token());
    result.mutable_failure()->set_reason(reason);
    result.mutable_failure()->set_message("a reason");
    const absl::StatusOr<v1::TaskCompletion> done = harness_->Complete(worker, result);
    FORALL_ASSERT_OK(done);
    EXPECT_EQ(done->code(), 0) << done->message();
  }
  static std::string JobOf(const v1::LeasedTask& leased) {
    return leased.task().trial().substr(0, leased.task().trial().find("/trials"));
  }
  // Everything that there is to do.
  void RunAll() {
    for (int i = 0; i < 10'000; ++i) {
      const std::vector<v1::LeasedTask> leased = Lease(1);
      if (leased.empty()) return;
      Finish(leased[0]);
    }
    FAIL() << "it has no end";
  }
  v1::SearchJob::State StateOf(const std::string& name) { return harness_->Job(name)->state(); }

  // Members with their values, by subnet.
  static std::vector<std::string> FrontierOf(ControllerHarness* harness, const std::string& name) {
    std::vector<std::string> members;
    for (const v1::FrontierMember& member : harness->FrontierMembers(name)) {
      members.push_back(absl::StrCat(member.trial().arch_key(), " ",
                                     absl::StrJoin(member.values(), " "), " ", member.certainty()));
    }
    std::sort(members.begin(), members.end());
    return members;
  }
  std::vector<std::string> FrontierOf(const std::string& name) {
    return FrontierOf(harness_.get(), name);
  }
  // Of a job that has a controller for itself.
  static std::vector<std::string> FrontierAlone(const v1::SearchJobSpec& spec) {
    static auto* const known = new std::map<std::string, std::vector<std::string>>;
    const auto [it, is_new] = known->try_emplace(spec.SerializeAsString());
    if (is_new) {
      ControllerHarness harness;
      harness.Register("w");
      const std::string name = harness.Submit(spec)->name();
      EXPECT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
      it->second = FrontierOf(&harness, name);
    }
    return it->second;
  }
  void ExpectAsAlone(const std::string& name, const v1::SearchJobSpec& spec) {
    EXPECT_EQ(StateOf(name), v1::SearchJob::SUCCEEDED) << name;
    EXPECT_THAT(FrontierOf(name), Not(IsEmpty()));
    EXPECT_EQ(FrontierOf(name), FrontierAlone(spec)) << name;
  }
  void ExpectEachOnce() const {
    EXPECT_THAT(accepted_, Not(IsEmpty()));
    for (const auto& [key, times] : accepted_) EXPECT_EQ(times, 1) << key;
  }

  // How many tasks the job ever opened.
  size_t TasksOf(const std::string& name) {
    return harness_->sqlite()->LoadTasks(ParseJobName(name).value())->size();
  }
  double Metric(const std::string& name) {
    for (const MetricFamily& family : controller()->CollectMetrics()) {
      if (family.name == name) return family.samples.empty() ? 0 : family.samples[0].value;
    }
    ADD_FAILURE() << "there is no " << name;
    return 0;
  }

  std::unique_ptr<ControllerHarness> harness_ = std::make_unique<ControllerHarness>();
  std::map<std::string, int> accepted_;  // by what was measured
};

TEST_F(SharedWorkTest, WhatTwoJobsWantAtOnceIsMeasuredOnce) {
  v1::SearchJobSpec spec = RandomSpec(8);
  spec.mutable_fidelity()->set_test_split(true);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  EXPECT_EQ(Metric("forall_task_waiters"), 3);
  EXPECT_EQ(Metric("forall_tasks_shared_total"), 3);
  EXPECT_EQ(Metric("forall_tasks_waiting"), 3) << "each counts once";
  EXPECT_EQ(harness_->Job(second)->waiting_reason(), "");
  RunAll();
  ExpectEachOnce();
  ExpectAsAlone(first, spec);
  ExpectAsAlone(second, spec);
  // Whoever wanted it first has opened the task; by turns, since each goes on by itself.
  EXPECT_EQ(TasksOf(first) + TasksOf(second), accepted_.size());
  EXPECT_EQ(Metric("forall_task_waiters"), 0);
  EXPECT_GT(Metric("forall_tasks_shared_total"), 20);
  EXPECT_EQ(harness_->Job(second)->reused_trials() + harness_->Job(first)->reused_trials(), 8);
}

TEST_F(SharedWorkTest, TheWaiterTakesTheNumberInTheRoundOfTheResult) {
  const v1::SearchJobSpec spec = RandomSpec(1);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  const std::vector<v1::LeasedTask> leased = Lease(2);
  ASSERT_THAT(leased, SizeIs(1));
  const int64_t commits = harness_->store()->commits();
  Finish(leased[0]);
  EXPECT_EQ(harness_->store()->commits(), commits + 1);
  EXPECT_NE(harness_->Trials(second)[0].artifact_sha256(), "");
  EXPECT_THAT(harness_->Log(second), Contains(HasSubstr("exported")));
  EXPECT_EQ(TasksOf(second), 0U) << "nothing is stored of a wait";
}

TEST_F(SharedWorkTest, JobsOfOtherSubnetsShareOnlyWhatIsTheSame) {
  // The same first subnets, with another objective in place of latency.
  const v1::SearchJobSpec first_spec = RandomSpec(6);
  v1::SearchJobSpec second_spec = RandomSpec(9);
  second_spec.mutable_objectives(1)->set_metric("macs");
  const std::string first = Submit(first_spec);
  const std::string second = Submit(second_spec);
  RunAll();
  ExpectEachOnce();
  ExpectAsAlone(first, first_spec);
  ExpectAsAlone(second, second_spec);
}

TEST_F(SharedWorkTest, NothingIsSharedThatWouldNotBeReused) {
  const v1::SearchJobSpec spec = RandomSpec(2);
  const auto waits = [&](const std::function<void(v1::SearchJobSpec*)>& change, int steps) {
    StartAnew();
    harness_->Register("w2", "pc2", "f2");
    v1::SearchJobSpec named = spec;
    named.mutable_objectives(1)->mutable_condition()->set_device("devices/pc");
    const std::string first = Submit(named);
    for (int i = 0; i < steps; ++i) Finish(Lease(1)[0]);
    const double before = Metric("forall_tasks_shared_total");
    v1::SearchJobSpec changed = named;
    change(&changed);
    Submit(changed);
    return Metric("forall_tasks_shared_total") - before;
  };
  // Two exports are in flight; after both, an accuracy and a latency of each.
  EXPECT_EQ(waits([](v1::SearchJobSpec*) {}, 0), 2);
  EXPECT_EQ(waits([](v1::SearchJobSpec*) {}, 2), 4);
  using Spec = v1::SearchJobSpec;
  EXPECT_EQ(waits([](Spec* s) { s->mutable_fidelity()->set_calibration_seed(9); }, 0), 0);
  EXPECT_EQ(waits([](Spec* s) { s->mutable_fidelity()->set_calibration_images(64); }, 0), 0);
  EXPECT_EQ(waits([](Spec* s) { s->set_recipe("fp16"); }, 0), 0);
  const auto other_device = [](Spec* s) {
    s->mutable_objectives(1)->mutable_condition()->set_device("devices/pc2");
  };
  EXPECT_EQ(waits(other_device, 0), 2) << "exports are of no device";
  EXPECT_EQ(waits(other_device, 2), 2) << "accuracies neither";
  EXPECT_EQ(waits([](Spec* s) { s->mutable_objectives(1)->mutable_condition()->set_batch(4); }, 2),
            2);
  EXPECT_EQ(waits([](Spec* s) { s->mutable_fidelity()->set_screening_images(3000); }, 2), 2);
  EXPECT_EQ(
      waits([](Spec* s) { s->mutable_fidelity()->mutable_screening_latency()->set_min_runs(99); },
            2),
      2)
      << "the job wants more runs";
}

TEST_F(SharedWorkTest, AWaiterGoesOnWhenTheOwnerIsCancelledAndDeleted) {
  const v1::SearchJobSpec spec = RandomSpec(5);
  for (const bool deleted : {false, true}) {
    for (int steps = 0; steps < 12; ++steps) {
      StartAnew();
      const std::string first = Submit(spec);
      const std::string second = Submit(spec);
      for (int i = 0; i < steps; ++i) Finish(Lease(1)[0]);
      FORALL_ASSERT_OK(Cancel(first));
      if (deleted) {
        FORALL_ASSERT_OK(Delete(first));
      }
      RunAll();
      ExpectAsAlone(second, spec);
      ExpectEachOnce();
    }
  }
}

TEST_F(SharedWorkTest, WhatACancelledOwnersWorkerStillHoldsIsWaitedFor) {
  const v1::SearchJobSpec spec = RandomSpec(3);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  const std::vector<v1::LeasedTask> leased = Lease(3);
  ASSERT_THAT(leased, SizeIs(3));
  FORALL_ASSERT_OK(Cancel(first));
  EXPECT_THAT(Lease(3), IsEmpty()) << "all of it is being done";
  EXPECT_THAT(Delete(first), StatusIs(absl::StatusCode::kFailedPrecondition));
  Finish(leased[0]);
  EXPECT_EQ(TasksOf(second), 2U) << "an accuracy and a latency of what the other job exported";
  // Nothing more is heard of the rest: who waits does it.
  harness_->clock()->Advance(4 * ControllerHarness::kHeartbeat);
  harness_->Tick();
  Register("w");
  RunAll();
  ExpectAsAlone(second, spec);
  ExpectEachOnce();
  FORALL_EXPECT_OK(Delete(first));
}

TEST_F(SharedWorkTest, APausedOwnersTasksAreDoneForTheWaiter) {
  const v1::SearchJobSpec spec = RandomSpec(4);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  const std::vector<v1::LeasedTask> leased = Lease(1);
  FORALL_ASSERT_OK(Pause(first));
  // The lease is lost: the task waits again, and not for the pause's end.
  harness_->clock()->Advance(4 * ControllerHarness::kHeartbeat);
  harness_->Tick();
  Register("w");
  RunAll();
  ExpectAsAlone(second, spec);
  EXPECT_EQ(StateOf(first), v1::SearchJob::PAUSED);
  FORALL_ASSERT_OK(Resume(first));
  RunAll();
  ExpectAsAlone(first, spec);
  ExpectEachOnce();
}

TEST_F(SharedWorkTest, APausedWaiterTakesWhatComesAndWantsNoWorker) {
  const v1::SearchJobSpec spec = RandomSpec(4);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  FORALL_ASSERT_OK(Pause(second));
  FORALL_ASSERT_OK(Pause(first));
  EXPECT_THAT(Lease(1), IsEmpty());
  FORALL_ASSERT_OK(Cancel(first));
  EXPECT_THAT(Lease(1), IsEmpty());
  FORALL_ASSERT_OK(Resume(second));
  RunAll();
  ExpectAsAlone(second, spec);
}

TEST_F(SharedWorkTest, AFailureIsTheOwnersAndTheWaiterTriesItself) {
  const v1::SearchJobSpec spec = RandomSpec(3);
  for (const v1::TaskFailure::Reason reason :
       {v1::TaskFailure::DETERMINISTIC, v1::TaskFailure::OUT_OF_MEMORY,
        v1::TaskFailure::TRANSIENT}) {
    StartAnew();
    Register("v");
    const std::string first = Submit(spec);
    const std::string second = Submit(spec);
    const std::string third = Submit(spec);
    int failures = 0;
    for (int i = 0; i < 1000; ++i) {
      const std::string worker = i % 2 == 0 ? "w" : "v";
      const std::vector<v1::LeasedTask> leased = Lease(1, worker);
      if (leased.empty()) break;
      // Whatever the owner measures of its second subnet.
      if (JobOf(leased[0]) == first && absl::EndsWith(leased[0].task().trial(), "/2") &&
          leased[0].task().kind() != v1::Task::EXPORT) {
        ++failures;
        Fail(leased[0], reason, worker);
      } else {
        Finish(leased[0], worker);
      }
    }
    EXPECT_GE(failures, reason == v1::TaskFailure::TRANSIENT ? 2 : 1);
    const v1::Trial::State wanted =
        reason == v1::TaskFailure::TRANSIENT ? v1::Trial::FAILED : v1::Trial::INFEASIBLE;
    EXPECT_EQ(harness_->Trials(first)[1].state(), wanted);
    EXPECT_EQ(StateOf(first), v1::SearchJob::SUCCEEDED);
    ExpectAsAlone(second, spec);
    ExpectAsAlone(third, spec);
    ExpectEachOnce();
  }
}

TEST_F(SharedWorkTest, WhatTheOwnerDoesNotWantAnyMoreTheWaiterDoes) {
  const v1::SearchJobSpec first_spec = RandomSpec(1);
  v1::SearchJobSpec second_spec = RandomSpec(1);
  second_spec.mutable_objectives(1)->set_metric("macs");
  const std::string first = Submit(first_spec);
  const std::string second = Submit(second_spec);
  Finish(Lease(1)[0]);
  std::vector<v1::LeasedTask> leased = Lease(2);
  ASSERT_THAT(leased, SizeIs(2));
  if (leased[0].task().kind() != v1::Task::LATENCY) std::swap(leased[0], leased[1]);
  ASSERT_EQ(leased[1].task().kind(), v1::Task::ACCURACY);
  EXPECT_EQ(TasksOf(second), 0U);
  Fail(leased[0], v1::TaskFailure::DETERMINISTIC);
  EXPECT_EQ(StateOf(first), v1::SearchJob::FAILED);
  EXPECT_EQ(TasksOf(second), 1U);
  RunAll();
  ExpectAsAlone(second, second_spec);
}

TEST_F(SharedWorkTest, WhatTheWaiterDoesNotWantAnyMoreTheOwnerDoes) {
  v1::SearchJobSpec first_spec = RandomSpec(1);
  first_spec.mutable_objectives(1)->set_metric("macs");
  const v1::SearchJobSpec second_spec = RandomSpec(1);
  const std::string first = Submit(first_spec);
  const std::string second = Submit(second_spec);
  Finish(Lease(1)[0]);
  EXPECT_EQ(Metric("forall_task_waiters"), 1) << "the accuracy is shared";
  std::vector<v1::LeasedTask> leased = Lease(2);
  ASSERT_THAT(leased, SizeIs(2));
  if (leased[0].task().kind() != v1::Task::LATENCY) std::swap(leased[0], leased[1]);
  ASSERT_EQ(JobOf(leased[0]), second);
  Fail(leased[0], v1::TaskFailure::DETERMINISTIC);
  EXPECT_EQ(StateOf(second), v1::SearchJob::FAILED);
  EXPECT_EQ(Metric("forall_task_waiters"), 0);
  Finish(leased[1]);
  RunAll();
  ExpectAsAlone(first, first_spec);
}

TEST_F(SharedWorkTest, AWaiterThatIsCancelledLeavesTheOwnerAlone) {
  const v1::SearchJobSpec spec = RandomSpec(3);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  EXPECT_EQ(Metric("forall_task_waiters"), 3);
  FORALL_ASSERT_OK(Cancel(second));
  EXPECT_EQ(Metric("forall_task_waiters"), 0);
  FORALL_ASSERT_OK(Pause(first));
  EXPECT_THAT(Lease(1), IsEmpty()) << "nobody wants them now";
  FORALL_ASSERT_OK(Resume(first));
  RunAll();
  ExpectAsAlone(first, spec);
  ExpectEachOnce();
}

TEST_F(SharedWorkTest, AWaiterThatWasNotKeptWantsNothing) {
  const v1::SearchJobSpec spec = RandomSpec(3);
  const std::string first = Submit(spec);
  harness_->store()->FailFrom(1, FaultyStore::Fault::kLost,
                              absl::ResourceExhaustedError("disk full"));
  EXPECT_THAT(harness_->Submit(spec), StatusIs(absl::StatusCode::kResourceExhausted));
  harness_->Tick();
  harness_->store()->Heal();
  harness_->clock()->Advance(absl::Seconds(1));
  harness_->Tick();
  FORALL_ASSERT_OK(Pause(first));
  EXPECT_THAT(Lease(1), IsEmpty());
  FORALL_ASSERT_OK(Resume(first));
  RunAll();
  ExpectAsAlone(first, spec);
}

TEST_F(SharedWorkTest, AnImpossibleResultFeedsNobody) {
  const v1::SearchJobSpec spec = RandomSpec(2);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  Register("liar");
  int lies = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::vector<v1::LeasedTask> leased = Lease(1, i % 2 == 0 ? "liar" : "w");
    if (leased.empty()) break;
    if (i % 2 == 1 || lies == 1 || leased[0].task().kind() != v1::Task::LATENCY) {
      Finish(leased[0], i % 2 == 0 ? "liar" : "w");
      continue;
    }
    ++lies;
    v1::TaskResult result = harness_->Evaluate(leased[0]);
    result.mutable_latency_result()->set_ratio(-1);
    EXPECT_EQ(harness_->Complete("liar", result)->code(),
              static_cast<int>(absl::StatusCode::kInvalidArgument));
    for (const std::string& job : {first, second}) {
      for (const std::string& line : harness_->Log(job)) {
        EXPECT_THAT(line, Not(HasSubstr("latency_ms"))) << job;
      }
    }
  }
  EXPECT_EQ(lies, 1);
  ExpectAsAlone(first, spec);
  ExpectAsAlone(second, spec);
  ExpectEachOnce();
}

TEST_F(SharedWorkTest, ARejectedLatencyFeedsNobody) {
  const v1::SearchJobSpec spec = RandomSpec(2);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  int rejected = 0;
  const auto reject = [&](const v1::Task& task, v1::TaskResult* result) {
    if (task.kind() != v1::Task::LATENCY || rejected == 2) return;
    ++rejected;
    v1::LatencyResult* const latency = result->mutable_latency_result();
    latency->set_ratio(latency->ratio() / 10);
    latency->set_ratio_low(latency->ratio_low() / 10);
    latency->set_ratio_high(latency->ratio_high() / 10);
    latency->mutable_verdict()->set_state(v1::Verdict::REJECTED);
    latency->mutable_verdict()->add_reasons("shaken");
  };
  while (harness_->Step("w", reject)) {
  }
  EXPECT_EQ(rejected, 2);
  ExpectAsAlone(first, spec);
  ExpectAsAlone(second, spec);
  const std::vector<MeasurementRecord> stored = harness_->sqlite()->LoadMeasurements().value();
  for (const MeasurementRecord& record : stored) {
    if (record.verdict != VerdictState::kRejected) continue;
    for (const std::string& line : harness_->Log(second)) {
      if (JobName(record.job_id) == second) continue;
      EXPECT_THAT(line, Not(HasSubstr(absl::StrCat("[", record.id, "]"))));
    }
  }
}

TEST_F(SharedWorkTest, ARetractionReachesBothAndIsMeasuredOnceMore) {
  const v1::SearchJobSpec spec = RandomSpec(4);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  for (int i = 0; i < 8; ++i) Finish(Lease(1)[0]);
  v1::RetractMeasurementsRequest request;
  request.set_worker("workers/w");
  request.set_reason("its clock was wrong");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::RetractMeasurementsResponse retracted,
                              CallAndWait(controller(), &Controller::RetractMeasurements, request));
  EXPECT_THAT(retracted.jobs(), SizeIs(2));
  RunAll();
  ExpectAsAlone(first, spec);
  ExpectAsAlone(second, spec);
  int twice = 0;
  for (const auto& [key, times] : accepted_) {
    EXPECT_LE(times, 2) << key;
    twice += times == 2;
  }
  EXPECT_GT(twice, 0);
}

v1::SearchJobSpec PartSpec(int trials) {
  v1::SearchJobSpec spec = RandomSpec(trials);
  spec.mutable_objectives(1)->set_metric("macs");
  spec.mutable_fidelity()->clear_screening_images();
  spec.mutable_fidelity()->set_part_images(2048);
  return spec;
}

TEST_F(SharedWorkTest, PartsAreSharedOneByOne) {
  const v1::SearchJobSpec spec = PartSpec(2);
  const std::string first = Submit(spec);
  const std::string second = Submit(spec);
  RunAll();
  ExpectEachOnce();
  ExpectAsAlone(first, spec);
  ExpectAsAlone(second, spec);
}

TEST_F(SharedWorkTest, PartsThatTheOwnerGivesUpAreDoneByTheWaiterBesideTheOthers) {
  v1::SearchJobSpec spec = PartSpec(1);
  spec.set_seed(6);
  for (int done = 0; done < 4; ++done) {
    StartAnew();
    // From then on it is known how many images there are: all parts are open at once.
    Submit(PartSpec(1));
    RunAll();
    const std::string first = Submit(spec);
    const std::string second = Submit(spec);
    Finish(Lease(1)[0]);  // the export
    for (int i = 0; i < done; ++i) Finish(Lease(1)[0]);
    const std::vector<v1::LeasedTask> held = Lease(2);
    FORALL_ASSERT_OK(Cancel(first));
    // What nobody holds is open at once, not only when that comes in.
    const std::vector<v1::LeasedTask> rest = Lease(10);
    EXPECT_EQ(done + held.size() + rest.size(), 5U) << done;
    for (const v1::LeasedTask& task : rest) Finish(task);
    for (const v1::LeasedTask& task : held) Finish(task);
    RunAll();
    ExpectAsAlone(second, spec);
    ExpectEachOnce();
  }
}

TEST_F(SharedWorkTest, ManyJobsWaitForOneTaskAndOneOfThemGoesOn) {
  const v1::SearchJobSpec spec = RandomSpec(2);
  std::vector<std::string> jobs;
  for (int i = 0; i < 20; ++i) jobs.push_back(Submit(spec));
  EXPECT_EQ(Metric("forall_task_waiters"), 2 * 19);
  // One owner after the other goes.
  for (int i = 0; i < 10; ++i) {
    FORALL_ASSERT_OK(Cancel(jobs[i]));
    EXPECT_EQ(Metric("forall_tasks_waiting"), 2);
    EXPECT_EQ(Metric("forall_task_waiters"), 2 * (18 - i));
  }
  RunAll();
  ExpectEachOnce();
  for (int i = 10; i < 20; ++i) ExpectAsAlone(jobs[i], spec);
}

TEST_F(SharedWorkTest, WhoeverWaitsSaysWhatForWhenNobodyCanDoIt) {
  v1::SearchJobSpec spec = RandomSpec(1);
  Submit(spec);
  const std::string second = Submit(spec);
  Finish(Lease(1)[0]);
  const std::vector<v1::LeasedTask> leased = Lease(2);
  ASSERT_THAT(leased, SizeIs(2));
  Fail(leased[0], v1::TaskFailure::WORKER_UNABLE);
  EXPECT_THAT(harness_->Job(second)->waiting_reason(),
              HasSubstr(absl::StrCat("a worker that can do ", leased[0].task().name())));
}

// Invariant (4) for jobs that wait for each other: whenever the controller is killed, before or
// after a commit, both end as if nothing had happened, with every number measured once.
TEST_F(SharedWorkTest, Invariant4KilledAtEveryCommitBothJobsEndAsIfAlone) {
  const v1::SearchJobSpec first_spec = RandomSpec(4);
  v1::SearchJobSpec second_spec = RandomSpec(5);
  second_spec.set_parallelism(2);
  const auto run = [&](int64_t at, FaultyStore::Fault fault) {
    StartAnew();
    const std::string first = Submit(first_spec);
    const std::string second = Submit(second_spec);
    const int64_t before = harness_->store()->commits();
    if (at > 0) harness_->store()->FailFrom(at, fault, absl::UnavailableError("killed"));
    std::map<std::string, int> done;
    const auto note = [&](const v1::Task& task, v1::TaskResult*) { ++done[KeyOf(task)]; };
    for (int i = 0; i < 1000 && harness_->Step("w", note); ++i) {
    }
    for (const auto& [key, times] : done) EXPECT_EQ(times, 1) << key << " at " << at;
    ExpectAsAlone(first, first_spec);
    ExpectAsAlone(second, second_spec);
    const size_t open = TasksOf(first) + TasksOf(second);
    EXPECT_EQ(open, done.size()) << at;
    return harness_->store()->commits() - before;
  };
  const int64_t commits = run(0, FaultyStore::Fault::kLost);
  ASSERT_GT(commits, 15);
  for (const FaultyStore::Fault fault :
       {FaultyStore::Fault::kLost, FaultyStore::Fault::kUnanswered}) {
    for (int64_t at = 1; at <= commits && !HasFailure(); ++at) run(at, fault);
  }
}

// Whatever happens to many jobs of overlapping subnets, none is left waiting, none finds anything
// else than alone, and nothing is measured twice.
TEST_F(SharedWorkTest, AnyStoryOfManyJobsEndsAsIfEachWereAlone) {
  int64_t shared = 0;
  int compared = 0;
  for (uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Random random(seed);
    StartAnew();
    Register("v");
    struct Job {
      std::string name;
      v1::SearchJobSpec spec;
      bool cancelled = false;
      bool paused = false;
    };
    std::vector<Job> jobs;
    std::vector<std::pair<std::string, v1::LeasedTask>> held;
    const auto submit = [&] {
      v1::SearchJobSpec spec = RandomSpec(2 + static_cast<int>(random.Uniform(4)),
                                          5 + static_cast<int64_t>(random.Uniform(2)));
      spec.set_parallelism(1 + static_cast<int>(random.Uniform(4)));
      spec.set_priority(static_cast<int>(random.Uniform(3)) - 1);
      if (random.Bernoulli(0.3)) spec.mutable_objectives(1)->set_metric("macs");
      if (random.Bernoulli(0.2)) spec.mutable_fidelity()->set_screening_images(3000);
      if (random.Bernoulli(0.2)) spec.mutable_fidelity()->set_test_split(true);
      jobs.push_back({Submit(spec), spec});
    };
    const auto finish = [&](size_t i) {
      const auto [worker, leased] = held[i];
      held.erase(held.begin() + static_cast<int64_t>(i));
      const absl::StatusOr<v1::TaskCompletion> done =
          harness_->Complete(worker, harness_->Evaluate(leased));
      FORALL_ASSERT_OK(done);
      if (done->code() == 0) {
        ++accepted_[KeyOf(leased.task())];
      } else {
        EXPECT_EQ(done->code(), static_cast<int>(absl::StatusCode::kAborted)) << done->message();
      }
    };
    for (int i = 0; i < 3; ++i) submit();
    for (int step = 0; step < 80; ++step) {
      const double dice = random.Double();
      Job& job = jobs[random.Uniform(jobs.size())];
      if (dice < 0.35) {
        const std::string worker = random.Bernoulli(0.5) ? "w" : "v";
        const absl::StatusOr<v1::LeaseTasksResponse> leased =
            harness_->Lease(worker, 1 + static_cast<int>(random.Uniform(3)));
        if (!leased.ok()) {  // quarantined
          Register(worker);
          continue;
        }
        for (const v1::LeasedTask& task : leased->tasks()) held.emplace_back(worker, task);
      } else if (dice < 0.75) {
        if (!held.empty()) finish(random.Uniform(held.size()));
      } else if (dice < 0.80 && !held.empty()) {
        const auto [worker, leased] = held.back();
        held.pop_back();
        v1::TaskResult result;
        result.set_task(leased.task().name());
        result.set_lease_token(leased.lease().token());
        result.mutable_failure()->set_reason(
            random.Bernoulli(0.5) ? v1::TaskFailure::TRANSIENT : v1::TaskFailure::DETERMINISTIC);
        result.mutable_failure()->set_message("a reason");
        harness_->Complete(worker, result).status().IgnoreError();
      } else if (dice < 0.84) {
        job.cancelled |= Cancel(job.name).ok();
      } else if (dice < 0.88) {
        if (Delete(job.name).ok()) jobs.erase(jobs.begin() + (&job - jobs.data()));
        if (jobs.empty()) submit();
      } else if (dice < 0.92) {
        if (Pause(job.name).ok()) job.paused = true;
      } else if (dice < 0.95) {
        if (Resume(job.name).ok()) job.paused = false;
      } else if (dice < 0.97) {
        shared += static_cast<int64_t>(Metric("forall_tasks_shared_total"));
        harness_->Restart();
        Register("w");
        Register("v");
      } else if (dice < 0.98) {
        harness_->clock()->Advance(4 * ControllerHarness::kHeartbeat);
        harness_->Tick();
        Register("w");
        Register("v");
      } else if (jobs.size() < 8) {
        submit();
      }
    }
    while (!held.empty()) finish(0);
    harness_->clock()->Advance(4 * ControllerHarness::kHeartbeat);
    harness_->Tick();
    Register("w");
    for (const Job& job : jobs) Resume(job.name).IgnoreError();
    RunAll();
    shared += static_cast<int64_t>(Metric("forall_tasks_shared_total"));
    EXPECT_EQ(Metric("forall_task_waiters"), 0);
    ExpectEachOnce();
    for (const Job& job : jobs) {
      const absl::StatusOr<v1::SearchJob> ended = harness_->Job(job.name);
      FORALL_ASSERT_OK(ended);
      EXPECT_TRUE(ended->has_end_time()) << ended->ShortDebugString();
      const std::vector<std::string> log = harness_->Log(job.name);
      const bool failed = std::any_of(log.begin(), log.end(), [](const std::string& line) {
        return absl::StrContains(line, " failed ") && absl::StrContains(line, "\"last\":true");
      });
      if (ended->state() == v1::SearchJob::CANCELLED || failed) continue;
      ++compared;
      ExpectAsAlone(job.name, job.spec);
    }
  }
  EXPECT_GT(shared, 300);
  EXPECT_GT(compared, 40);
}

}  // namespace
}  // namespace forall
