// SPDX-License-Identifier: Apache-2.0
// Supernets that are deleted: what goes, what others keep, and what begins anew.
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "search/store/store_check.h"
#include "search/store/store_garbage.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::RandomTensors;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::forall::testing::TinyFamily;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kFirst[] = "supernets/fashion_mnist";  // the harness's
constexpr char kSecond[] = "supernets/second";        // of the same search space

class SupernetDeletionTest : public ::testing::Test {
 protected:
  explicit SupernetDeletionTest(SqliteResultStore::Options store = {.path = ":memory:"})
      : harness_(std::move(store), TinyFamily()) {
    PackageOptions package;
    package.dataset = "fashion_mnist";
    weights_ =
        harness_.artifacts()
            ->Put(BuildWeightsFile(*TinyFamily(), RandomTensors(*TinyFamily(), 8), package).value())
            .value();
  }
  Controller* controller() { return harness_.controller(); }

  absl::StatusOr<v1::Supernet> Create(const std::string& id) {
    v1::CreateSupernetRequest request;
    request.set_supernet_id(id);
    request.set_sha256(weights_);
    return CallAndWait(controller(), &Controller::CreateSupernet, request);
  }
  absl::StatusOr<v1::DeleteSupernetResponse> Delete(const std::string& name, bool dry_run = false) {
    v1::DeleteSupernetRequest request;
    request.set_name(name);
    request.set_dry_run(dry_run);
    return CallAndWait(controller(), &Controller::DeleteSupernet, request);
  }
  absl::Status DeleteJob(const std::string& name) {
    v1::DeleteSearchJobRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::DeleteSearchJob, request).status();
  }
  bool Has(const std::string& name) {
    v1::GetSupernetRequest request;
    request.set_name(name);
    return CallAndWait(controller(), &Controller::GetSupernet, request).ok();
  }
  absl::StatusOr<v1::SearchJob> Submit(const std::string& supernet, int trials, int64_t seed) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    spec.set_supernet(supernet);
    spec.set_seed(seed);
    return harness_.Submit(spec);
  }
  // Models of `supernet` are its own, as they are where weights differ.
  ControllerHarness::Spoil Models(const std::string& supernet) {
    return [this, supernet](const v1::Task& task, v1::TaskResult* result) {
      ++tasks_;
      if (task.kind() != v1::Task::EXPORT) return;
      const std::string content =
          absl::StrCat("onnx of ", supernet, " ", task.arch_key(), " ", task.recipe());
      v1::ExportResult* const exported = result->mutable_export_result();
      exported->set_artifact_sha256(harness_.artifacts()->Put(content).value());
      exported->set_size_bytes(static_cast<int64_t>(content.size()));
    };
  }
  std::string RunJob(const std::string& supernet, int trials, int64_t seed) {
    const absl::StatusOr<v1::SearchJob> job = Submit(supernet, trials, seed);
    FORALL_EXPECT_OK(job);
    if (!job.ok()) return "";
    tasks_ = 0;
    EXPECT_EQ(harness_.RunToEnd(job->name(), "w", Models(supernet)).state(),
              v1::SearchJob::SUCCEEDED);
    return job->name();
  }
  size_t Measurements() { return harness_.sqlite()->LoadMeasurements()->size(); }
  // What memory says of its content.
  std::string Status() {
    std::string text;
    const auto status =
        CallAndWait(controller(), &Controller::GetServerStatus, v1::GetServerStatusRequest());
    for (const auto& [key, value] : status->values()) {
      if (key == "measurements") text = value;
    }
    v1::InspectWorkerRequest inspect;
    inspect.set_name("workers/w");
    inspect.set_latencies(100);
    const auto worker = CallAndWait(controller(), &Controller::InspectWorker, inspect);
    EXPECT_THAT(worker.status(), IsOk());
    for (const v1::Measurement& latency : worker->latencies()) {
      absl::StrAppend(&text, "\n", latency.ShortDebugString());
    }
    return text;
  }

  ControllerHarness harness_;
  std::string weights_;
  int tasks_ = 0;  // of the last RunJob
};

