// SPDX-License-Identifier: Apache-2.0
// Controller and worker, killed with SIGKILL at random moments of a job: invariants 2 and 4 of
// docs/architecture.md, over real processes, sockets and files. With a scripted worker the outcome
// must be that of an undisturbed run; with the real one, which measures real latencies, nothing
// that was acknowledged may be lost and nothing doubled.
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "cli/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/store/sqlite_result_store.h"

namespace forall {
namespace {

std::string Program(const std::string& name) {
  const char* folder = std::getenv("FORALL_BIN_DIR");
  return absl::StrCat(folder == nullptr ? "." : folder, "/", name);
}

std::string SourceFolder() {
  const char* folder = std::getenv("FORALL_SOURCE_DIR");
  return folder == nullptr ? "." : folder;
}

// A controller process that can be killed and started again on the same database.
class ControllerProcess {
 public:
  explicit ControllerProcess(const testing::TempDir& dir) : dir_(dir) {}

  void Start() {
    const std::string port_file = absl::StrCat(dir_.path(), "/port.", ++life_);
    auto process =
        ChildProcess::Start({Program("forall-controller"), "--db", dir_ / "forall.db", "--listen",
                             listen_, "--port-file", port_file, "--heartbeat", "200ms",
                             "--supernet", SourceFolder() + "/supernets/fashion_mnist"},
                            dir_ / "controller.log");
    FORALL_ASSERT_OK(process);
    process_ = *std::move(process);
    for (int i = 0; i < 1000; ++i) {
      const absl::StatusOr<std::string> port = ReadFile(port_file);
      if (port.ok() && !port->empty()) {
        MutexLock lock(&mu_);
        address_ = absl::StrCat("127.0.0.1:", absl::StripAsciiWhitespace(*port));
        listen_ = address_;  // A real worker looks for it where it was.
        return;
      }
      ASSERT_TRUE(process_->IsRunning()) << *ReadFile(dir_ / "controller.log");
      Clock::Real()->SleepFor(absl::Milliseconds(10));
    }
    FAIL() << "the controller did not start";
  }

  void Kill() {
    {
      MutexLock lock(&mu_);
      address_.clear();
    }
    kill(process_->pid(), SIGKILL);
    while (process_->IsRunning()) Clock::Real()->SleepFor(absl::Milliseconds(1));
  }

  void Stop() { process_->Stop(absl::Seconds(10)); }

  std::string address() const {
    MutexLock lock(&mu_);
    return address_;
  }

 private:
  const testing::TempDir& dir_;
  int life_ = 0;
  std::string listen_ = "127.0.0.1:0";
  std::unique_ptr<ChildProcess> process_;
  mutable Mutex mu_;
  std::string address_ ABSL_GUARDED_BY(mu_);
};

// One trial at a time, so that results arrive in one order and the whole job is a function of its
// seed.
v1::SearchJobSpec MakeSpec() {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("latency_ms");
  spec.mutable_budget()->set_max_trials(150);
  spec.mutable_fidelity()->set_screening_images(2500);
  spec.mutable_fidelity()->set_test_split(true);
  spec.set_seed(11);
  spec.set_parallelism(1);
  return spec;
}

// A worker process, each life with a log of its own.
class WorkerProcess {
 public:
  // The arguments of a life whose log is `log`.
  using Arguments = std::function<std::vector<std::string>(const std::string& log)>;
  WorkerProcess(const testing::TempDir& dir, Arguments arguments)
      : dir_(dir), arguments_(std::move(arguments)) {}

  void Start() {
    logs_.push_back(absl::StrCat(dir_.path(), "/worker.log.", logs_.size()));
    auto process = ChildProcess::Start(arguments_(logs_.back()), logs_.back());
    FORALL_ASSERT_OK(process);
    process_ = *std::move(process);
  }
  void Kill() {
    kill(process_->pid(), SIGKILL);
    while (process_->IsRunning()) Clock::Real()->SleepFor(absl::Milliseconds(1));
  }
  // Of all lives.
  std::vector<std::string> LogLines() const {
    std::vector<std::string> lines;
    for (const std::string& path : logs_) {
      const std::string log = *ReadFile(path);
      for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
        lines.emplace_back(line);
      }
    }
    return lines;
  }

