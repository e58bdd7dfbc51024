// SPDX-License-Identifier: Apache-2.0
// Who a worker is to its controller: one process at a time, with leases that nobody can make up, of
// a protocol that both speak, for a device that is one piece of hardware.
#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/resource_names.h"
#include "search/controller/testing/controller_harness.h"
#include "search/store/store_backup.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr absl::Duration kBeat = ControllerHarness::kHeartbeat;

class ControllerIdentityTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::RegisterWorkerResponse> Register(const std::string& worker,
                                                      const std::string& instance) {
    v1::RegisterWorkerRequest request = harness_.Registration(worker);
    request.set_instance(instance);
    request.set_protocol_version(2);
    return Register(request);
  }
  absl::StatusOr<v1::RegisterWorkerResponse> Register(const v1::RegisterWorkerRequest& request) {
    return CallAndWait(controller(), &Controller::RegisterWorker, request);
  }
  absl::StatusOr<v1::LeaseTasksResponse> Lease(const std::string& worker,
                                               const std::string& instance, int max = 1) {
    v1::LeaseTasksRequest request;
    request.set_worker(worker);
    request.set_instance(instance);
    request.set_max_tasks(max);
    absl::StatusOr<v1::LeaseTasksResponse> answer;
    controller()->LeaseTasks(request, [&answer](absl::StatusOr<v1::LeaseTasksResponse> response) {
      answer = std::move(response);
    });
    return answer;
  }
  v1::LeasedTask LeaseOne(const std::string& worker, const std::string& instance) {
    const absl::StatusOr<v1::LeaseTasksResponse> leased = Lease(worker, instance);
    EXPECT_THAT(leased, IsOk());
    EXPECT_THAT(leased->tasks(), SizeIs(1));
    return leased->tasks(0);
  }
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const std::string& worker,
                                                  const std::string& instance,
                                                  const std::vector<v1::LeasedTask>& held = {}) {
    v1::HeartbeatRequest request;
    request.set_worker(worker);
    request.set_instance(instance);
    for (const v1::LeasedTask& leased : held) {
      v1::HeldLease* const lease = request.add_leases();
      lease->set_task(leased.task().name());
      lease->set_token(leased.lease().token());
    }
    return CallAndWait(controller(), &Controller::Heartbeat, request);
  }
  absl::StatusOr<v1::TaskCompletion> Complete(const std::string& worker,
                                              const std::string& instance,
                                              const v1::TaskResult& result) {
    v1::CompleteTasksRequest request;
    request.set_worker(worker);
    request.set_instance(instance);
    *request.add_results() = result;
    absl::StatusOr<v1::CompleteTasksResponse> response =
        CallAndWait(controller(), &Controller::CompleteTasks, request);
    if (!response.ok()) return response.status();
    return response->completions(0);
  }
  absl::Status Release(const std::string& worker, const std::string& instance,
                       const v1::LeasedTask& leased) {
    v1::ReleaseTaskRequest request;
    request.set_worker(worker);
    request.set_instance(instance);
    request.set_task(leased.task().name());
    request.set_lease_token(leased.lease().token());
    return CallAndWait(controller(), &Controller::ReleaseTask, request).status();
  }
  absl::Status Drain(const std::string& worker, const std::string& instance) {
    v1::DrainWorkerRequest request;
    request.set_name(WorkerName(worker));
    request.set_instance(instance);
    return CallAndWait(controller(), &Controller::DrainWorker, request).status();
  }
  void Submit(int trials = 4) {
    FORALL_ASSERT_OK(harness_.Submit(ControllerHarness::Spec(trials)).status());
  }
  v1::Worker Named(const std::string& worker) {
    v1::InspectWorkerRequest request;
    request.set_name(WorkerName(worker));
    return CallAndWait(controller(), &Controller::InspectWorker, request)->worker();
  }
  Controller* controller() { return harness_.controller(); }

  ControllerHarness harness_;
};

