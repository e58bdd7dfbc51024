// SPDX-License-Identifier: Apache-2.0
// What every ResultStore promises, whichever holds the data.
#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "search/store/result_store.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/testing/make_records.h"

namespace forall {
namespace {

using ::forall::testing::Done;
using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::MakeEvent;
using ::forall::testing::MakeEvidence;
using ::forall::testing::MakeJob;
using ::forall::testing::MakeMeasurement;
using ::forall::testing::MakeTask;
using ::forall::testing::MakeTrial;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::forall::testing::TestTime;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

struct Backend {
  const char* name;
  std::function<absl::StatusOr<std::unique_ptr<ResultStore>>(const TempDir&)> open;
};

class ResultStoreContractTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override { FORALL_ASSERT_OK_AND_ASSIGN(store_, GetParam().open(folder_)); }

  // Job 1 with trial 1 and its open task 1.
  void CommitTask() {
    StoreBatch batch;
    batch.insert_jobs = {MakeJob(1)};
    batch.insert_trials = {MakeTrial(1, 1, 1)};
    batch.insert_tasks = {MakeTask(1, 1, 1)};
    FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  }

  TempDir folder_;
  std::unique_ptr<ResultStore> store_;
};

// A worker's answer: the task closes and its measurement appears together.
StoreBatch Completion(int64_t measurement_id, int64_t task_id = 1) {
  StoreBatch batch;
  batch.update_tasks = {Done(MakeTask(task_id, 1, 1))};
  batch.insert_measurements = {MakeMeasurement(measurement_id, 1, 1, task_id)};
  return batch;
}

TEST_P(ResultStoreContractTest, StartsEmpty) {
  EXPECT_THAT(store_->LoadIds(), IsOkAndHolds(StoreIds{}));
  EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadTrials(1), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadEvents(1, 0, 10), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadEvidence(1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(StoreBatch().empty());
  FORALL_EXPECT_OK(store_->Commit({}));
}

TEST_P(ResultStoreContractTest, KeepsEveryFieldOfAJob) {
  JobRecord ended = MakeJob(2);
  ended.request_id = "";
  ended.state = JobState::kFailed;
  ended.end_time = TestTime(9);
  JobRecord unnamed = MakeJob(3);
  unnamed.request_id = "";  // none, not the same one
  StoreBatch batch;
  batch.insert_jobs = {MakeJob(1), ended, unnamed};
  EXPECT_FALSE(batch.empty());
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(ElementsAre(MakeJob(1), ended, unnamed)));
}

TEST_P(ResultStoreContractTest, KeepsEveryFieldOfTrialsTasksAndMeasurements) {
  TrialRecord plain = MakeTrial(2, 1, 2);
  plain.choices = {};
  MeasurementRecord accuracy = MakeMeasurement(2, 0, 0, 0);
  accuracy.key = MeasurementKey();
  accuracy.key.subject = "artifact";
  accuracy.key.metric = "accuracy_top1";
  accuracy.reasons = {};
  accuracy.retracted_by = "driver 12.1";
  accuracy.ratio = accuracy.raw_median_ms = accuracy.reference_median_ms = 0;
  accuracy.baseline_reference_ms = 0;
  accuracy.baseline_id = "";
  StoreBatch batch;
  batch.insert_jobs = {MakeJob(1), MakeJob(2)};
  batch.insert_trials = {plain, MakeTrial(1, 1, 1), MakeTrial(3, 2, 1)};
  batch.insert_tasks = {MakeTask(1, 1, 1), MakeTask(2, 2, 0)};
  batch.insert_measurements = {MakeMeasurement(1, 1, 1, 1), accuracy};
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadTrials(1), IsOkAndHolds(ElementsAre(MakeTrial(1, 1, 1), plain)));
  EXPECT_THAT(store_->LoadTrials(2), IsOkAndHolds(ElementsAre(MakeTrial(3, 2, 1))));
  EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(ElementsAre(MakeTask(1, 1, 1))));
  EXPECT_THAT(store_->LoadTasks(2), IsOkAndHolds(ElementsAre(MakeTask(2, 2, 0))));
  EXPECT_THAT(store_->LoadMeasurements(),
              IsOkAndHolds(ElementsAre(MakeMeasurement(1, 1, 1, 1), accuracy)));
  EXPECT_THAT(store_->LoadIds(),
              IsOkAndHolds(StoreIds{.job = 2, .trial = 3, .task = 2, .measurement = 2}));
}

TEST_P(ResultStoreContractTest, KeepsPartsOfAccuraciesUntilTheyAreTakenUp) {
  const AccuracyPartRecord part = {.task_id = 1,
                                   .artifact_sha256 = "artifact",
                                   .dataset = "dataset",
                                   .split = "validation",
                                   .first_image = 128,
                                   .images = 20,
                                   .top1_correct = 9,
                                   .top5_correct = 12,
                                   .top1_bitmap = std::string("\x00\xff\x01", 3),
                                   .worker = "w1",
                                   .worker_build = "0.1.0",
                                   .lease_token = "5-1",
                                   .time = TestTime(3)};
  AccuracyPartRecord other = part;
  other.task_id = 2;
  StoreBatch batch;
  batch.insert_jobs = {MakeJob(1)};
  batch.insert_tasks = {MakeTask(1, 1, 0), MakeTask(2, 1, 0)};
  batch.insert_parts = {other, part};
  EXPECT_FALSE(batch.empty());
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadParts(), IsOkAndHolds(ElementsAre(part, other)));

  StoreBatch again;
  again.insert_parts = {part};
  again.delete_parts = {2};
  EXPECT_THAT(store_->Commit(again), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(store_->LoadParts(), IsOkAndHolds(ElementsAre(part, other))) << "whole or not at all";
  StoreBatch dangling;
  dangling.insert_parts = {part};
  dangling.insert_parts[0].task_id = 77;
  EXPECT_THAT(store_->Commit(dangling), StatusIs(absl::StatusCode::kInvalidArgument));
  StoreBatch joined;
  joined.delete_parts = {1, 44};
  EXPECT_FALSE(joined.empty());
  FORALL_ASSERT_OK(store_->Commit(std::move(joined)));
  EXPECT_THAT(store_->LoadParts(), IsOkAndHolds(ElementsAre(other)));
}

