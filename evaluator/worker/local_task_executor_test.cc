// SPDX-License-Identifier: Apache-2.0
// Real exports, accuracies and latencies of the fashion_mnist family with formula weights, on the
// images that tools/setup.sh fetched; skipped without them.
#include "evaluator/worker/local_task_executor.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "data/folder/image_folder.h"
#include "data/image/testing/test_images.h"
#include "evaluator/worker/testing/fake_artifact_service.h"
#include "evaluator/worker/testing/local_server.h"
#include "runtime/testing/tiny_model.h"
#include "space/family.h"
#include "space/identity.h"
#include "space/network_blocks.h"

namespace forall {
namespace {

using ::forall::testing::FakeArtifactService;
using ::forall::testing::IsOk;
using ::forall::testing::LocalServer;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

std::string SupernetBytes(const Family& family, const std::string& dataset = "fashion_mnist") {
  std::vector<NamedTensor> tensors;
  Random random(5);
  for (const TensorSpec& spec : family.tensors()) {
    NamedTensor& tensor = tensors.emplace_back();
    tensor.name = spec.name;
    tensor.shape = spec.shape;
    int64_t elements = 1;
    for (const int64_t extent : spec.shape) elements *= extent;
    for (int64_t i = 0; i < elements; ++i) {
      tensor.values.push_back(static_cast<float>(0.05 + 0.1 * random.Double()));
    }
  }
  PackageOptions options;
  options.dataset = dataset;
  return BuildWeightsFile(family, tensors, options).value();
}

StopSignal NoStop() {
  StopSignal stop;
  stop.wait = [](absl::Duration) {};
  return stop;
}

class LocalTaskExecutorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const source = std::getenv("FORALL_SOURCE_DIR");
    data_ = source == nullptr ? "build/deps" : std::string(source) + "/build/deps";
    if (!std::filesystem::exists(data_ + "/fashion-mnist")) {
      GTEST_SKIP() << "NO TEST RAN: no Fashion-MNIST in " << data_ << ": run tools/setup.sh";
    }
    executor_ = MakeExecutor(data_);
    family_ = FindFamily("fashion_mnist").value();
    supernet_ = service_.Put(SupernetBytes(*family_));
  }

  std::unique_ptr<LocalTaskExecutor> MakeExecutor(const std::string& data) {
    ArtifactClient::Options cache;
    cache.cache_directory = directory_ / "cache";
    artifacts_ = ArtifactClient::Create(server_.Channel(), cache).value();
    HostLock::Options lock;
    lock.path = directory_ / "timing.lock";
    host_lock_ = HostLock::Open(lock).value();
    LocalTaskExecutor::Options options;
    options.artifacts = artifacts_.get();
    options.host_lock = host_lock_.get();
    options.data_directory = data;
    return LocalTaskExecutor::Create(std::move(options)).value();
  }

  v1::Task ExportTask() {
    const Architecture smallest = family_->search_space().Smallest();
    v1::Task task;
    task.set_kind(v1::Task::EXPORT);
    task.mutable_architecture()->set_search_space(smallest.search_space);
    task.mutable_architecture()->set_revision(smallest.revision);
    for (const int32_t choice : smallest.choices) task.mutable_architecture()->add_choices(choice);
    task.set_arch_key(ArchKey(family_->search_space(), smallest));
    task.set_supernet_sha256(supernet_);
    task.set_recipe("fp32");
    task.set_calibration_dataset("fashion_mnist");
    task.set_calibration_images(20);
    task.set_calibration_seed(3);
    return task;
  }
  v1::Task MeasureTask(v1::Task::Kind kind, const std::string& artifact) {
    v1::Task task;
    task.set_kind(kind);
    task.set_artifact_sha256(artifact);
    task.set_dataset("fashion_mnist");
    task.set_split("validation");
    task.set_images(100);
    task.set_resolution(20);
    task.set_batch(1);
    task.set_latency_profile("screening");
    return task;
  }
  v1::TaskResult Execute(const v1::Task& task) {
    return executor_->Execute(task, 2, NoStop()).value();
  }
  void ExpectFailure(const v1::Task& task, v1::TaskFailure::Reason reason,
                     const std::string& message) {
    const v1::TaskResult result = Execute(task);
    ASSERT_TRUE(result.has_failure()) << result.ShortDebugString();
    EXPECT_EQ(result.failure().reason(), reason) << result.failure().message();
    EXPECT_THAT(result.failure().message(), HasSubstr(message));
  }