TEST_F(ControllerIdentityTest, SecondProcessOfOneIdIsRefusedWhileTheFirstLives) {
  FORALL_ASSERT_OK(Register("w", "one").status());
  harness_.clock()->Advance(kBeat);
  EXPECT_THAT(Register("w", "two"),
              StatusIs(absl::StatusCode::kAlreadyExists,
                       AllOf(HasSubstr("workers/w is another process, registered "),
                             HasSubstr("last heard of 5 s ago"), HasSubstr("--id"),
                             HasSubstr("silent for another 10 s"))));
  // Nor one that does not say who it is.
  EXPECT_THAT(Register("w", ""), StatusIs(absl::StatusCode::kAlreadyExists));
  // The same installation is back at once.
  FORALL_EXPECT_OK(Register("w", "one").status());
  EXPECT_EQ(Named("w").protocol_version(), 2);
}

TEST_F(ControllerIdentityTest, RefusalSaysWhereTheOtherIs) {
  v1::RegisterWorkerRequest request = harness_.Registration("w");
  request.set_instance("one");
  controller()->RegisterWorkerFrom("ipv4:10.0.0.9:1234", request, [](const auto&) {});
  FORALL_EXPECT_OK(Heartbeat("w", "one").status());
  EXPECT_THAT(Register("w", "two"),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("from ipv4:10.0.0.9:1234")));
}