TEST_P(ResultStoreContractTest, ADatasetLearnsItsNumberOfImagesOnce) {
  DatasetRecord dataset = {
      .name = "dataset", .split = "test", .checksum = "c1", .create_time = TestTime(1)};
  for (const int64_t images : {0, 500, 600}) {
    dataset.images = images;
    StoreBatch batch;
    batch.insert_datasets = {dataset};
    FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  }
  dataset.images = 500;
  EXPECT_THAT(store_->LoadDatasets(), IsOkAndHolds(ElementsAre(dataset)));
}

TEST_P(ResultStoreContractTest, KeepsEveryFieldOfTheRest) {
  const ArtifactRecord artifact = {.sha256 = "s1", .size_bytes = 9, .create_time = TestTime(1)};
  const SupernetRecord supernet = {.id = "fashion_mnist",
                                   .sha256 = "s2",
                                   .spec = "{}",
                                   .dataset = "data",
                                   .create_time = TestTime(2)};
  const ExportRecord entry = {.supernet_sha256 = "s2",
                              .arch_key = "arch",
                              .recipe = "fp32",
                              .calibration_id = "calibration",
                              .artifact_sha256 = "s1",
                              .size_bytes = 9};
  const BaselineRecord baseline = {.id = "b1",
                                   .device = "devices/pi5",
                                   .device_fingerprint = "fingerprint",
                                   .profile = "profile",
                                   .reference_sha256 = "s3",
                                   .reference_ms = 4.5,
                                   .create_time = TestTime(3)};
  const DeviceRecord device = {.id = "devices/pi5",
                               .device_class = "pi5",
                               .description = "on the shelf",
                               .fingerprint = "fingerprint",
                               .properties = {{"cores", "4"}}};
  StoreBatch batch;
  batch.insert_artifacts = {artifact};
  batch.insert_supernets = {supernet};
  batch.insert_exports = {entry};
  batch.insert_baselines = {baseline};
  const DatasetRecord dataset = {
      .name = "fashion_mnist", .split = "validation", .checksum = "c1", .create_time = TestTime(4)};
  batch.upsert_devices = {device};
  batch.insert_datasets = {dataset};
  FORALL_ASSERT_OK(store_->Commit(batch));
  EXPECT_THAT(store_->LoadDatasets(), IsOkAndHolds(ElementsAre(dataset)));
  EXPECT_THAT(store_->LoadArtifacts(), IsOkAndHolds(ElementsAre(artifact)));
  EXPECT_THAT(store_->LoadSupernets(), IsOkAndHolds(ElementsAre(supernet)));
  EXPECT_THAT(store_->LoadExports(), IsOkAndHolds(ElementsAre(entry)));
  EXPECT_THAT(store_->LoadBaselines(), IsOkAndHolds(ElementsAre(baseline)));
  EXPECT_THAT(store_->LoadDevices(), IsOkAndHolds(ElementsAre(device)));

  // What exists is left as it is, but a device is brought up to date.
  StoreBatch again;
  again.insert_artifacts = {{.sha256 = "s1", .size_bytes = 10, .create_time = TestTime(7)}};
  again.insert_supernets = {supernet, supernet};
  again.insert_supernets[0].spec = "{\"changed\":1}";
  again.insert_supernets[1].sha256 = "s4";
  again.insert_exports = {entry};
  again.insert_exports[0].artifact_sha256 = "other";
  again.upsert_devices = {device};
  again.upsert_devices[0].description = "in the lab";
  again.insert_datasets = {dataset, dataset};
  again.insert_datasets[0].checksum = "other";
  again.insert_datasets[1].split = "test";
  FORALL_ASSERT_OK(store_->Commit(again));
  EXPECT_THAT(store_->LoadArtifacts(), IsOkAndHolds(ElementsAre(artifact)));
  EXPECT_THAT(store_->LoadSupernets(),
              IsOkAndHolds(ElementsAre(supernet, again.insert_supernets[1])));
  EXPECT_THAT(store_->LoadExports(), IsOkAndHolds(ElementsAre(entry)));
  EXPECT_THAT(store_->LoadDevices(), IsOkAndHolds(ElementsAre(again.upsert_devices[0])));
  EXPECT_THAT(store_->LoadDatasets(),
              IsOkAndHolds(UnorderedElementsAre(dataset, again.insert_datasets[1])));
  StoreBatch taken;
  taken.insert_baselines = {baseline};
  EXPECT_THAT(store_->Commit(taken), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST_P(ResultStoreContractTest, KeepsEvidenceBitForBit) {
  CommitTask();
  StoreBatch batch = Completion(1);
  batch.insert_evidence = {MakeEvidence(1)};
  batch.insert_measurements.push_back(MakeMeasurement(2, 1, 1, 0));
  MeasurementEvidence nothing;
  nothing.measurement_id = 2;
  batch.insert_evidence.push_back(nothing);
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadEvidence(1), IsOkAndHolds(MakeEvidence(1)));
  EXPECT_THAT(store_->LoadEvidence(2), IsOkAndHolds(nothing));
  EXPECT_THAT(store_->LoadEvidence(3), StatusIs(absl::StatusCode::kNotFound, HasSubstr("3")));
}

TEST_P(ResultStoreContractTest, TextIsNeverReadAsSql) {
  constexpr char kHostile[] = "'); DROP TABLE jobs; -- \x00\xff\"\n?1";
  const std::string hostile(kHostile, sizeof(kHostile) - 1);
  JobRecord job = MakeJob(1);
  job.request_id = job.error = job.supernet_sha256 = hostile;
  EventRecord event = MakeEvent(1, 1);
  event.kind = event.payload = hostile;
  StoreBatch batch;
  batch.insert_jobs = {job};
  batch.append_events = {event};
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(ElementsAre(job)));
  EXPECT_THAT(store_->LoadEvents(1, 0, 1), IsOkAndHolds(ElementsAre(event)));
}

