// SPDX-License-Identifier: Apache-2.0
// Controller and worker, killed with SIGKILL at random moments of a job: invariants 2 and 4 of
// docs/architecture.md, over real processes, sockets and files. With a scripted worker the outcome
// must be that of an undisturbed run; with the real one, which measures real latencies, nothing
// that was acknowledged may be lost and nothing doubled.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "cli/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/store/sqlite_result_store.h"
#include "tests/faults/fault_lab.h"

namespace forall {
namespace {

using testing::ControllerProcess;
using testing::ExpectNothingLostOrDoubled;
using testing::ExpectTheSame;
using testing::Outcome;
using testing::Program;
using testing::RunJob;
using testing::RunJobs;
using testing::SourceDir;
using testing::WorkerProcess;

// One trial at a time, so that results arrive in one order and the whole job is a function of its
// seed.
v1::SearchJobSpec MakeSpec() {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("latency_ms");
  spec.mutable_budget()->set_max_trials(80);
  spec.mutable_fidelity()->set_screening_images(2500);
  spec.mutable_fidelity()->set_test_split(true);
  spec.set_seed(11);
  spec.set_parallelism(1);
  return spec;
}

TEST(KillTest, Invariant4KilledControllerAndWorkerLeaveTheSameLogAndFrontier) {
  const Outcome calm = RunJob(MakeSpec(), {});
  ASSERT_EQ(calm.job.state(), v1::SearchJob::SUCCEEDED) << calm.job.error();
  ASSERT_GE(calm.trials.size(), 80u);
  EXPECT_GT(calm.acknowledged.size(), 160u);
  ExpectNothingLostOrDoubled(calm);

  const Outcome disturbed = RunJob(MakeSpec(), {.mean_life = absl::Milliseconds(40)});
  EXPECT_GE(disturbed.controller_kills, 5);
  EXPECT_GE(disturbed.worker_kills, 5);
  ASSERT_EQ(disturbed.job.state(), v1::SearchJob::SUCCEEDED) << disturbed.job.error();
  ExpectNothingLostOrDoubled(disturbed);
  ExpectTheSame(disturbed, calm);
  RecordProperty("controller_kills", disturbed.controller_kills);
  RecordProperty("worker_kills", disturbed.worker_kills);
}

// A job that learns from what another one has measured.
TEST(KillTest, Invariant4KilledControllerAndWorkerLeaveAWarmJobTheSame) {
  v1::SearchJobSpec former = MakeSpec();
  former.mutable_sampler()->set_algorithm("nsga2");
  former.mutable_budget()->set_max_trials(40);
  v1::SearchJobSpec warm = MakeSpec();
  warm.mutable_budget()->set_max_trials(40);
  warm.set_seed(12);
  const Outcome calm = RunJobs({former, warm}, {});
  ASSERT_EQ(calm.job.state(), v1::SearchJob::SUCCEEDED) << calm.job.error();
  EXPECT_GE(calm.job.reused_trials(), 1);
  EXPECT_LT(calm.job.reused_trials(), 40);
  ASSERT_THAT(calm.log, ::testing::Contains(::testing::StartsWith("known ")));

  const Outcome disturbed = RunJobs({former, warm}, {.mean_life = absl::Milliseconds(40)});
  EXPECT_GE(disturbed.controller_kills, 3);
  EXPECT_GE(disturbed.worker_kills, 3);
  ASSERT_EQ(disturbed.job.state(), v1::SearchJob::SUCCEEDED) << disturbed.job.error();
  ExpectNothingLostOrDoubled(disturbed);
  ExpectTheSame(disturbed, calm);
}

// Each accuracy in two to ten parts, of which the kills hit some between the first and the last.
TEST(KillTest, Invariant4KilledBetweenThePartsOfAnAccuracyLeavesTheSameLogAndFrontier) {
  v1::SearchJobSpec spec = MakeSpec();
  spec.mutable_budget()->set_max_trials(60);
  spec.mutable_fidelity()->set_part_images(1024);
  const Outcome calm = RunJob(spec, {});
  ASSERT_EQ(calm.job.state(), v1::SearchJob::SUCCEEDED) << calm.job.error();
  ExpectNothingLostOrDoubled(calm);
  size_t parts = 0;
  for (const std::string& line : calm.log) parts += absl::StartsWith(line, "part ") ? 1 : 0;
  EXPECT_GE(parts, 60u * 3) << "2,500 images in parts of 1,024";

  const Outcome disturbed = RunJob(spec, {.mean_life = absl::Milliseconds(40)});
  EXPECT_GE(disturbed.controller_kills, 3);
  EXPECT_GE(disturbed.worker_kills, 3);
  ASSERT_EQ(disturbed.job.state(), v1::SearchJob::SUCCEEDED) << disturbed.job.error();
  ExpectNothingLostOrDoubled(disturbed);
  ExpectTheSame(disturbed, calm);
}

// Ids of the tasks whose results the controller acknowledged, by the real worker's own word.
std::set<int64_t> AcknowledgedTasks(const WorkerProcess& worker) {
  std::set<int64_t> tasks;
  for (const std::string& line : worker.LogLines()) {
    constexpr absl::string_view kMark = "acknowledged task=tasks/";
    const size_t at = line.find(kMark.data());
    int64_t id = 0;
    if (at != std::string::npos && !absl::StrContains(line, "failure acknowledged") &&
        absl::SimpleAtoi(line.substr(at + kMark.size()), &id)) {
      tasks.insert(id);
    }
  }
  return tasks;
}

TEST(KillTest, Invariant2RealWorkerAndControllerKilledLoseAndDoubleNothing) {
  if (!std::filesystem::exists(SourceDir() + "/build/deps/fashion-mnist")) {
    GTEST_SKIP() << "no images in build/deps; tools/setup.sh fetches them";
  }
  testing::TempDir dir;
  ControllerProcess controller(dir);
  controller.Start();
  WorkerProcess worker(dir, [&dir, address = controller.address()](const std::string&) {
    return std::vector<std::string>{Program("forall-worker"),
                                    "--controller",
                                    address,
                                    "--data",
                                    SourceDir() + "/build/deps/fashion-mnist",
                                    "--cache",
                                    dir / "cache",
                                    "--verbose"};
  });
  worker.Start();
  ASSERT_FALSE(HasFatalFailure());
  int jobs = 0;
  const auto submit = [&]() -> absl::Status {
    v1::SearchJobSpec spec = MakeSpec();
    spec.set_seed(100 + jobs);
    spec.mutable_budget()->set_max_trials(40);
    spec.mutable_fidelity()->set_screening_images(100);
    spec.mutable_fidelity()->set_final_images(400);
    spec.mutable_fidelity()->set_calibration_images(100);
    spec.set_parallelism(4);
    Client client({.address = controller.address()});
    v1::SubmitSearchJobRequest request;
    *request.mutable_spec() = spec;
    FORALL_RETURN_IF_ERROR(
        client.Call(client.search(), &v1::SearchService::Stub::SubmitSearchJob, request).status());
    ++jobs;
    return absl::OkStatus();
  };
  FORALL_ASSERT_OK(submit());
  // A worker needs a life long enough to calibrate itself, or nothing would ever be timed.
  constexpr int kKills = 24;
  Random random(7);
  int kills = 0;
  int child_kills = 0;
  bool ended = false;
  const absl::Time give_up = Clock::Real()->Now() + absl::Minutes(6);
  while (!ended && Clock::Real()->Now() < give_up) {
    Clock::Real()->SleepFor(kills < kKills ? absl::Seconds(3 * random.Double())
                                           : absl::Milliseconds(200));
    Client client({.address = controller.address()});
    v1::GetSearchJobRequest request;
    request.set_name(absl::StrCat("searchJobs/", jobs));
    const auto job = client.Call(client.search(), &v1::SearchService::Stub::GetSearchJob, request);
    ended = job.ok() && HasEnded(job->state());
    if (ended) {
      EXPECT_EQ(job->state(), v1::SearchJob::SUCCEEDED) << job->error();
    }
    // However fast the machine is, there is work to be killed in.
    if (ended && kills < kKills) {
      FORALL_ASSERT_OK(submit());
      ended = false;
    }
    if (ended || kills >= kKills) continue;
    ++kills;
    const std::vector<int> measuring = worker.Children();
    if (!measuring.empty() && random.Bernoulli(0.5)) {
      // A measurement ends as a result of the task's, not the worker with it.
      for (const int pid : measuring) kill(pid, SIGKILL);
      ++child_kills;
    } else if (random.Bernoulli(0.5)) {
      controller.Kill();
      controller.Start();
    } else {
      worker.Kill();
      worker.Start();
    }
    ASSERT_FALSE(HasFatalFailure());
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(kills, kKills);
  EXPECT_GE(child_kills, 3);
  RecordProperty("jobs", jobs);
  worker.Kill();
  controller.Stop();

  const std::set<int64_t> acknowledged = AcknowledgedTasks(worker);
  EXPECT_GT(acknowledged.size(), 40u);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto store,
                              SqliteResultStore::Create({.path = dir / "forall.db"}));
  std::set<int64_t> measured;
  std::set<std::string> seen;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> measurements,
                              store->LoadMeasurements());
  for (const MeasurementRecord& record : measurements) {
    measured.insert(record.task_id);
    if (record.verdict == VerdictState::kRejected) continue;  // measured again
    EXPECT_TRUE(seen.insert(absl::StrCat(record.trial_id, " ", record.key.metric, " ",
                                         record.key.split, " ", static_cast<int>(record.fidelity)))
                    .second)
        << "trial " << record.trial_id << " has " << record.key.metric << " twice";
  }
  std::map<int64_t, TaskRecord> by_id;
  for (int job = 1; job <= jobs; ++job) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<TaskRecord> tasks, store->LoadTasks(job));
    for (const TaskRecord& task : tasks) by_id[task.id] = task;
  }
  for (const int64_t id : acknowledged) {
    ASSERT_EQ(by_id.count(id), 1u) << "task " << id << " was acknowledged and is gone";
    EXPECT_EQ(by_id[id].state, TaskState::kDone) << "task " << id;
    if (by_id[id].kind != TaskKind::kExport) {
      EXPECT_EQ(measured.count(id), 1u) << "task " << id;
    }
  }
}