TEST_F(ControllerIdentityTest, ProcessesThatDoNotSayWhoTheyAreAreAsTheyWere) {
  FORALL_ASSERT_OK(Register("w", "").status());
  FORALL_EXPECT_OK(Register("w", "").status());
  EXPECT_THAT(Register("w", "one"), StatusIs(absl::StatusCode::kAlreadyExists));
  harness_.clock()->Advance(3 * kBeat);
  FORALL_EXPECT_OK(Register("w", "one").status());
  EXPECT_THAT(Heartbeat("w", ""), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ControllerIdentityTest, NewcomerTakesOverOnceTheOtherIsSilentAndNothingCountsTwice) {
  FORALL_ASSERT_OK(Register("w", "one").status());
  Submit();
  const v1::LeasedTask leased = LeaseOne("w", "one");
  const v1::TaskResult result = harness_.Evaluate(leased);
  harness_.clock()->Advance(3 * kBeat);
  FORALL_ASSERT_OK(Register("w", "two").status());
  EXPECT_THAT(Heartbeat("w", "one", {leased}), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Lease("w", "one"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Complete("w", "one", result), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Release("w", "one", leased), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Drain("w", "one"), StatusIs(absl::StatusCode::kFailedPrecondition));
  // Its task is in the queue again, and nobody's result under the old lease counts.
  EXPECT_EQ(Complete("w", "two", result)->code(), static_cast<int>(absl::StatusCode::kAborted));
  const v1::LeasedTask again = LeaseOne("w", "two");
  EXPECT_EQ(again.task().name(), leased.task().name());
  EXPECT_NE(again.lease().token(), leased.lease().token());
  EXPECT_EQ(Complete("w", "two", harness_.Evaluate(again))->code(), 0);
  EXPECT_EQ(Named("w").state(), v1::Worker::ACTIVE);
}

TEST_F(ControllerIdentityTest, AnyCallIsASignOfLife) {
  FORALL_ASSERT_OK(Register("w", "one").status());
  Submit();
  const v1::LeasedTask leased = LeaseOne("w", "one");
  harness_.clock()->Advance(2 * kBeat);
  EXPECT_EQ(Complete("w", "one", harness_.Evaluate(leased))->code(), 0);
  harness_.clock()->Advance(2 * kBeat);
  EXPECT_THAT(Register("w", "two"), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST_F(ControllerIdentityTest, DrainedProcessMakesRoomAtOnce) {
  FORALL_ASSERT_OK(Register("w", "one").status());
  FORALL_ASSERT_OK(Drain("w", "one"));
  FORALL_EXPECT_OK(Register("w", "two").status());
  EXPECT_EQ(Named("w").state(), v1::Worker::ACTIVE);
  // An operator names nobody.
  FORALL_EXPECT_OK(Drain("w", ""));
}

TEST_F(ControllerIdentityTest, AfterARestartWhoeverComesFirstIsTheWorker) {
  FORALL_ASSERT_OK(Register("w", "one").status());
  Submit();
  const v1::LeasedTask leased = LeaseOne("w", "one");
  harness_.Restart();
  EXPECT_THAT(Heartbeat("w", "one"), StatusIs(absl::StatusCode::kNotFound));
  FORALL_ASSERT_OK(Register("w", "one").status());
  EXPECT_THAT(Heartbeat("w", "one", {leased})->lost_tokens(), SizeIs(0));
  EXPECT_THAT(Register("w", "two"), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(Complete("w", "one", harness_.Evaluate(leased))->code(), 0);
}

TEST_F(ControllerIdentityTest, InstanceIsPrintableAndShort) {
  for (const std::string& bad : {std::string(65, 'a'), std::string("a\nb"), std::string("\xff")}) {
    EXPECT_THAT(Register("w", bad),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("instance")));
  }
  FORALL_EXPECT_OK(Register("w", std::string(64, 'a')).status());
}

TEST_F(ControllerIdentityTest, LeaseOfAnEarlierLifeIsItsOwnWorkersAndTasksAlone) {
  harness_.Register("a");
  harness_.Register("b");
  Submit();
  const v1::LeasedTask mine = LeaseOne("a", "");
  const v1::LeasedTask other = LeaseOne("b", "");
  harness_.Restart();
  harness_.Register("a");
  harness_.Register("b");
  v1::LeasedTask swapped = mine;
  *swapped.mutable_lease() = other.lease();
  EXPECT_THAT(Heartbeat("b", "", {mine})->lost_tokens(), SizeIs(1)) << "another worker's";
  EXPECT_THAT(Heartbeat("b", "", {swapped})->lost_tokens(), SizeIs(1)) << "another task's";
  v1::LeasedTask made_up = mine;
  made_up.mutable_lease()->set_token("1-1");
  EXPECT_THAT(Heartbeat("a", "", {made_up})->lost_tokens(), SizeIs(1));
  EXPECT_THAT(Heartbeat("a", "", {mine})->lost_tokens(), SizeIs(0));
  // Also over a second restart, with the token of the first life.
  harness_.Restart();
  harness_.Register("a");
  EXPECT_EQ(Complete("a", "", harness_.Evaluate(mine))->code(), 0);
}

class RestoredStoreTest : public ::testing::Test {
 protected:
  // Of subnets that a job of another seed does not want: its tasks are its own.
  static v1::SearchJobSpec RandomSpec(int trials, int64_t seed) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    spec.mutable_sampler()->set_algorithm("random");
    spec.set_seed(seed);
    return spec;
  }
  static v1::TaskCompletion Complete(ControllerHarness* harness, const v1::TaskResult& result) {
    const absl::StatusOr<v1::TaskCompletion> completion = harness->Complete("w", result);
    EXPECT_THAT(completion, IsOk());
    return completion.ok() ? *completion : v1::TaskCompletion();
  }

  TempDir folder_;
  const std::string db_ = folder_ / "store.db";
  const std::string copy_ = folder_ / "copy.db";
};

// The workers need not be stopped: what they hold is of a controller that there never was.
TEST_F(RestoredStoreTest, NoLeaseIsGoodForTheControllerOfABackup) {
  ControllerHarness original({.path = db_});
  original.Register("w");
  FORALL_ASSERT_OK(original.Submit(ControllerHarness::Spec(4)).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse before, original.Lease("w"));
  FORALL_ASSERT_OK(BackUpStore({.db = db_, .file = copy_, .with_artifacts = false}).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse after, original.Lease("w"));
  ASSERT_THAT(before.tasks(), SizeIs(1));
  ASSERT_THAT(after.tasks(), SizeIs(1));

  ControllerHarness restored({.path = copy_});
  restored.Register("w");
  for (const v1::LeaseTasksResponse& leased : {before, after}) {
    EXPECT_EQ(Complete(&restored, restored.Evaluate(leased.tasks(0))).code(),
              static_cast<int>(absl::StatusCode::kAborted));
  }
  // They are handed out anew, and the job goes on to its end.
  EXPECT_EQ(restored.RunToEnd("searchJobs/1").state(), v1::SearchJob::SUCCEEDED);
}

// A copy of the file has the secret of the life that it was taken in: what it knows it may know
// again, but none of the tasks that were made since.
TEST_F(RestoredStoreTest, LeasesOfLaterTasksAreNotGoodForACopyOfTheFile) {
  ControllerHarness original({.path = db_});
  original.Register("w");
  FORALL_ASSERT_OK(original.Submit(ControllerHarness::Spec(4)).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse before, original.Lease("w"));
  for (const char* part : {"", "-wal"}) {
    std::filesystem::copy_file(db_ + part, copy_ + part);
  }
  FORALL_ASSERT_OK(original.Submit(RandomSpec(2, 1)).status());
  v1::LeasedTask later;
  while (later.task().trial().find("searchJobs/2/") != 0) {
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, original.Lease("w"));
    ASSERT_THAT(leased.tasks(), SizeIs(1));
    later = leased.tasks(0);
  }
  ControllerHarness copy({.path = copy_});
  // Another search, whose tasks have the numbers that the second one had.
  FORALL_ASSERT_OK(copy.Submit(RandomSpec(3, 2)).status());
  copy.Register("w");
  const v1::TaskCompletion refused = Complete(&copy, copy.Evaluate(later));
  EXPECT_EQ(refused.code(), static_cast<int>(absl::StatusCode::kAborted));
  EXPECT_THAT(refused.message(), HasSubstr("is not current")) << "the task is there and waits";
  EXPECT_EQ(Complete(&copy, copy.Evaluate(before.tasks(0))).code(), 0);
}

TEST_F(ControllerIdentityTest, VersionsOutsideOfTheWindowAreToldWhichSideToUpgrade) {
  v1::RegisterWorkerRequest request = harness_.Registration("w");
  request.set_protocol_version(3);
  EXPECT_THAT(Register(request),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("speaks protocol version 3"), HasSubstr("versions 1 to 2"),
                             HasSubstr("upgrade the controller"))));
  request.set_protocol_version(-1);
  EXPECT_THAT(Register(request), StatusIs(absl::StatusCode::kInvalidArgument));
  for (const int version : {0, 1, 2}) {
    request.set_protocol_version(version);
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::RegisterWorkerResponse response, Register(request));
    EXPECT_EQ(response.min_protocol_version(), 1);
    EXPECT_EQ(response.max_protocol_version(), 2);
    EXPECT_EQ(response.worker().protocol_version(), std::max(1, version));
  }
}