TEST_P(ResultStoreContractTest, UpdatesChangeWhatMayChange) {
  CommitTask();
  JobRecord job = MakeJob(1);
  job.state = JobState::kSucceeded;
  job.error = "changed";
  job.update_time = TestTime(20);
  job.end_time = TestTime(21);
  TaskRecord task = MakeTask(1, 1, 1);
  task.attempts = 1;
  StoreBatch batch;
  batch.update_jobs = {job};
  batch.update_tasks = {task};
  FORALL_ASSERT_OK(store_->Commit(batch));
  EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(ElementsAre(job)));
  EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(ElementsAre(task)));

  // Identity does not change, whatever the record says.
  StoreBatch other;
  other.update_jobs = {job};
  other.update_jobs[0].request_id = "another";
  other.update_jobs[0].spec = "another";
  FORALL_ASSERT_OK(store_->Commit(other));
  EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(ElementsAre(job)));
}

TEST_P(ResultStoreContractTest, InsertsOfABatchPrecedeItsUpdates) {
  CommitTask();
  StoreBatch batch;
  batch.insert_tasks = {MakeTask(2, 1, 1)};
  batch.update_tasks = {Done(MakeTask(2, 1, 1))};
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadTasks(1),
              IsOkAndHolds(ElementsAre(MakeTask(1, 1, 1), Done(MakeTask(2, 1, 1)))));
}

TEST_P(ResultStoreContractTest, AnOpenTaskCountsItsAttemptsAndAnEndedOneStaysAsItEnded) {
  CommitTask();
  StoreBatch again;
  again.update_tasks = {MakeTask(1, 1, 1)};
  again.update_tasks[0].attempts = 3;
  // Of the attempt that failed: who repeats the call is known by it.
  again.update_tasks[0].completed_by = "workers/w1";
  again.update_tasks[0].completed_token = "5-16";
  again.update_tasks[0].result_fingerprint = std::string(64, 'e');
  FORALL_ASSERT_OK(store_->Commit(again));
  EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(ElementsAre(again.update_tasks[0])));
  StoreBatch failed;
  failed.update_tasks = {Done(MakeTask(1, 1, 1))};
  failed.update_tasks[0].state = TaskState::kFailed;
  failed.update_tasks[0].attempts = 4;
  failed.update_tasks[0].error = "too hot";
  FORALL_ASSERT_OK(store_->Commit(failed));
  EXPECT_THAT(store_->Commit(again), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(ElementsAre(failed.update_tasks[0])));
}

// Invariant 2 of docs/architecture.md.
TEST_P(ResultStoreContractTest, AMeasurementIsStoredExactlyOnce) {
  CommitTask();
  FORALL_ASSERT_OK(store_->Commit(Completion(1)));
  // A late worker brings another answer to the same task.
  EXPECT_THAT(store_->Commit(Completion(2)),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("task 1")));
  // A batch that forgets to close the task is no way around it.
  StoreBatch again;
  again.insert_measurements = {MakeMeasurement(2, 1, 1, 1)};
  EXPECT_THAT(store_->Commit(again),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("measurement 2")));
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(ElementsAre(MakeMeasurement(1, 1, 1, 1))));
}

TEST_P(ResultStoreContractTest, AClosedTaskRefusesTheWholeBatch) {
  CommitTask();
  StoreBatch cancel;
  cancel.update_tasks = {MakeTask(1, 1, 1)};
  cancel.update_tasks[0].state = TaskState::kCancelled;
  FORALL_ASSERT_OK(store_->Commit(cancel));
  StoreBatch late = Completion(1);
  late.append_events = {MakeEvent(1, 1)};
  late.insert_evidence = {MakeEvidence(1)};
  EXPECT_THAT(store_->Commit(std::move(late)), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadEvents(1, 0, 10), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadEvidence(1), StatusIs(absl::StatusCode::kNotFound));
  // The very same measurement may come again: nothing of it was kept.
  StoreBatch good;
  good.insert_measurements = {MakeMeasurement(1, 1, 1, 1)};
  FORALL_EXPECT_OK(store_->Commit(good));
}