  TempDir directory_;
  std::string data_;
  FakeArtifactService service_;
  LocalServer server_{{&service_}};
  std::unique_ptr<ArtifactClient> artifacts_;
  std::unique_ptr<HostLock> host_lock_;
  std::unique_ptr<LocalTaskExecutor> executor_;
  std::shared_ptr<const Family> family_;
  std::string supernet_;
};

TEST_F(LocalTaskExecutorTest, ExportsEvaluatesAndTimesASubnet) {
  const v1::TaskResult exported = Execute(ExportTask());
  ASSERT_TRUE(exported.has_export_result()) << exported.ShortDebugString();
  EXPECT_GE(exported.end_time().seconds(), exported.start_time().seconds());
  const std::string artifact = exported.export_result().artifact_sha256();
  EXPECT_EQ(Sha256Hex(service_.Get(artifact)), artifact);
  EXPECT_EQ(exported.export_result().size_bytes(),
            static_cast<int64_t>(service_.Get(artifact).size()));
  EXPECT_EQ(exported.export_result().calibration_id(),
            CalibrationId("fashion_mnist", "train", 20, 100, 3));

  const v1::TaskResult accuracy = Execute(MeasureTask(v1::Task::ACCURACY, artifact));
  ASSERT_TRUE(accuracy.has_accuracy_result()) << accuracy.ShortDebugString();
  EXPECT_EQ(accuracy.accuracy_result().images(), 100);
  EXPECT_EQ(accuracy.accuracy_result().top1_bitmap().size(), 13u);
  EXPECT_GE(accuracy.accuracy_result().top5_correct(), accuracy.accuracy_result().top1_correct());
  EXPECT_EQ(accuracy.accuracy_result().dataset_checksum().size(), 64u);

  const v1::TaskResult latency = Execute(MeasureTask(v1::Task::LATENCY, artifact));
  ASSERT_TRUE(latency.has_latency_result()) << latency.ShortDebugString();
  const v1::LatencyResult& measured = latency.latency_result();
  EXPECT_GT(measured.median_ns(), 0);
  EXPECT_LE(measured.ratio_low(), measured.ratio());
  EXPECT_EQ(measured.samples_ns_size(), measured.runs());
  EXPECT_EQ(measured.reference_sha256(), BuildReferenceNetwork()->sha256);
  EXPECT_NE(measured.verdict().state(), v1::Verdict::STATE_UNSPECIFIED);
}

TEST_F(LocalTaskExecutorTest, PartsOfAnAccuracyAddUpToTheWhole) {
  const std::string artifact = Execute(ExportTask()).export_result().artifact_sha256();
  const v1::Task whole = MeasureTask(v1::Task::ACCURACY, artifact);
  const v1::TaskResult at_once = Execute(whole);
  int64_t top1 = 0;
  int64_t top5 = 0;
  std::string bitmap;
  for (const int first : {0, 40, 80}) {  // 40 is in the middle of a batch
    v1::Task part = whole;
    part.set_first_image(first);
    part.set_part_images(40);
    const v1::TaskResult result = Execute(part);
    ASSERT_TRUE(result.has_accuracy_result()) << result.ShortDebugString();
    const v1::AccuracyResult& accuracy = result.accuracy_result();
    EXPECT_EQ(accuracy.images(), first == 80 ? 20 : 40);
    EXPECT_EQ(accuracy.split_images(), 10'000);
    EXPECT_EQ(accuracy.dataset_checksum(), at_once.accuracy_result().dataset_checksum());
    top1 += accuracy.top1_correct();
    top5 += accuracy.top5_correct();
    bitmap += accuracy.top1_bitmap();
  }
  EXPECT_EQ(top1, at_once.accuracy_result().top1_correct());
  EXPECT_EQ(top5, at_once.accuracy_result().top5_correct());
  EXPECT_EQ(bitmap, at_once.accuracy_result().top1_bitmap());
  v1::Task beyond = whole;
  beyond.set_first_image(100);
  beyond.set_part_images(40);
  ExpectFailure(beyond, v1::TaskFailure::WORKER_UNABLE, "from 100 on of 100");
}

// Accuracy work and timings of one machine never overlap, whichever process does them.
TEST_F(LocalTaskExecutorTest, ExportAndAccuracyWaitWhileSomebodyTimes) {
  const v1::Task export_task = ExportTask();
  const std::string artifact = Execute(export_task).export_result().artifact_sha256();
  HostLock::Options options;
  options.path = directory_ / "timing.lock";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto others, HostLock::Open(options));
  std::optional<HostLock::Holder> timing = *others->AcquireExclusive();
  for (const v1::Task& task : {export_task, MeasureTask(v1::Task::ACCURACY, artifact)}) {
    // A task that does not wait asks a few dozen times and is done.
    int asked = 0;
    StopSignal stop = NoStop();
    stop.stopped = [&asked] { return ++asked > 500; };
    EXPECT_THAT(executor_->Execute(task, 1, stop), StatusIs(absl::StatusCode::kCancelled))
        << v1::Task::Kind_Name(task.kind());
  }
  timing.reset();
  for (const v1::Task& task : {export_task, MeasureTask(v1::Task::ACCURACY, artifact)}) {
    int asked = 0;
    StopSignal stop = NoStop();
    stop.stopped = [&asked] { return ++asked > 500; };
    EXPECT_THAT(executor_->Execute(task, 1, stop), IsOk()) << v1::Task::Kind_Name(task.kind());
  }
}