TEST_F(ControllerIdentityTest, OneDeviceIsOnePieceOfHardware) {
  harness_.Register("a", "pi", "f1");
  // Several alike under one name are fine.
  harness_.Register("b", "pi", "f1");
  harness_.Register("c", "pc", "f2");
  EXPECT_THAT(
      Register(harness_.Registration("d", "pi", "f2")),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("devices/pi is served by workers/a"), HasSubstr("--device"))));
  // One that was changed is still the device of its one worker; of two, both must have been.
  harness_.Register("c", "pc", "f3");
  EXPECT_THAT(Register(harness_.Registration("a", "pi", "f2")),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("workers/b")));
  FORALL_EXPECT_OK(Drain("b", ""));
  harness_.Register("a", "pi", "f2");
  harness_.Register("b", "pi", "f2");
  // Nobody waits for one that has gone.
  harness_.clock()->Advance(3 * kBeat);
  harness_.Register("d", "pi", "f4");
}

TEST_F(ControllerIdentityTest, SilentWorkerWhoseDeviceAnotherServesMustRegisterAnew) {
  harness_.Register("a", "pi", "f1");
  harness_.clock()->Advance(3 * kBeat);
  harness_.Register("b", "pi", "f2");
  EXPECT_THAT(Heartbeat("a", ""), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Lease("a", ""), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Register(harness_.Registration("a", "pi", "f1")),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("workers/b")));
  harness_.clock()->Advance(3 * kBeat);
  harness_.Register("a", "pi", "f1");
  FORALL_EXPECT_OK(Heartbeat("a", "").status());
  EXPECT_THAT(Heartbeat("b", ""), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ControllerIdentityTest, OnlySoManyWorkersAreTaken) {
  harness_.set_max_workers(2);
  harness_.Restart();
  FORALL_ASSERT_OK(Register("a", "1"));
  FORALL_ASSERT_OK(Register("b", "1"));
  EXPECT_THAT(Register("c", "1"),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("--max-workers")));
  FORALL_EXPECT_OK(Register("a", "1")) << "who is there may come again";
  harness_.clock()->Advance(absl::Minutes(59));
  EXPECT_THAT(Register("c", "1"), StatusIs(absl::StatusCode::kResourceExhausted));
  FORALL_EXPECT_OK(Register("b", "1"));
  harness_.clock()->Advance(absl::Minutes(2));
  FORALL_EXPECT_OK(Register("c", "1")) << "a was silent for an hour";
  EXPECT_THAT(Lease("a", "1"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Register("a", "1"), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(ControllerIdentityTest, WhoMeasuresNoLatenciesClashesWithNobody) {
  harness_.Register("a", "pi", "f1");
  v1::RegisterWorkerRequest exporter = harness_.Registration("b", "pi", "f2");
  exporter.add_kinds(v1::Task::EXPORT);
  FORALL_EXPECT_OK(Register(exporter).status());
  FORALL_EXPECT_OK(Heartbeat("a", "").status());
  FORALL_EXPECT_OK(Register(harness_.Registration("a", "pi", "f1")).status());
}

TEST_F(ControllerIdentityTest, WhoMeasuresNoLatenciesSaysNotWhatADeviceIs) {
  harness_.Register("a", "pi", "f1");
  const std::string job = harness_.Submit(ControllerHarness::Spec(4))->name();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(harness_.Step("a"));
  v1::RegisterWorkerRequest exporter = harness_.Registration("b", "pi", "f2");
  exporter.add_kinds(v1::Task::EXPORT);
  FORALL_EXPECT_OK(Register(exporter).status());
  EXPECT_EQ(harness_.Job(job)->state(), v1::SearchJob::RUNNING);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<DeviceRecord> devices,
                              harness_.store()->LoadDevices());
  ASSERT_EQ(devices.size(), 1u);
  EXPECT_EQ(devices[0].fingerprint, "f1");
  EXPECT_EQ(harness_.RunToEnd(job, "a").state(), v1::SearchJob::SUCCEEDED);
}

TEST_F(ControllerIdentityTest, OneWorkerCannotNameDevicesWithoutEnd) {
  harness_.set_max_workers(5);
  harness_.Restart();
  for (int i = 0; i < 1000; ++i) {
    FORALL_ASSERT_OK(Register(harness_.Registration("a", absl::StrCat("d", i), "f")).status());
  }
  EXPECT_THAT(Register(harness_.Registration("a", "one-more", "f")),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("1000 devices")));
  FORALL_EXPECT_OK(Register(harness_.Registration("a", "d7", "f2")).status()) << "it is known";
  v1::RegisterWorkerRequest exporter = harness_.Registration("b", "one-more", "f");
  exporter.add_kinds(v1::Task::EXPORT);
  FORALL_EXPECT_OK(Register(exporter).status()) << "nothing is kept of its device";
}

TEST_F(ControllerIdentityTest, WhatAWorkerSaysOfItselfIsBoundedInAll) {
  v1::RegisterWorkerRequest request = harness_.Registration("a", "pi", "f");
  for (int i = 0; i < 70; ++i) {
    (*request.mutable_device()->mutable_properties())[absl::StrCat("p", i)] =
        std::string(1000, 'x');
  }
  EXPECT_THAT(Register(request), StatusIs(absl::StatusCode::kInvalidArgument,
                                          HasSubstr("at most 65536 bytes of texts in all")));
}

}  // namespace
}  // namespace forall