TEST_P(ResultStoreContractTest, ARefusedBatchLeavesNothing) {
  CommitTask();
  struct Case {
    const char* what;
    std::function<void(StoreBatch*)> spoil;
    absl::StatusCode code;
  };
  const std::vector<Case> cases = {
      {"job id taken", [](StoreBatch* b) { b->insert_jobs = {MakeJob(1)}; },
       absl::StatusCode::kAlreadyExists},
      {"request id taken",
       [](StoreBatch* b) {
         b->insert_jobs = {MakeJob(8)};
         b->insert_jobs[0].request_id = "request-1";
       },
       absl::StatusCode::kAlreadyExists},
      {"job id 0", [](StoreBatch* b) { b->insert_jobs = {MakeJob(0)}; },
       absl::StatusCode::kInvalidArgument},
      {"trial id taken", [](StoreBatch* b) { b->insert_trials.push_back(MakeTrial(1, 1, 9)); },
       absl::StatusCode::kAlreadyExists},
      {"ordinal taken", [](StoreBatch* b) { b->insert_trials.push_back(MakeTrial(9, 1, 1)); },
       absl::StatusCode::kAlreadyExists},
      {"no such job", [](StoreBatch* b) { b->insert_trials.push_back(MakeTrial(9, 77, 1)); },
       absl::StatusCode::kInvalidArgument},
      {"task id taken", [](StoreBatch* b) { b->insert_tasks = {MakeTask(1, 1, 1)}; },
       absl::StatusCode::kAlreadyExists},
      {"no such trial", [](StoreBatch* b) { b->insert_tasks = {MakeTask(9, 1, 77)}; },
       absl::StatusCode::kInvalidArgument},
      {"no such task to update", [](StoreBatch* b) { b->update_tasks = {MakeTask(77, 1, 1)}; },
       absl::StatusCode::kNotFound},
      {"no such task to end", [](StoreBatch* b) { b->update_tasks = {Done(MakeTask(77, 1, 1))}; },
       absl::StatusCode::kNotFound},
      {"no such job to update", [](StoreBatch* b) { b->update_jobs = {MakeJob(77)}; },
       absl::StatusCode::kNotFound},
      {"not a number",
       [](StoreBatch* b) {
         b->insert_measurements = {MakeMeasurement(9, 1, 1, 0)};
         b->insert_measurements[0].value = std::numeric_limits<double>::quiet_NaN();
       },
       absl::StatusCode::kInvalidArgument},
      {"evidence of nothing", [](StoreBatch* b) { b->insert_evidence = {MakeEvidence(77)}; },
       absl::StatusCode::kInvalidArgument},
      {"event taken", [](StoreBatch* b) { b->append_events.push_back(MakeEvent(1, 1)); },
       absl::StatusCode::kAlreadyExists},
      {"gap in events", [](StoreBatch* b) { b->append_events.push_back(MakeEvent(1, 3)); },
       absl::StatusCode::kInvalidArgument},
      {"event 0", [](StoreBatch* b) { b->append_events.push_back(MakeEvent(1, 0)); },
       absl::StatusCode::kInvalidArgument},
      {"retraction of nothing",
       [](StoreBatch* b) { b->retractions = {{.measurement_id = 77, .by = "me"}}; },
       absl::StatusCode::kNotFound},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    StoreBatch batch;
    batch.insert_trials = {MakeTrial(5, 1, 5)};
    batch.append_events = {MakeEvent(1, 1)};
    c.spoil(&batch);
    EXPECT_THAT(store_->Commit(std::move(batch)), StatusIs(c.code));
    EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(SizeIs(1)));
    EXPECT_THAT(store_->LoadTrials(1), IsOkAndHolds(ElementsAre(MakeTrial(1, 1, 1))));
    EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(ElementsAre(MakeTask(1, 1, 1))));
    EXPECT_THAT(store_->LoadEvents(1, 0, 10), IsOkAndHolds(IsEmpty()));
  }
  StoreBatch good;
  good.insert_trials = {MakeTrial(5, 1, 5)};
  good.append_events = {MakeEvent(1, 1), MakeEvent(1, 2)};
  FORALL_EXPECT_OK(store_->Commit(good));
}

TEST_P(ResultStoreContractTest, LoadsEventsInPages) {
  StoreBatch batch;
  batch.insert_jobs = {MakeJob(1), MakeJob(2)};
  for (int64_t i = 1; i <= 5; ++i) batch.append_events.push_back(MakeEvent(1, i));
  batch.append_events.push_back(MakeEvent(2, 1));
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadEvents(1, 0, 2),
              IsOkAndHolds(ElementsAre(MakeEvent(1, 1), MakeEvent(1, 2))));
  EXPECT_THAT(store_->LoadEvents(1, 3, 100),
              IsOkAndHolds(ElementsAre(MakeEvent(1, 4), MakeEvent(1, 5))));
  EXPECT_THAT(store_->LoadEvents(1, 5, 100), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadEvents(1, 0, 0), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadEvents(1, 0, -1), IsOkAndHolds(IsEmpty()));
}