TEST_F(LocalTaskExecutorTest, WrongSupernetHashIsThisWorkersInability) {
  v1::Task task = ExportTask();
  task.set_supernet_sha256(Sha256Hex("unknown"));
  ExpectFailure(task, v1::TaskFailure::WORKER_UNABLE, task.supernet_sha256());
  service_.PutAs(task.supernet_sha256(), "other bytes");
  ExpectFailure(task, v1::TaskFailure::WORKER_UNABLE, "do not have the SHA-256");
}

TEST_F(LocalTaskExecutorTest, WhatIsNoSupernetFailsEverywhere) {
  v1::Task task = ExportTask();
  task.set_supernet_sha256(service_.Put("these bytes are no supernet, whoever reads them"));
  const v1::TaskResult result = Execute(task);
  ASSERT_TRUE(result.has_failure());
  EXPECT_NE(result.failure().reason(), v1::TaskFailure::TRANSIENT) << result.ShortDebugString();
}

TEST_F(LocalTaskExecutorTest, MissingDatasetIsThisWorkersInability) {
  const TempDir empty;
  executor_ = MakeExecutor(empty.path());
  ExpectFailure(ExportTask(), v1::TaskFailure::WORKER_UNABLE, "fashion_mnist");
}

// A dataset of image files is offered, calibrated on and evaluated like any other.
TEST_F(LocalTaskExecutorTest, ImageFoldersAreDatasets) {
  const std::string photos = directory_ / "photos";
  for (int i = 0; i < 60; ++i) {
    const std::string folder = absl::StrCat(photos, "/class", i % 3);
    FORALL_ASSERT_OK(CreateDirectories(folder));
    FORALL_ASSERT_OK(WriteFileAtomically(absl::StrCat(folder, "/", i, ".png"),
                                         testing::EncodePng(testing::Scene(40 + i, 35))));
  }
  FolderOptions options;
  options.name = "photos";
  FolderFindings findings;
  FORALL_ASSERT_OK(PrepareImageFolder(options, photos, directory_ / "data", &findings).status());
  executor_ = MakeExecutor(directory_ / "data");
  family_ = FamilyFromSpec(R"({
      "family": "ofa_mobilenet_v3", "name": "colour", "revision": 1,
      "input_channels": 3, "classes": 3, "resolutions": [20],
      "stem": {"width": 8, "stride": 1, "activation": "h_swish"},
      "first_block": {"width": 8, "activation": "relu"},
      "stages": [{"width": 8, "stride": 2, "activation": "relu", "squeeze_excite": false}],
      "kernels": [3, 5], "expansions": [2, 3], "depths": [1, 2],
      "head": {"expand_width": 24, "feature_width": 16, "activation": "h_swish"},
      "batch_norm_epsilon": 1e-5})")
                .value();
  supernet_ = service_.Put(SupernetBytes(*family_, "photos"));
  v1::Task task = ExportTask();
  task.set_calibration_dataset("photos");
  const v1::TaskResult exported = Execute(task);
  ASSERT_TRUE(exported.has_export_result()) << exported.ShortDebugString();
  v1::Task measure = MeasureTask(v1::Task::ACCURACY, exported.export_result().artifact_sha256());
  measure.set_dataset("photos");
  measure.set_images(0);
  const v1::TaskResult accuracy = Execute(measure);
  ASSERT_TRUE(accuracy.has_accuracy_result()) << accuracy.ShortDebugString();
  EXPECT_EQ(accuracy.accuracy_result().images(), 6);

  // A supernet of other classes or channels fails everywhere; lost files are this worker's trouble.
  const auto grey = FindFamily("fashion_mnist").value();
  task.set_supernet_sha256(service_.Put(SupernetBytes(*grey, "")));
  ExpectFailure(task, v1::TaskFailure::DETERMINISTIC, "");
  std::filesystem::remove_all(photos);
  std::filesystem::remove_all(directory_ / "data/photos/cache");
  executor_ = MakeExecutor(directory_ / "data");
  ExpectFailure(measure, v1::TaskFailure::WORKER_UNABLE, "it has gone");
}