TEST_F(SupernetDeletionTest, ItGoesWithItsNumbersAndBeginsAnew) {
  FORALL_ASSERT_OK(Create("second").status());
  harness_.Register("w");
  const std::string job = RunJob(kSecond, 12, 7);
  const int tasks = tasks_;
  FORALL_ASSERT_OK(DeleteJob(job));
  const size_t before = Measurements();
  FORALL_ASSERT_OK_AND_ASSIGN(const StoreIds ids, harness_.sqlite()->LoadIds());
  // Only said at first.
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::DeleteSupernetResponse would, Delete(kSecond, true));
  EXPECT_TRUE(Has(kSecond));
  EXPECT_EQ(Measurements(), before);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::DeleteSupernetResponse went, Delete(kSecond));
  EXPECT_EQ(went.ShortDebugString(), would.ShortDebugString());
  EXPECT_EQ(went.measurements(), static_cast<int64_t>(before));
  EXPECT_EQ(went.exports(), 12);
  EXPECT_EQ(went.kept_measurements(), 0);
  for (const bool restarted : {false, true}) {
    if (restarted) harness_.Restart();
    harness_.Register("w");
    EXPECT_FALSE(Has(kSecond));
    EXPECT_TRUE(Has(kFirst));
    EXPECT_THAT(Delete(kSecond), StatusIs(absl::StatusCode::kNotFound));
    EXPECT_THAT(Submit(kSecond, 3, 1), StatusIs(absl::StatusCode::kNotFound));
    EXPECT_EQ(Measurements(), 0u);
    EXPECT_THAT(harness_.sqlite()->LoadExports(), IsOkAndHolds(IsEmpty()));
    EXPECT_EQ(Status(), "0");
    EXPECT_THAT(harness_.sqlite()->LoadIds(), IsOkAndHolds(ids));
  }
  // The same file under the same name, the same search: every number is measured anew.
  FORALL_ASSERT_OK(Create("second").status());
  const std::string again = RunJob(kSecond, 12, 7);
  EXPECT_EQ(tasks_, tasks);
  EXPECT_EQ(harness_.Job(again)->reused_trials(), 0);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto measurements, harness_.sqlite()->LoadMeasurements());
  ASSERT_THAT(measurements, Not(IsEmpty()));
  EXPECT_EQ(measurements.front().id, ids.measurement + 1) << "numbers do not come back";
}

TEST_F(SupernetDeletionTest, InOneLifeItBeginsAnewToo) {
  FORALL_ASSERT_OK(Create("second").status());
  harness_.Register("w");
  FORALL_ASSERT_OK(DeleteJob(RunJob(kSecond, 12, 7)));
  const int tasks = tasks_;
  FORALL_ASSERT_OK(Delete(kSecond).status());
  FORALL_ASSERT_OK(Create("second").status());
  const std::string again = RunJob(kSecond, 12, 7);
  EXPECT_EQ(tasks_, tasks);
  EXPECT_EQ(harness_.Job(again)->reused_trials(), 0);
  const std::string status = Status();
  const v1::QueryParetoFrontierResponse frontier = harness_.Frontier(again);
  // What reads from memory is what would be read from the store.
  harness_.Restart();
  harness_.Register("w");
  EXPECT_EQ(Status(), status);
  EXPECT_EQ(harness_.Frontier(again).ShortDebugString(), frontier.ShortDebugString());
}

TEST_F(SupernetDeletionTest, JobsThatUseItAreNamed) {
  FORALL_ASSERT_OK(Create("second").status());
  harness_.Register("w");
  const std::string one = RunJob(kSecond, 3, 1);
  for (const bool dry_run : {true, false}) {
    EXPECT_THAT(Delete(kSecond, dry_run),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr("is used by 1 job (searchJobs/1)"),
                               HasSubstr("delete it first"))));
  }
  for (int64_t seed = 2; seed <= 7; ++seed) FORALL_ASSERT_OK(Submit(kSecond, 3, seed).status());
  EXPECT_THAT(Delete(kSecond),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("is used by 7 jobs"), HasSubstr("searchJobs/5, ...)"),
                             Not(HasSubstr("searchJobs/6")))));
  EXPECT_TRUE(Has(kSecond));
  EXPECT_THAT(Delete("supernets/none"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Delete("second"), StatusIs(absl::StatusCode::kInvalidArgument));
}