// More than the store leaves out of its index, of jobs in turn.
TEST_P(ResultStoreContractTest, LongLogsAreReadWholeAndInOrder) {
  constexpr int64_t kEvents = 3000;
  StoreBatch jobs;
  jobs.insert_jobs = {MakeJob(1), MakeJob(2), MakeJob(3)};
  FORALL_ASSERT_OK(store_->Commit(std::move(jobs)));
  std::map<int64_t, int64_t> last;
  const auto append = [&](int64_t job, int64_t count, StoreBatch* batch) {
    for (int64_t i = 0; i < count; ++i) batch->append_events.push_back(MakeEvent(job, ++last[job]));
  };
  const auto expect_whole = [&](int64_t job) {
    std::vector<EventRecord> expected;
    for (int64_t i = 1; i <= last[job]; ++i) expected.push_back(MakeEvent(job, i));
    EXPECT_THAT(store_->LoadEvents(job, 0, 1 << 30), IsOkAndHolds(ElementsAreArray(expected)));
    std::vector<EventRecord> pages;
    do {
      FORALL_ASSERT_OK_AND_ASSIGN(const auto page, store_->LoadEvents(job, pages.size(), 7));
      if (page.empty()) break;
      pages.insert(pages.end(), page.begin(), page.end());
    } while (true);
    EXPECT_THAT(pages, ElementsAreArray(expected));
  };
  while (last[1] < kEvents) {
    StoreBatch batch;
    append(1, 2, &batch);
    append(3, 1, &batch);
    append(2, last[1] % 3, &batch);
    FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  }
  for (const int64_t job : {1, 2, 3}) expect_whole(job);
  // The last events of all go; what comes after them is found as well, and so is what came before.
  StoreBatch tail;
  append(3, 100, &tail);
  FORALL_ASSERT_OK(store_->Commit(std::move(tail)));
  StoreBatch deletion;
  deletion.delete_jobs = {{.job = 3, .time = TestTime(9)}};
  FORALL_ASSERT_OK(store_->Commit(std::move(deletion)));
  last[3] = 0;
  StoreBatch more;
  append(2, 50, &more);
  append(1, 50, &more);
  FORALL_ASSERT_OK(store_->Commit(std::move(more)));
  for (const int64_t job : {1, 2, 3}) expect_whole(job);
  StoreBatch taken;
  taken.append_events = {MakeEvent(1, last[1])};
  EXPECT_THAT(store_->Commit(std::move(taken)), StatusIs(absl::StatusCode::kAlreadyExists));
}

// What a refused batch has entered in the index is taken back with it.
TEST_P(ResultStoreContractTest, EventsOfARefusedBatchLeaveNoTraceInLongLogs) {
  constexpr int64_t kEvents = 5000;
  StoreBatch first;
  first.insert_jobs = {MakeJob(1)};
  first.append_events = {MakeEvent(1, 1)};
  FORALL_ASSERT_OK(store_->Commit(std::move(first)));
  StoreBatch batch;
  for (int64_t i = 2; i <= kEvents; ++i) batch.append_events.push_back(MakeEvent(1, i));
  StoreBatch refused = batch;
  refused.update_jobs = {MakeJob(77)};
  EXPECT_THAT(store_->Commit(std::move(refused)), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->LoadEvents(1, 0, kEvents), IsOkAndHolds(ElementsAre(MakeEvent(1, 1))));
  FORALL_ASSERT_OK(store_->Commit(batch));
  StoreBatch more;
  more.append_events = {MakeEvent(1, kEvents + 1)};
  FORALL_ASSERT_OK(store_->Commit(std::move(more)));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto events, store_->LoadEvents(1, 0, 1 << 30));
  ASSERT_THAT(events, SizeIs(kEvents + 1));
  for (int64_t i = 1; i <= kEvents + 1; ++i) EXPECT_EQ(events[i - 1], MakeEvent(1, i));
}

TEST_P(ResultStoreContractTest, ARetractedMeasurementStaysWithItsReason) {
  CommitTask();
  FORALL_ASSERT_OK(store_->Commit(Completion(1)));
  StoreBatch batch;
  batch.retractions = {{.measurement_id = 1, .by = "worker was throttled"}};
  FORALL_ASSERT_OK(store_->Commit(batch));
  MeasurementRecord expected = MakeMeasurement(1, 1, 1, 1);
  expected.retracted_by = "worker was throttled";
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(ElementsAre(expected)));
  batch.retractions[0].by = "";
  EXPECT_THAT(store_->Commit(batch), StatusIs(absl::StatusCode::kInvalidArgument));
}

// Jobs 1 and 2, two trials and two tasks each, all done, with a measurement of each task. The
// second task of job 1 and the first of job 2 yielded parts; from the one of job 1, job 2 has
// joined an accuracy.
StoreBatch TwoJobs() {
  StoreBatch batch;
  for (int64_t job = 1; job <= 2; ++job) {
    batch.insert_jobs.push_back(MakeJob(job));
    for (int64_t ordinal = 1; ordinal <= 2; ++ordinal) {
      const int64_t id = 2 * job - 2 + ordinal;
      batch.insert_trials.push_back(MakeTrial(id, job, ordinal));
      batch.insert_tasks.push_back(Done(MakeTask(id, job, id)));
      batch.insert_measurements.push_back(MakeMeasurement(id, job, id, id));
      batch.insert_evidence.push_back(MakeEvidence(id));
      batch.append_events.push_back(MakeEvent(job, ordinal));
    }
  }
  MeasurementRecord joined = MakeMeasurement(5, 2, 3, 2);
  joined.key.metric = "accuracy_top1";
  batch.insert_measurements.push_back(joined);
  MeasurementRecord derived = MakeMeasurement(6, 1, 1, 0);
  derived.key.metric = "throughput_ips";
  batch.insert_measurements.push_back(derived);
  batch.insert_measurements.push_back(MakeMeasurement(7, 0, 0, 0));
  for (const int64_t task : {2, 3}) {
    AccuracyPartRecord part;
    part.task_id = task;
    part.artifact_sha256 = "artifact";
    part.images = 8;
    part.top1_bitmap = "x";
    batch.insert_parts.push_back(part);
  }
  batch.insert_exports = {{std::string(64, 'a'), "arch-1", "fp32", "c", std::string(64, 'b'), 7}};
  return batch;
}