 private:
  const testing::TempDir& dir_;
  const Arguments arguments_;
  std::vector<std::string> logs_;
  std::unique_ptr<ChildProcess> process_;
};

struct Outcome {
  v1::SearchJob job;
  std::vector<v1::Trial> trials;
  v1::QueryParetoFrontierResponse frontier;
  std::map<std::string, double> acknowledged;
  std::vector<std::string> log;  // of the job: "kind payload"
  int controller_kills = 0;
  int worker_kills = 0;
};

std::vector<std::string> EventLog(const std::string& database, int64_t job = 1) {
  std::vector<std::string> log;
  const auto store = SqliteResultStore::Create({.path = database});
  EXPECT_THAT(store, testing::IsOk());
  if (!store.ok()) return log;
  const auto events = (*store)->LoadEvents(job, 0, 1'000'000);
  EXPECT_THAT(events, testing::IsOk());
  for (const EventRecord& event : *events) log.push_back(event.kind + " " + event.payload);
  return log;
}

v1::SearchJob Submit(const v1::SearchJobSpec& spec, const std::string& address) {
  Client client(address);
  v1::SubmitSearchJobRequest request;
  *request.mutable_spec() = spec;
  const auto job = client.Call(client.search(), &v1::SearchService::Stub::SubmitSearchJob, request);
  EXPECT_THAT(job, testing::IsOk());
  return job.ok() ? *job : v1::SearchJob();
}

// Follows a job to its end, killing the controller or the worker every `mean_life` or so (never
// when infinite).
void Follow(const std::string& name, absl::Duration mean_life, ControllerProcess* controller,
            WorkerProcess* worker, Outcome* outcome) {
  Random random(99);
  const absl::Time give_up = Clock::Real()->Now() + absl::Minutes(4);
  while (!::testing::Test::HasFatalFailure() && Clock::Real()->Now() < give_up) {
    const bool disturb = mean_life != absl::InfiniteDuration();
    Clock::Real()->SleepFor(disturb ? mean_life * (0.2 + 1.6 * random.Double())
                                    : absl::Milliseconds(100));
    Client client(controller->address());
    v1::GetSearchJobRequest request;
    request.set_name(name);
    const auto job = client.Call(client.search(), &v1::SearchService::Stub::GetSearchJob, request);
    if (job.ok() && HasEnded(job->state())) break;
    if (!disturb) continue;
    if (random.Bernoulli(0.5)) {
      controller->Kill();
      ++outcome->controller_kills;
      controller->Start();
    } else {
      worker->Kill();
      ++outcome->worker_kills;
      worker->Start();
    }
  }
}

// Runs one job after the other, all but the last undisturbed; the outcome is the last one's.
Outcome RunJobs(const std::vector<v1::SearchJobSpec>& specs, absl::Duration mean_life) {
  testing::TempDir dir;
  ControllerProcess controller(dir);
  controller.Start();
  Outcome outcome;
  WorkerProcess worker(dir, [address = controller.address()](const std::string& log) {
    return std::vector<std::string>{Program("scripted-worker"), address, log};
  });
  std::string name;
  for (const v1::SearchJobSpec& spec : specs) {
    name = Submit(spec, controller.address()).name();
    if (&spec == &specs.front()) worker.Start();
    Follow(name, &spec == &specs.back() ? mean_life : absl::InfiniteDuration(), &controller,
           &worker, &outcome);
  }
  worker.Kill();
  for (const std::string& line : worker.LogLines()) {
    const std::vector<std::string> fields = absl::StrSplit(line, '\t');
    double value = 0;
    EXPECT_TRUE(fields.size() == 2 && absl::SimpleAtod(fields[1], &value)) << line;
    if (fields.size() == 2 && absl::StartsWith(fields[0], name + "/")) {
      outcome.acknowledged[fields[0]] = value;
    }
  }
  Client client(controller.address());
  v1::GetSearchJobRequest get;
  get.set_name(name);
  outcome.job = *client.Call(client.search(), &v1::SearchService::Stub::GetSearchJob, get);
  outcome.trials = *client.ListTrials(name);
  v1::QueryParetoFrontierRequest query;
  query.set_parent(name);
  outcome.frontier =
      *client.Call(client.search(), &v1::SearchService::Stub::QueryParetoFrontier, query);
  controller.Stop();
  outcome.log = EventLog(dir / "forall.db", static_cast<int64_t>(specs.size()));
  return outcome;
}

Outcome RunJob(const v1::SearchJobSpec& spec, absl::Duration mean_life) {
  return RunJobs({spec}, mean_life);
}

// "accuracy_top1 final validation" and the like: what must be unique within a trial.
std::string MeasurementId(const v1::Measurement& measurement) {
  return absl::StrCat(measurement.metric(), " ", measurement.fidelity(), " ",
                      measurement.condition().split(), " ", measurement.condition().device());
}

// Everything about a trial that a search decides or measures, in text.
std::string Essence(const v1::Trial& trial) {
  std::map<std::string, double> values;
  for (const v1::Measurement& m : trial.measurements()) values[MeasurementId(m)] = m.value();
  std::string text = absl::StrCat(trial.name(), " ", trial.arch_key(), " ",
                                  v1::Trial::State_Name(trial.state()), " ", trial.on_frontier());
  for (const auto& [name, value] : values) absl::StrAppend(&text, " ", name, "=", value);
  return text;
}

void ExpectNothingLostOrDoubled(const Outcome& outcome) {
  std::map<std::string, const v1::Trial*> by_name;
  for (const v1::Trial& trial : outcome.trials) {
    EXPECT_TRUE(by_name.emplace(trial.name(), &trial).second) << trial.name();
    std::set<std::string> seen;
    for (const v1::Measurement& m : trial.measurements()) {
      EXPECT_TRUE(seen.insert(MeasurementId(m)).second) << trial.name() << " " << MeasurementId(m);
    }
  }
  for (const auto& [what, value] : outcome.acknowledged) {
    const v1::Trial* trial = by_name[what.substr(0, what.find(' '))];
    ASSERT_NE(trial, nullptr) << what;
    bool found = false;
    for (const v1::Measurement& m : trial->measurements()) {
      found = found || std::abs(m.value() - value) < 1e-6 * value;
    }
    EXPECT_TRUE(found) << what << " was acknowledged with " << value << " and is gone";
  }
}

// Every proposal, result and decision, in order.
void ExpectTheSame(const Outcome& disturbed, const Outcome& calm) {
  ASSERT_EQ(disturbed.log.size(), calm.log.size());
  for (size_t i = 0; i < calm.log.size(); ++i) ASSERT_EQ(disturbed.log[i], calm.log[i]) << i;
  ASSERT_EQ(disturbed.trials.size(), calm.trials.size());
  for (size_t i = 0; i < calm.trials.size(); ++i) {
    EXPECT_EQ(Essence(disturbed.trials[i]), Essence(calm.trials[i]));
  }
  ASSERT_EQ(disturbed.frontier.members_size(), calm.frontier.members_size());
  for (int i = 0; i < calm.frontier.members_size(); ++i) {
    const v1::FrontierMember& ours = disturbed.frontier.members(i);
    const v1::FrontierMember& theirs = calm.frontier.members(i);
    EXPECT_EQ(ours.trial().name(), theirs.trial().name());
    EXPECT_EQ(ours.trial().artifact_sha256(), theirs.trial().artifact_sha256());
    EXPECT_EQ(ours.certainty(), theirs.certainty());
    for (int j = 0; j < theirs.values_size(); ++j) EXPECT_EQ(ours.values(j), theirs.values(j));
  }
}

TEST(KillTest, Invariant4KilledControllerAndWorkerLeaveTheSameLogAndFrontier) {
  const Outcome calm = RunJob(MakeSpec(), absl::InfiniteDuration());
  ASSERT_EQ(calm.job.state(), v1::SearchJob::SUCCEEDED) << calm.job.error();
  ASSERT_GE(calm.trials.size(), 150u);
  EXPECT_GT(calm.acknowledged.size(), 300u);
  ExpectNothingLostOrDoubled(calm);

  const Outcome disturbed = RunJob(MakeSpec(), absl::Milliseconds(40));
  EXPECT_GE(disturbed.controller_kills, 10);
  EXPECT_GE(disturbed.worker_kills, 10);
  EXPECT_GE(disturbed.controller_kills + disturbed.worker_kills, 20);
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
  const Outcome calm = RunJobs({former, warm}, absl::InfiniteDuration());
  ASSERT_EQ(calm.job.state(), v1::SearchJob::SUCCEEDED) << calm.job.error();
  EXPECT_GE(calm.job.reused_trials(), 1);
  EXPECT_LT(calm.job.reused_trials(), 40);
  ASSERT_THAT(calm.log, ::testing::Contains(::testing::StartsWith("known ")));

  const Outcome disturbed = RunJobs({former, warm}, absl::Milliseconds(40));
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
  const Outcome calm = RunJob(spec, absl::InfiniteDuration());
  ASSERT_EQ(calm.job.state(), v1::SearchJob::SUCCEEDED) << calm.job.error();
  ExpectNothingLostOrDoubled(calm);
  size_t parts = 0;
  for (const std::string& line : calm.log) parts += absl::StartsWith(line, "part ") ? 1 : 0;
  EXPECT_GE(parts, 60u * 3) << "2,500 images in parts of 1,024";

  const Outcome disturbed = RunJob(spec, absl::Milliseconds(40));
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
  if (!std::filesystem::exists(SourceFolder() + "/build/deps/fashion-mnist")) {
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
                                    SourceFolder() + "/build/deps/fashion-mnist",
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
    Client client(controller.address());
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
  bool ended = false;
  const absl::Time give_up = Clock::Real()->Now() + absl::Minutes(6);
  while (!ended && Clock::Real()->Now() < give_up) {
    Clock::Real()->SleepFor(kills < kKills ? absl::Seconds(3 * random.Double())
                                           : absl::Milliseconds(200));
    Client client(controller.address());
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
    if (random.Bernoulli(0.5)) {
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
                                          SourceFolder() + "/build/deps/fashion-mnist",
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
  Client client(controller.address());
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
  if (!std::filesystem::exists(SourceFolder() + "/build/deps/fashion-mnist")) {
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