// Latencies are of graphs, whatever the weights. A job that learnt from the other supernet's names
// their measurements in its log.
TEST_F(SupernetDeletionTest, WhatAnotherSupernetsJobsRestOnStays) {
  FORALL_ASSERT_OK(Create("second").status());
  harness_.Register("w");
  const std::string first = RunJob(kFirst, 20, 7);
  const std::string same = RunJob(kSecond, 8, 7);  // begins with the first one's subnets
  v1::SearchJobSpec spec = ControllerHarness::Spec(10);
  spec.set_supernet(kSecond);
  spec.mutable_sampler()->set_algorithm("guided");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob warm, harness_.Submit(spec));
  harness_.RunToEnd(warm.name(), "w", Models(kSecond));
  spec.set_seed(8);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob going, harness_.Submit(spec));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness_.Step("w", Models(kSecond)));
  bool learnt = false;
  for (const std::string& line : harness_.Log(warm.name())) {
    learnt |= line.find("known") != std::string::npos;
  }
  EXPECT_TRUE(learnt) << "the test means nothing";

  const auto frontiers = [&] {
    std::string text;
    for (const std::string& job : {same, warm.name()}) {
      absl::StrAppend(&text, harness_.Frontier(job).ShortDebugString(), "\n");
    }
    return text;
  };
  // The trial that a shared measurement was first made for is gone with its job.
  FORALL_ASSERT_OK(DeleteJob(first));
  const std::string before = frontiers();
  const size_t all = Measurements();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::DeleteSupernetResponse went, Delete(kFirst));
  EXPECT_GT(went.measurements(), 0);
  EXPECT_GT(went.kept_measurements(), 0);
  EXPECT_EQ(went.exports(), 20);
  EXPECT_EQ(Measurements(), all - static_cast<size_t>(went.measurements()));
  EXPECT_EQ(frontiers(), before);
  harness_.Restart();
  EXPECT_EQ(frontiers(), before);
  harness_.Register("w");
  EXPECT_EQ(harness_.RunToEnd(going.name(), "w", Models(kSecond)).state(),
            v1::SearchJob::SUCCEEDED);
  // Once the second has gone as well nothing is left.
  for (const std::string& job : {same, warm.name(), going.name()}) FORALL_ASSERT_OK(DeleteJob(job));
  FORALL_ASSERT_OK(Delete(kSecond).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto left, harness_.sqlite()->LoadMeasurements());
  for (const MeasurementRecord& record : left) {
    // Known ones of subnets that only the first had: nobody's now, and no model's.
    EXPECT_EQ(record.key.metric, "latency_ms");
  }
}

TEST_F(SupernetDeletionTest, RetractedOnesThatALogNamesStay) {
  FORALL_ASSERT_OK(Create("second").status());
  harness_.Register("w");
  const std::string first = RunJob(kFirst, 8, 7);
  const std::string job = RunJob(kSecond, 8, 7);
  v1::RetractMeasurementsRequest retract;
  retract.set_worker("workers/w");
  retract.set_reason("fan was dead");
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::RetractMeasurements, retract).status());
  FORALL_ASSERT_OK(DeleteJob(first));
  FORALL_ASSERT_OK(Delete(kFirst).status());
  const std::vector<std::string> log = harness_.Log(job);
  harness_.Restart();
  EXPECT_EQ(harness_.Log(job), log);
}