TEST_P(ResultStoreContractTest, ADeletedJobIsGoneAndWhatWasMeasuredStays) {
  FORALL_ASSERT_OK(store_->Commit(TwoJobs()));
  FORALL_ASSERT_OK_AND_ASSIGN(const StoreIds ids, store_->LoadIds());
  FORALL_ASSERT_OK_AND_ASSIGN(std::vector<MeasurementRecord> before, store_->LoadMeasurements());
  StoreBatch batch;
  batch.delete_jobs = {{.job = 1, .time = TestTime(9)}};
  EXPECT_FALSE(batch.empty());
  FORALL_ASSERT_OK(store_->Commit(batch));
  EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(ElementsAre(MakeJob(2))));
  EXPECT_THAT(store_->LoadTrials(1), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadEvents(1, 0, 10), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadTrials(2), IsOkAndHolds(SizeIs(2)));
  EXPECT_THAT(store_->LoadTasks(2), IsOkAndHolds(SizeIs(2)));
  EXPECT_THAT(store_->LoadEvents(2, 0, 10), IsOkAndHolds(SizeIs(2)));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<AccuracyPartRecord> parts, store_->LoadParts());
  ASSERT_THAT(parts, SizeIs(1));
  EXPECT_EQ(parts[0].task_id, 3);
  EXPECT_THAT(store_->LoadExports(), IsOkAndHolds(SizeIs(1)));
  // Every number, of no job, trial or task that is not there.
  for (MeasurementRecord& record : before) {
    if (record.job_id == 1) record.job_id = record.trial_id = 0;
    if (record.task_id == 1 || record.task_id == 2) record.task_id = 0;
  }
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(before));
  EXPECT_THAT(store_->LoadEvidence(1), IsOkAndHolds(MakeEvidence(1)));
  EXPECT_THAT(store_->LoadIds(), IsOkAndHolds(ids));
  EXPECT_THAT(store_->Commit(batch), StatusIs(absl::StatusCode::kNotFound, HasSubstr("job 1")));
}

TEST_P(ResultStoreContractTest, NumbersOfDeletedJobsDoNotComeBack) {
  FORALL_ASSERT_OK(store_->Commit(TwoJobs()));
  FORALL_ASSERT_OK_AND_ASSIGN(const StoreIds ids, store_->LoadIds());
  StoreBatch batch;
  batch.delete_jobs = {{.job = 2, .time = TestTime(9)}, {.job = 1, .time = TestTime(9)}};
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_->LoadIds(), IsOkAndHolds(ids));
  FORALL_ASSERT_OK(store_->BeginEpoch().status());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LifeRecord> lives, store_->LoadLives());
  EXPECT_EQ(lives.back().tasks_before, ids.task);
}

TEST_P(ResultStoreContractTest, ADeletionThatIsRefusedChangesNothing) {
  CommitTask();
  struct Case {
    const char* what;
    absl::StatusCode code;
    StoreBatch batch;
  };
  std::vector<Case> cases(4);
  cases[0] = {"an open task", absl::StatusCode::kFailedPrecondition, {}};
  cases[0].batch.delete_jobs = {{.job = 1, .time = TestTime(9)}};
  cases[1] = {"no such job", absl::StatusCode::kNotFound, {}};
  cases[1].batch.delete_jobs = {{.job = 7, .time = TestTime(9)}};
  cases[2] = {"beside something else", absl::StatusCode::kInvalidArgument, {}};
  cases[2].batch = Completion(1);
  cases[2].batch.delete_jobs = {{.job = 1, .time = TestTime(9)}};
  cases[3] = {"one of two", absl::StatusCode::kNotFound, {}};
  StoreBatch empty_job;
  empty_job.insert_jobs = {MakeJob(2)};
  FORALL_ASSERT_OK(store_->Commit(std::move(empty_job)));
  cases[3].batch.delete_jobs = {{.job = 2, .time = TestTime(9)}, {.job = 7, .time = TestTime(9)}};
  for (const Case& refused : cases) {
    EXPECT_THAT(store_->Commit(refused.batch), StatusIs(refused.code)) << refused.what;
    EXPECT_THAT(store_->LoadJobs(), IsOkAndHolds(SizeIs(2)));
    EXPECT_THAT(store_->LoadTasks(1), IsOkAndHolds(ElementsAre(MakeTask(1, 1, 1))));
    EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(IsEmpty()));
  }
}

// Supernets "one" and "two"; measurements 1 and 2 are "one"'s.
StoreBatch TwoSupernets() {
  StoreBatch batch;
  for (const char letter : {'a', 'b'}) {
    const std::string hash(64, letter);
    batch.insert_artifacts.push_back({hash, 7, TestTime(1)});
    batch.insert_supernets.push_back(
        {letter == 'a' ? "one" : "two", hash, "{}", "images", TestTime(2)});
    batch.insert_exports.push_back({hash, "arch", "fp32", "c", std::string(64, 'c'), 7});
  }
  for (int64_t id = 1; id <= 3; ++id) {
    batch.insert_measurements.push_back(MakeMeasurement(id, 0, 0, 0));
    batch.insert_evidence.push_back(MakeEvidence(id));
  }
  return batch;
}