// What a job of four subnets finds, by so many real workers; accuracies by what was evaluated.
struct Shared {
  std::map<std::string, double> accuracies;
  std::map<std::string, std::string> bitmaps;
  std::set<std::string> workers;  // of which parts were joined
  int parts = 0;
};

Shared MeasureAccuracies(int workers, int32_t part_images) {
  Shared shared;
  testing::TempDir dir;
  ControllerProcess controller(dir);
  controller.Start();
  std::vector<std::unique_ptr<WorkerProcess>> processes;
  for (int i = 0; i < workers; ++i) {
    processes.push_back(std::make_unique<WorkerProcess>(
        dir, [&dir, i, address = controller.address()](const std::string&) {
          return std::vector<std::string>{Program("forall-worker"),
                                          "--controller",
                                          address,
                                          "--id",
                                          absl::StrCat("w", i),
                                          "--data",
                                          SourceDir() + "/build/deps/fashion-mnist",
                                          "--cache",
                                          absl::StrCat(dir.path(), "/cache", i)};
        }));
    processes.back()->Start();
  }
  v1::SubmitSearchJobRequest submit;
  v1::SearchJobSpec& spec = *submit.mutable_spec();
  spec = MakeSpec();
  spec.mutable_objectives(1)->set_metric("macs");
  spec.mutable_budget()->set_max_trials(4);
  spec.mutable_fidelity()->set_screening_images(0);
  spec.mutable_fidelity()->set_part_images(part_images);
  spec.mutable_fidelity()->set_calibration_images(100);
  Client client({.address = controller.address()});
  EXPECT_THAT(client.Call(client.search(), &v1::SearchService::Stub::SubmitSearchJob, submit),
              testing::IsOk());
  v1::GetSearchJobRequest get;
  get.set_name("searchJobs/1");
  for (int i = 0; i < 1200; ++i) {
    const auto job = client.Call(client.search(), &v1::SearchService::Stub::GetSearchJob, get);
    if (job.ok() && HasEnded(job->state())) {
      EXPECT_EQ(job->state(), v1::SearchJob::SUCCEEDED) << job->error();
      break;
    }
    Clock::Real()->SleepFor(absl::Milliseconds(100));
  }
  for (const auto& process : processes) process->Kill();
  controller.Stop();
  const auto store = SqliteResultStore::Create({.path = dir / "forall.db"});
  EXPECT_THAT(store, testing::IsOk());
  const std::vector<MeasurementRecord> records = (*store)->LoadMeasurements().value();
  for (const MeasurementRecord& record : records) {
    const std::string what =
        absl::StrCat(record.key.subject, " ", record.key.metric, " ", record.key.split);
    EXPECT_TRUE(shared.accuracies.emplace(what, record.value).second) << what << " twice";
    if (record.key.metric != "accuracy_top1") continue;
    const MeasurementEvidence evidence = (*store)->LoadEvidence(record.id).value();
    shared.bitmaps[what] = evidence.top1_bitmap;
    for (const auto& [images, from] : evidence.environment) {
      ++shared.parts;
      shared.workers.insert(from.substr(from.rfind(' ') + 1));
    }
  }
  return shared;
}

TEST(PartsTest, Invariant2TwoRealWorkersShareAccuraciesAndFindWhatOneFinds) {
  if (!std::filesystem::exists(SourceDir() + "/build/deps/fashion-mnist")) {
    GTEST_SKIP() << "no images in build/deps; tools/setup.sh fetches them";
  }
  const Shared one = MeasureAccuracies(1, 0);
  EXPECT_EQ(one.parts, 0) << "10,000 images are one task";
  const Shared two = MeasureAccuracies(2, 1024);
  EXPECT_EQ(two.workers, (std::set<std::string>{"w0", "w1"}));
  EXPECT_GE(two.parts, 4 * 10);
  EXPECT_GE(one.accuracies.size(), 8u);
  EXPECT_EQ(two.accuracies, one.accuracies);
  EXPECT_EQ(two.bitmaps, one.bitmaps);
}

}  // namespace
}  // namespace forall