TEST_F(SupernetDeletionTest, OneOfTwoNamesOfAFileGoesAlone) {
  FORALL_ASSERT_OK(Create("second").status());
  FORALL_ASSERT_OK(Create("twin").status());
  harness_.Register("w");
  const std::string job = RunJob("supernets/twin", 4, 7);
  const size_t all = Measurements();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::DeleteSupernetResponse went, Delete(kSecond));
  EXPECT_EQ(went.measurements() + went.exports(), 0);
  EXPECT_EQ(Measurements(), all);
  harness_.Restart();
  harness_.Register("w");
  const std::string again = RunJob("supernets/twin", 4, 7);
  EXPECT_EQ(harness_.Job(again)->reused_trials(), 4);
}

TEST_F(SupernetDeletionTest, ALateResultIsRefused) {
  FORALL_ASSERT_OK(Create("second").status());
  harness_.Register("w");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, Submit(kSecond, 3, 7));
  ASSERT_TRUE(harness_.Step("w", Models(kSecond)));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  ASSERT_THAT(leased.tasks(), SizeIs(1));
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(job.name());
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::CancelSearchJob, cancel).status());
  EXPECT_THAT(Delete(kSecond), StatusIs(absl::StatusCode::kFailedPrecondition));
  harness_.clock()->Advance(3 * ControllerHarness::kHeartbeat);
  harness_.Tick();
  FORALL_ASSERT_OK(DeleteJob(job.name()));
  FORALL_ASSERT_OK(Delete(kSecond).status());
  harness_.Register("w");
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased.tasks(0)))->code(),
            static_cast<int>(absl::StatusCode::kAborted));
  EXPECT_EQ(Measurements(), 0u);
  // And the worker goes on.
  RunJob(kFirst, 3, 7);
}

// In the round that deletes it the store still has it.
TEST_F(SupernetDeletionTest, TheNameIsFreeOnceTheDeletionIsStored) {
  FORALL_ASSERT_OK(Create("second").status());
  std::optional<absl::Status> third, deleted, created;
  harness_.store()->Hang();
  v1::CreateSupernetRequest create;
  create.set_sha256(weights_);
  create.set_supernet_id("third");
  controller()->CreateSupernet(create, [&](const auto& done) { third = done.status(); });
  v1::DeleteSupernetRequest remove;
  remove.set_name(kSecond);
  controller()->DeleteSupernet(remove, [&](const auto& done) { deleted = done.status(); });
  create.set_supernet_id("second");
  controller()->CreateSupernet(create, [&](const auto& done) { created = done.status(); });
  EXPECT_FALSE(deleted.has_value());
  harness_.store()->GoOn();
  while (!Has("supernets/third")) FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  FORALL_ASSERT_OK(Create("second").status());
  FORALL_EXPECT_OK(*third);
  FORALL_EXPECT_OK(*deleted);
  EXPECT_THAT(*created, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("being deleted")));
  harness_.Restart();
  EXPECT_TRUE(Has(kSecond));
}

TEST_F(SupernetDeletionTest, JobsAndTheirSupernetGoInOneRound) {
  FORALL_ASSERT_OK(Create("second").status());
  harness_.Register("w");
  const std::string job = RunJob(kSecond, 4, 7);
  harness_.store()->Hang();
  v1::CreateSupernetRequest create;
  create.set_sha256(weights_);
  create.set_supernet_id("third");
  controller()->CreateSupernet(create, [](const auto&) {});
  v1::DeleteSearchJobRequest remove_job;
  remove_job.set_name(job);
  controller()->DeleteSearchJob(remove_job, [](const auto&) {});
  v1::DeleteSupernetRequest remove;
  remove.set_name("supernets/third");
  controller()->DeleteSupernet(remove, [](const auto&) {});
  remove.set_name(kSecond);
  controller()->DeleteSupernet(remove, [](const auto&) {});
  harness_.store()->GoOn();
  FORALL_ASSERT_OK(Create("fourth").status());
  harness_.Restart();
  EXPECT_FALSE(Has(kSecond));
  EXPECT_FALSE(Has("supernets/third"));
  EXPECT_EQ(Measurements(), 0u);
}