TEST_P(ResultStoreContractTest, ADeletedSupernetGoesWithItsNumbers) {
  FORALL_ASSERT_OK(store_->Commit(TwoSupernets()));
  FORALL_ASSERT_OK_AND_ASSIGN(const StoreIds ids, store_->LoadIds());
  StoreBatch batch;
  batch.delete_supernets = {{"one", std::string(64, 'a'), true, {1, 3}, TestTime(9)}};
  EXPECT_FALSE(batch.empty());
  FORALL_ASSERT_OK(store_->Commit(batch));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto supernets, store_->LoadSupernets());
  ASSERT_THAT(supernets, SizeIs(1));
  EXPECT_EQ(supernets[0].id, "two");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto exports, store_->LoadExports());
  ASSERT_THAT(exports, SizeIs(1));
  EXPECT_EQ(exports[0].supernet_sha256, std::string(64, 'b'));
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(ElementsAre(MakeMeasurement(2, 0, 0, 0))));
  EXPECT_THAT(store_->LoadEvidence(1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->LoadEvidence(2), IsOkAndHolds(MakeEvidence(2)));
  EXPECT_THAT(store_->LoadArtifacts(), IsOkAndHolds(SizeIs(2)));
  // The highest number went and does not come back.
  EXPECT_THAT(store_->LoadIds(), IsOkAndHolds(ids));
  EXPECT_THAT(store_->Commit(batch), StatusIs(absl::StatusCode::kNotFound, HasSubstr("one")));
  // Given again, and deleted again.
  StoreBatch again;
  again.insert_supernets = {{"one", std::string(64, 'a'), "{}", "images", TestTime(3)}};
  FORALL_ASSERT_OK(store_->Commit(std::move(again)));
  batch.delete_supernets[0].measurements.clear();
  FORALL_EXPECT_OK(store_->Commit(std::move(batch)));
}

TEST_P(ResultStoreContractTest, ADeletedSupernetLeavesItsExportsToItsTwin) {
  StoreBatch batch = TwoSupernets();
  batch.insert_supernets.push_back({"twin", std::string(64, 'a'), "{}", "images", TestTime(2)});
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  StoreBatch deletion;
  deletion.delete_supernets = {{"one", std::string(64, 'a'), false, {}, TestTime(9)}};
  FORALL_ASSERT_OK(store_->Commit(std::move(deletion)));
  EXPECT_THAT(store_->LoadSupernets(), IsOkAndHolds(SizeIs(2)));
  EXPECT_THAT(store_->LoadExports(), IsOkAndHolds(SizeIs(2)));
}

TEST_P(ResultStoreContractTest, ASupernetDeletionThatIsRefusedChangesNothing) {
  FORALL_ASSERT_OK(store_->Commit(TwoSupernets()));
  StoreBatch batch;
  batch.delete_supernets = {{"one", std::string(64, 'a'), true, {1}, TestTime(9)},
                            {"one", std::string(64, 'b'), true, {2}, TestTime(9)}};
  EXPECT_THAT(store_->Commit(batch), StatusIs(absl::StatusCode::kNotFound));
  batch.delete_supernets.pop_back();
  batch.append_events = {MakeEvent(1, 1)};
  EXPECT_THAT(store_->Commit(batch), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->LoadSupernets(), IsOkAndHolds(SizeIs(2)));
  EXPECT_THAT(store_->LoadExports(), IsOkAndHolds(SizeIs(2)));
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(SizeIs(3)));
}

TEST_P(ResultStoreContractTest, DroppedSamplesAreGoneAndSaidToBe) {
  StoreBatch batch = TwoSupernets();
  MeasurementRecord accuracy = MakeMeasurement(4, 0, 0, 0);
  accuracy.ratio = accuracy.raw_median_ms = accuracy.reference_median_ms = 0;
  accuracy.baseline_reference_ms = 0;
  accuracy.baseline_id.clear();
  batch.insert_measurements.push_back(accuracy);
  batch.insert_evidence.push_back(MakeEvidence(4));
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  StoreBatch drop;
  // What is no latency stays as it is, and so does what is not there.
  drop.drop_samples = {{2, TestTime(9)}, {4, TestTime(9)}, {77, TestTime(9)}};
  EXPECT_FALSE(drop.empty());
  FORALL_ASSERT_OK(store_->Commit(std::move(drop)));
  MeasurementRecord dropped = MakeMeasurement(2, 0, 0, 0);
  dropped.samples_dropped = TestTime(9);
  EXPECT_THAT(store_->LoadMeasurements(),
              IsOkAndHolds(ElementsAre(MakeMeasurement(1, 0, 0, 0), dropped,
                                       MakeMeasurement(3, 0, 0, 0), accuracy)));
  MeasurementEvidence left = MakeEvidence(2);
  left.samples_ns.clear();
  left.reference_samples_ns.clear();
  EXPECT_THAT(store_->LoadEvidence(2), IsOkAndHolds(left));
  EXPECT_THAT(store_->LoadEvidence(1), IsOkAndHolds(MakeEvidence(1)));
  EXPECT_THAT(store_->LoadEvidence(4), IsOkAndHolds(MakeEvidence(4)));
  // A record keeps what it says when it is stored anew.
  StoreBatch copy;
  dropped.id = 5;
  copy.insert_measurements = {dropped};
  FORALL_ASSERT_OK(store_->Commit(std::move(copy)));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto all, store_->LoadMeasurements());
  EXPECT_EQ(all.back(), dropped);
}