TEST_F(LocalTaskExecutorTest, ForeignArchitectureFailsEverywhere) {
  v1::Task task = ExportTask();
  task.mutable_architecture()->set_choices(0, 99);
  ExpectFailure(task, v1::TaskFailure::DETERMINISTIC, "");
  task = ExportTask();
  task.mutable_architecture()->set_search_space("another");
  ExpectFailure(task, v1::TaskFailure::DETERMINISTIC, "another");
}

TEST_F(LocalTaskExecutorTest, AnotherKeyForTheSameArchitectureIsAVersionConflict) {
  v1::Task task = ExportTask();
  task.set_arch_key("a1-00000000000000000000000000000000");
  ExpectFailure(task, v1::TaskFailure::WORKER_UNABLE, "a1-00000000000000000000000000000000");
}

TEST_F(LocalTaskExecutorTest, TimesAPartOfANetworkThatItMakesItself) {
  const Architecture largest = family_->search_space().Largest();
  const Network network = family_->Describe(largest).value();
  v1::Task task = MeasureTask(v1::Task::LATENCY, "");
  task.mutable_architecture()->set_search_space(largest.search_space);
  task.mutable_architecture()->set_revision(largest.revision);
  for (const int32_t choice : largest.choices) task.mutable_architecture()->add_choices(choice);
  task.set_network_spec(family_->Spec());
  task.set_network_part(3);
  for (const char* recipe : {"fp32", "fp16"}) {
    task.set_recipe(recipe);
    task.set_graph_key(TimingKey(CutNetwork(network, PartsOf(network).value()[2]).value(), 1,
                                 ParseRecipe(recipe).value(), "screening"));
    const v1::TaskResult result = Execute(task);
    ASSERT_TRUE(result.has_latency_result()) << result.ShortDebugString();
    EXPECT_GT(result.latency_result().median_ns(), 0);
  }
  task.set_graph_key("t1-00000000000000000000000000000000");
  ExpectFailure(task, v1::TaskFailure::WORKER_UNABLE, "update the older one");
  task.set_network_part(99);
  ExpectFailure(task, v1::TaskFailure::WORKER_UNABLE, "parts here");
  task.set_network_spec("{}");
  ExpectFailure(task, v1::TaskFailure::DETERMINISTIC, "");
}

TEST_F(LocalTaskExecutorTest, BrokenModelsFailEverywhere) {
  const std::string garbage = service_.Put("no model at all");
  ExpectFailure(MeasureTask(v1::Task::ACCURACY, garbage), v1::TaskFailure::DETERMINISTIC, "");
  ExpectFailure(MeasureTask(v1::Task::LATENCY, garbage), v1::TaskFailure::DETERMINISTIC, "");
  const std::string other_shape = service_.Put(testing::TinyModel{}.Serialize());
  ExpectFailure(MeasureTask(v1::Task::ACCURACY, other_shape), v1::TaskFailure::DETERMINISTIC,
                "fashion_mnist");
}

TEST_F(LocalTaskExecutorTest, ArtifactThatTheControllerLostMayPass) {
  ExpectFailure(MeasureTask(v1::Task::ACCURACY, Sha256Hex("lost")), v1::TaskFailure::TRANSIENT, "");
}

TEST_F(LocalTaskExecutorTest, AStoppedTaskReportsNothing) {
  StopSignal stop = NoStop();
  stop.stopped = [] { return true; };
  EXPECT_THAT(executor_->Execute(ExportTask(), 1, stop), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(LocalTaskExecutorTest, UnknownKindIsThisWorkersInability) {
  ExpectFailure(v1::Task(), v1::TaskFailure::WORKER_UNABLE, "update");
}

}  // namespace
}  // namespace forall
