// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/fault_lab.h"

#include <signal.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "cli/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/store/sqlite_result_store.h"
#include "tests/faults/flaky_proxy.h"

namespace forall::testing {
namespace {

void KillAndWait(ChildProcess* process) {
  kill(process->pid(), SIGKILL);
  while (process->IsRunning()) Clock::Real()->SleepFor(absl::Milliseconds(1));
}

std::vector<std::string> EventLog(const std::string& database, int64_t job) {
  std::vector<std::string> log;
  const auto store = SqliteResultStore::Create({.path = database});
  EXPECT_THAT(store, IsOk());
  if (!store.ok()) return log;
  const auto events = (*store)->LoadEvents(job, 0, 1'000'000);
  EXPECT_THAT(events, IsOk());
  for (const EventRecord& event : *events) log.push_back(event.kind + " " + event.payload);
  return log;
}

// Follows a job to its end, killing the controller or the worker every `mean_life` or so.
void Follow(const std::string& name, const Trouble& trouble, ControllerProcess* controller,
            WorkerProcess* worker, Outcome* outcome) {
  Random random(trouble.seed);
  const absl::Time give_up = Clock::Real()->Now() + absl::Minutes(4);
  while (!::testing::Test::HasFatalFailure() && Clock::Real()->Now() < give_up) {
    const bool kills = trouble.mean_life != absl::InfiniteDuration();
    Clock::Real()->SleepFor(kills ? trouble.mean_life * (0.2 + 1.6 * random.Double())
                                  : absl::Milliseconds(100));
    Client client({.address = controller->address()});
    v1::GetSearchJobRequest request;
    request.set_name(name);
    const auto job = client.Call(client.search(), &v1::SearchService::Stub::GetSearchJob, request);
    if (job.ok() && HasEnded(job->state())) break;
    if (!kills) continue;
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

// A line of the scripted worker's log.
void Read(const std::string& line, const std::string& job, Outcome* outcome) {
  const std::vector<std::string> fields = absl::StrSplit(line, '\t');
  double value = 0;
  ASSERT_TRUE(fields.size() == 2 && absl::SimpleAtod(fields[1], &value)) << line;
  if (absl::StartsWith(fields[0], "fault ")) {
    outcome->faults.push_back(line);
  } else if (absl::StartsWith(fields[0], "taken ")) {
    ++outcome->taken[fields[0].substr(6)];
  } else if (absl::StartsWith(fields[0], "mischief ")) {
    ++outcome->mischiefs[fields[0].substr(9)];
  } else if (absl::StartsWith(fields[0], job + "/")) {
    outcome->acknowledged[fields[0]] = value;
  }
}

}  // namespace

void ControllerProcess::Start() {
  const std::string port_file = absl::StrCat(dir_.path(), "/port.", ++life_);
  auto process = ChildProcess::Start(
      {Program("forall-controller"), "--db", dir_ / "forall.db", "--listen",
       absl::StrCat("127.0.0.1:", port_), "--port-file", port_file, "--heartbeat", "200ms",
       "--supernet", SourceDir() + "/supernets/fashion_mnist"},
      dir_ / "controller.log");
  FORALL_ASSERT_OK(process);
  process_ = *std::move(process);
  for (int i = 0; i < 1000; ++i) {
    const absl::StatusOr<std::string> port = ReadFile(port_file);
    // Workers look for it where it was.
    if (port.ok() && absl::SimpleAtoi(absl::StripAsciiWhitespace(*port), &port_)) {
      MutexLock lock(&mu_);
      address_ = absl::StrCat("127.0.0.1:", port_);
      return;
    }
    ASSERT_TRUE(process_->IsRunning()) << *ReadFile(dir_ / "controller.log");
    Clock::Real()->SleepFor(absl::Milliseconds(10));
  }
  FAIL() << "the controller did not start";
}

void ControllerProcess::Kill() {
  {
    MutexLock lock(&mu_);
    address_.clear();
  }
  KillAndWait(process_.get());
}

std::string ControllerProcess::address() const {
  MutexLock lock(&mu_);
  return address_;
}

void WorkerProcess::Start() {
  logs_.push_back(absl::StrCat(dir_.path(), "/worker.log.", logs_.size()));
  auto process = ChildProcess::Start(arguments_(logs_.back()), logs_.back());
  FORALL_ASSERT_OK(process);
  process_ = *std::move(process);
}

void WorkerProcess::Kill() { KillAndWait(process_.get()); }

std::vector<int> WorkerProcess::Children() const {
  std::vector<int> children;
  std::error_code gone;
  const std::string tasks = absl::StrCat("/proc/", process_->pid(), "/task");
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    const absl::StatusOr<std::string> list = ReadFile(task.path().string() + "/children");
    if (!list.ok()) continue;
    for (const absl::string_view field : absl::StrSplit(*list, ' ', absl::SkipWhitespace())) {
      int pid = 0;
      if (absl::SimpleAtoi(field, &pid)) children.push_back(pid);
    }
  }
  return children;
}

std::vector<std::string> WorkerProcess::LogLines() const {
  std::vector<std::string> lines;
  for (const std::string& path : logs_) {
    const std::string log = *ReadFile(path);
    for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
      lines.emplace_back(line);
    }
  }
  return lines;
}

v1::SearchJob Submit(const v1::SearchJobSpec& spec, const std::string& address) {
  Client client({.address = address});
  v1::SubmitSearchJobRequest request;
  *request.mutable_spec() = spec;
  const auto job = client.Call(client.search(), &v1::SearchService::Stub::SubmitSearchJob, request);
  EXPECT_THAT(job, IsOk());
  return job.ok() ? *job : v1::SearchJob();
}

Outcome RunJobs(const std::vector<v1::SearchJobSpec>& specs, const Trouble& trouble) {
  TempDir dir;
  ControllerProcess controller(dir);
  controller.Start();
  Outcome outcome;
  std::string address = controller.address();
  std::unique_ptr<FlakyProxy> proxy;
  if (trouble.network) {
    proxy = FlakyProxy::Start({.target_port = controller.port(), .seed = trouble.seed}).value();
    address = proxy->address();
  }
  uint64_t life = trouble.seed;
  WorkerProcess worker(dir, [&](const std::string& log) {
    std::vector<std::string> arguments = {Program("scripted-worker"), address, log};
    if (trouble.mischief) arguments.push_back(absl::StrCat(++life));
    return arguments;
  });
  std::string name;
  for (const v1::SearchJobSpec& spec : specs) {
    name = Submit(spec, controller.address()).name();
    if (&spec == &specs.front()) worker.Start();
    Follow(name, &spec == &specs.back() ? trouble : Trouble(), &controller, &worker, &outcome);
  }
  worker.Kill();
  for (const std::string& line : worker.LogLines()) Read(line, name, &outcome);
  if (proxy != nullptr) {
    outcome.cuts = proxy->cuts();
    outcome.stops = proxy->stops();
  }
  Client client({.address = controller.address()});
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

Outcome RunJob(const v1::SearchJobSpec& spec, const Trouble& trouble) {
  return RunJobs({spec}, trouble);
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
  EXPECT_GE(outcome.taken.size(), outcome.acknowledged.size());
  for (const auto& [task, times] : outcome.taken) {
    EXPECT_EQ(times, 1) << task << " was acknowledged, lost, and done again";
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

void ExpectTheSameFrontier(const Outcome& disturbed, const Outcome& calm) {
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

void ExpectTheSame(const Outcome& disturbed, const Outcome& calm) {
  ASSERT_EQ(disturbed.log.size(), calm.log.size());
  for (size_t i = 0; i < calm.log.size(); ++i) ASSERT_EQ(disturbed.log[i], calm.log[i]) << i;
  ExpectTheSameFrontier(disturbed, calm);
}

}  // namespace forall::testing