TEST(SupernetDeletionFaultTest, AfterAFailedCommitItIsThereOrGoneAndNeverHalf) {
  for (const FaultyStore::Fault fault :
       {FaultyStore::Fault::kLost, FaultyStore::Fault::kUnanswered}) {
    // The batch before the deletion, and the deletion.
    for (int64_t at = 1; at <= 2; ++at) {
      ControllerHarness harness;
      harness.Register("w");
      const std::string job = harness.Submit(ControllerHarness::Spec(6))->name();
      harness.RunToEnd(job);
      v1::DeleteSearchJobRequest remove;
      remove.set_name(job);
      FORALL_ASSERT_OK(
          CallAndWait(harness.controller(), &Controller::DeleteSearchJob, remove).status());
      FORALL_ASSERT_OK(harness.sqlite()->Commit({}));
      const size_t measurements = harness.sqlite()->LoadMeasurements()->size();
      v1::DeleteSupernetRequest request;
      request.set_name(kFirst);
      harness.store()->FailFrom(at, fault, absl::UnavailableError("killed"));
      EXPECT_THAT(CallAndWait(harness.controller(), &Controller::DeleteSupernet, request),
                  StatusIs(absl::StatusCode::kUnavailable));
      harness.Restart();
      const bool gone = fault == FaultyStore::Fault::kUnanswered && at == 2;
      EXPECT_THAT(harness.sqlite()->LoadSupernets(), IsOkAndHolds(SizeIs(gone ? 0 : 1)));
      EXPECT_THAT(harness.sqlite()->LoadExports(), IsOkAndHolds(SizeIs(gone ? 0 : 6)));
      EXPECT_THAT(harness.sqlite()->LoadMeasurements(),
                  IsOkAndHolds(SizeIs(gone ? 0 : measurements)));
      if (gone) continue;
      FORALL_ASSERT_OK_AND_ASSIGN(
          const v1::DeleteSupernetResponse went,
          CallAndWait(harness.controller(), &Controller::DeleteSupernet, request));
      EXPECT_EQ(went.measurements(), static_cast<int64_t>(measurements));
    }
  }
}

// Files go with the next gc, and nothing else misses them.
TEST(SupernetDeletionFileTest, ItsFilesAreLeftToTheGarbage) {
  TempDir folder;
  const std::string path = folder / "forall.db";
  std::string artifacts;
  size_t files = 0;
  {
    ControllerHarness harness({.path = path});
    artifacts = folder / "artifacts";
    harness.Register("w");
    const std::string job = harness.Submit(ControllerHarness::Spec(6))->name();
    harness.RunToEnd(job);
    v1::DeleteSearchJobRequest remove;
    remove.set_name(job);
    FORALL_ASSERT_OK(
        CallAndWait(harness.controller(), &Controller::DeleteSearchJob, remove).status());
    v1::DeleteSupernetRequest request;
    request.set_name(kFirst);
    FORALL_ASSERT_OK(
        CallAndWait(harness.controller(), &Controller::DeleteSupernet, request).status());
    FORALL_ASSERT_OK_AND_ASSIGN(
        const CheckReport report,
        CheckStore({.db = path, .artifacts = harness.artifacts_path(), .deep = true}));
    for (const auto& finding : report.findings) ADD_FAILURE() << finding.what;
    files = static_cast<size_t>(report.artifacts);
    EXPECT_EQ(files, 7u);  // the weights and six models
    std::filesystem::copy(harness.artifacts_path(), artifacts,
                          std::filesystem::copy_options::recursive);
  }
  GarbageOptions options;
  options.db = path;
  options.artifacts = artifacts;
  options.named_by_spec = [](const std::string&) { return std::vector<std::string>(); };
  options.least_age = -absl::Hours(1);
  FORALL_ASSERT_OK_AND_ASSIGN(const GarbageReport garbage, CollectGarbage(options));
  EXPECT_THAT(garbage.removed, SizeIs(files));
  EXPECT_EQ(garbage.kept, 0);
  FORALL_ASSERT_OK_AND_ASSIGN(const CheckReport report,
                              CheckStore({.db = path, .artifacts = artifacts, .deep = true}));
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(report.artifacts, 0);
}

}  // namespace
}  // namespace forall