TEST_P(ResultStoreContractTest, ReferencesAreCheckedBesideDeletions) {
  FORALL_ASSERT_OK(store_->Commit(TwoJobs()));
  StoreBatch deletion;
  deletion.delete_jobs = {{.job = 1, .time = TestTime(9)}};
  StoreBatch orphan;
  orphan.insert_trials = {MakeTrial(9, 1, 1)};
  StoreBatch good;
  good.append_events = {MakeEvent(2, 3)};
  absl::Status first;
  absl::Status second;
  absl::Status third;
  store_->CommitAsync(deletion, [&](absl::Status status) { first = std::move(status); });
  store_->CommitAsync(orphan, [&](absl::Status status) { second = std::move(status); });
  store_->CommitAsync(good, [&](absl::Status status) { third = std::move(status); });
  FORALL_ASSERT_OK(store_->Commit({}));
  FORALL_EXPECT_OK(first);
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kInvalidArgument));
  FORALL_EXPECT_OK(third);
}

TEST_P(ResultStoreContractTest, EveryEpochIsNew) {
  EXPECT_THAT(store_->BeginEpoch(), IsOkAndHolds(1));
  EXPECT_THAT(store_->BeginEpoch(), IsOkAndHolds(2));
}

TEST_P(ResultStoreContractTest, EveryLifeHasASecretAndKnowsWhichTasksWereBeforeIt) {
  EXPECT_THAT(store_->LoadLives(), IsOkAndHolds(IsEmpty()));
  FORALL_ASSERT_OK(store_->BeginEpoch().status());
  CommitTask();
  FORALL_ASSERT_OK(store_->BeginEpoch().status());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LifeRecord> lives, store_->LoadLives());
  ASSERT_THAT(lives, SizeIs(2));
  EXPECT_EQ(lives[0].epoch, 1);
  EXPECT_EQ(lives[0].tasks_before, 0);
  EXPECT_EQ(lives[1].epoch, 2);
  EXPECT_EQ(lives[1].tasks_before, 1);
  EXPECT_EQ(lives[0].secret.size(), kLifeSecretBytes);
  EXPECT_EQ(lives[1].secret.size(), kLifeSecretBytes);
  EXPECT_NE(lives[0].secret, lives[1].secret);
}

TEST_P(ResultStoreContractTest, TheLastSixteenLivesAreKnown) {
  for (int i = 0; i < 20; ++i) FORALL_ASSERT_OK(store_->BeginEpoch().status());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LifeRecord> lives, store_->LoadLives());
  ASSERT_THAT(lives, SizeIs(16));
  EXPECT_EQ(lives.front().epoch, 5);
  EXPECT_EQ(lives.back().epoch, 20);
}

TEST_P(ResultStoreContractTest, AppliesBatchesInTheOrderOfTheCalls) {
  constexpr int64_t kEvents = 300;
  StoreBatch job;
  job.insert_jobs = {MakeJob(1)};
  store_->CommitAsync(std::move(job), [](absl::Status status) { FORALL_EXPECT_OK(status); });
  std::vector<int64_t> answered;  // only ever touched on the store's thread, until the last Commit
  for (int64_t i = 1; i <= kEvents; ++i) {
    StoreBatch batch;
    batch.append_events = {MakeEvent(1, i)};
    store_->CommitAsync(std::move(batch), [&answered, i](absl::Status status) {
      FORALL_EXPECT_OK(status);
      answered.push_back(i);
    });
  }
  FORALL_ASSERT_OK(store_->Commit({}));
  ASSERT_THAT(answered, SizeIs(kEvents));
  EXPECT_TRUE(std::is_sorted(answered.begin(), answered.end()));
}

TEST_P(ResultStoreContractTest, ManyThreadsCommitAndReadAtOnce) {
  constexpr int64_t kThreads = 4;
  constexpr int64_t kBatches = 50;
  StoreBatch jobs;
  for (int64_t t = 1; t <= kThreads; ++t) jobs.insert_jobs.push_back(MakeJob(t));
  FORALL_ASSERT_OK(store_->Commit(std::move(jobs)));
  std::vector<Thread> threads;
  for (int64_t t = 1; t <= kThreads; ++t) {
    threads.emplace_back("committer", [this, t] {
      for (int64_t i = 1; i <= kBatches; ++i) {
        const int64_t id = (t - 1) * kBatches + i;
        StoreBatch batch;
        batch.insert_trials = {MakeTrial(id, t, i)};
        batch.insert_tasks = {MakeTask(id, t, id)};
        batch.append_events = {MakeEvent(t, i)};
        batch.update_tasks = {Done(MakeTask(id, t, id))};
        batch.insert_measurements = {MakeMeasurement(id, t, id, id)};
        EXPECT_THAT(store_->Commit(std::move(batch)), IsOk());
        // What was acknowledged is there to read.
        EXPECT_THAT(store_->LoadEvents(t, i - 1, 10), IsOkAndHolds(ElementsAre(MakeEvent(t, i))));
      }
    });
  }
  for (Thread& thread : threads) thread.Join();
  EXPECT_THAT(store_->LoadMeasurements(), IsOkAndHolds(SizeIs(kThreads * kBatches)));
  for (int64_t t = 1; t <= kThreads; ++t) {
    EXPECT_THAT(store_->LoadTrials(t), IsOkAndHolds(SizeIs(kBatches)));
    EXPECT_THAT(store_->LoadTasks(t), IsOkAndHolds(SizeIs(kBatches)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Backends, ResultStoreContractTest,
    ::testing::Values(Backend{"File",
                              [](const TempDir& folder) {
                                return SqliteResultStore::Create({.path = folder / "store.db"});
                              }},
                      Backend{"Memory",
                              [](const TempDir&) {
                                return SqliteResultStore::Create({.path = ":memory:"});
                              }}),
    [](const ::testing::TestParamInfo<Backend>& backend) { return backend.param.name; });

}  // namespace
}  // namespace forall
