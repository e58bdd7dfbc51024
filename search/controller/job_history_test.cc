// SPDX-License-Identifier: Apache-2.0
// Jobs that learn from what others measured before them.
#include "search/controller/job_history.h"

#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/controller.h"
#include "search/controller/job_validator.h"
#include "search/controller/resource_names.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

v1::SearchJobSpec Guided(int trials) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
  spec.mutable_sampler()->set_algorithm("guided");
  spec.set_seed(11);
  spec.set_parallelism(2);
  return spec;
}

v1::SearchJobSpec OnDevice(v1::SearchJobSpec spec, const std::string& device) {
  for (v1::Objective& objective : *spec.mutable_objectives()) {
    if (objective.metric() == "latency_ms") {
      objective.mutable_condition()->set_device(DeviceName(device));
    }
  }
  return spec;
}

std::vector<KnownSubnet> KnownOf(ControllerHarness* harness, const std::string& job) {
  const auto events = harness->sqlite()->LoadEvents(ParseJobName(job).value(), 0, 1'000'000);
  for (const EventRecord& record : *events) {
    if (record.kind == "known") return FromRecord(record)->subnets;
  }
  return {};
}

std::vector<std::string> Keys(ControllerHarness* harness, const std::string& job) {
  std::vector<std::string> keys;
  for (const v1::Trial& trial : harness->Trials(job)) keys.push_back(trial.arch_key());
  return keys;
}

class JobHistoryTest : public ::testing::Test {
 protected:
  JobHistoryTest() { harness_.Register("w"); }
  std::string SubmitOk(const v1::SearchJobSpec& spec) {
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec);
    EXPECT_THAT(job, IsOk());
    return job.ok() ? job->name() : "";
  }
  std::string Run(const v1::SearchJobSpec& spec, const ControllerHarness::Spoil& spoil = nullptr) {
    const std::string name = SubmitOk(spec);
    EXPECT_EQ(harness_.RunToEnd(name, "w", spoil).state(), v1::SearchJob::SUCCEEDED);
    return name;
  }

  ControllerHarness harness_;
};

TEST_F(JobHistoryTest, AJobBeginsWithWhatFormerOnesFoundAndLearnsFromAll) {
  const std::string former = Run(ControllerHarness::Spec(30));
  std::set<std::string> measured;
  for (const std::string& key : Keys(&harness_, former)) measured.insert(key);
  const std::string name = SubmitOk(Guided(12));
  harness_.RunToEnd(name);
  EXPECT_THAT(KnownOf(&harness_, name), SizeIs(30));
  const std::vector<v1::Trial> trials = harness_.Trials(name);
  ASSERT_THAT(trials, SizeIs(12));
  int reused = 0;
  for (const v1::Trial& trial : trials) {
    reused += trial.reused() ? 1 : 0;
    EXPECT_EQ(trial.reused(), measured.contains(trial.arch_key())) << trial.name();
  }
  EXPECT_TRUE(trials[0].reused());
  EXPECT_LT(reused, 12) << "nothing new was tried";
  // They are trials like others, and count in the budget.
  EXPECT_EQ(harness_.Job(name)->reused_trials(), reused);
}

TEST_F(JobHistoryTest, AColdStartProposesWhatAJobInAnEmptyStoreDoes) {
  Run(ControllerHarness::Spec(20));
  v1::SearchJobSpec spec = Guided(6);
  spec.set_cold_start(true);
  const std::string cold = Run(spec);
  EXPECT_THAT(KnownOf(&harness_, cold), IsEmpty());
  ControllerHarness empty;
  empty.Register("w");
  const std::string alone = empty.Submit(Guided(6))->name();
  empty.RunToEnd(alone);
  EXPECT_EQ(Keys(&harness_, cold), Keys(&empty, alone));
}

TEST_F(JobHistoryTest, OtherSamplersAndJobsThatMeasureNothingKnowNothing) {
  Run(ControllerHarness::Spec(16));
  EXPECT_THAT(KnownOf(&harness_, Run(ControllerHarness::Spec(4))), IsEmpty());
  v1::SearchJobSpec exact = Guided(4);
  exact.mutable_objectives(0)->set_metric("params");
  exact.mutable_objectives(1)->set_metric("macs");
  EXPECT_THAT(KnownOf(&harness_, Run(exact)), IsEmpty());
}

// A second device: accuracies are known there, latencies are not.
TEST_F(JobHistoryTest, ASecondDeviceBeginsWithSubnetsWhoseAccuracyIsKnown) {
  const std::string former = Run(OnDevice(ControllerHarness::Spec(30), "pc"));
  harness_.Register("w2", "board", "f2");
  const std::string name = SubmitOk(OnDevice(Guided(10), "board"));
  std::map<std::string, std::set<v1::Task::Kind>> kinds;  // by trial
  harness_.RunToEnd(name, "w2", [&](const v1::Task& task, v1::TaskResult*) {
    if (task.fidelity() != "final") kinds[task.trial()].insert(task.kind());
  });
  for (const KnownSubnet& subnet : KnownOf(&harness_, name)) {
    EXPECT_NE(subnet.measurements[0], 0);
    EXPECT_EQ(subnet.measurements[1], 0) << "the latency is of another device";
  }
  const std::vector<v1::Trial> trials = harness_.Trials(name);
  ASSERT_THAT(trials, SizeIs(10));
  const std::vector<std::string> known = Keys(&harness_, former);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_THAT(known, Contains(trials[i].arch_key()));
    EXPECT_EQ(kinds[trials[i].name()], std::set<v1::Task::Kind>{v1::Task::LATENCY});
  }
}

TEST_F(JobHistoryTest, WhatIsMeasuredAfterSubmissionChangesNothing) {
  std::vector<std::vector<std::string>> logs;
  std::vector<std::vector<std::string>> keys;
  for (const bool another_job_goes_on : {false, true}) {
    ControllerHarness harness;
    harness.Register("w2", "board", "f2");
    harness.Register("w");
    const std::string former = harness.Submit(OnDevice(ControllerHarness::Spec(20), "pc"))->name();
    harness.RunToEnd(former);
    // Its device is away: it is submitted, and bound to it only later.
    harness.clock()->Advance(absl::Hours(1));
    harness.Tick();
    harness.Register("w");
    const std::string name = harness.Submit(OnDevice(Guided(10), "board"))->name();
    EXPECT_THAT(harness.Trials(name), IsEmpty());
    if (another_job_goes_on) {
      v1::SearchJobSpec other = OnDevice(ControllerHarness::Spec(20), "pc");
      other.set_seed(99);
      harness.RunToEnd(harness.Submit(other)->name());
      harness.Restart();
    }
    harness.Register("w2", "board", "f2");
    harness.RunToEnd(name, "w2");
    EXPECT_THAT(KnownOf(&harness, name), SizeIs(20));
    keys.push_back(Keys(&harness, name));
    std::vector<std::string> log;
    for (const std::string& line : harness.Log(name)) {
      if (absl::StrContains(line, "known")) log.push_back(line);
    }
    logs.push_back(log);
  }
  EXPECT_EQ(logs[0], logs[1]);
  EXPECT_EQ(keys[0], keys[1]);
}

TEST_F(JobHistoryTest, RejectedLatenciesAndOtherImagesAreNotKnown) {
  // Some latencies are trusted at the third attempt, the others never.
  std::map<std::string, int> attempts;
  const std::string former =
      Run(ControllerHarness::Spec(16), [&](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() != v1::Task::LATENCY || task.fidelity() == "final") return;
        if (++attempts[task.trial()] > 2 && task.arch_key().back() > '7') return;
        v1::Verdict* verdict = result->mutable_latency_result()->mutable_verdict();
        verdict->set_state(v1::Verdict::REJECTED);
        verdict->add_reasons("the reference ran at another pace");
      });
  std::set<int64_t> rejected;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> stored,
                              harness_.sqlite()->LoadMeasurements());
  for (const MeasurementRecord& record : stored) {
    if (record.verdict == VerdictState::kRejected) rejected.insert(record.id);
  }
  ASSERT_THAT(rejected, Not(IsEmpty()));
  const v1::SearchJob job = *harness_.Job(former);
  EXPECT_GT(job.failed_trials(), 0);
  const std::vector<KnownSubnet> known = KnownOf(&harness_, Run(Guided(3)));
  int with_latency = 0;
  for (const KnownSubnet& subnet : known) {
    for (const int64_t id : subnet.measurements) EXPECT_FALSE(rejected.contains(id));
    with_latency += subnet.measurements[1] != 0 ? 1 : 0;
  }
  EXPECT_EQ(with_latency, job.measured_trials());

  v1::SearchJobSpec more_images = Guided(3);
  more_images.mutable_fidelity()->set_screening_images(3000);
  for (const KnownSubnet& subnet : KnownOf(&harness_, Run(more_images))) {
    EXPECT_EQ(subnet.measurements[0], 0) << "its images are not those that the job screens with";
    EXPECT_NE(subnet.measurements[1], 0);
  }
}

// A job with tiers screens what it does not stop with the images of its last one.
TEST_F(JobHistoryTest, AccuraciesOfTheHighestTierAreKnownFirst) {
  v1::SearchJobSpec first = ControllerHarness::Spec(6);
  first.mutable_fidelity()->set_screening_images(1000);
  Run(first);
  first.mutable_fidelity()->set_screening_images(2500);
  first.mutable_budget()->set_max_trials(3);
  Run(first);
  v1::SearchJobSpec tiers = Guided(3);
  tiers.mutable_fidelity()->clear_screening_images();
  tiers.mutable_fidelity()->add_tiers(1000);
  tiers.mutable_fidelity()->add_tiers(2500);
  const std::vector<KnownSubnet> known = KnownOf(&harness_, SubmitOk(tiers));
  std::map<int64_t, int64_t> images;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> stored,
                              harness_.sqlite()->LoadMeasurements());
  for (const MeasurementRecord& record : stored) images[record.id] = record.sample_count;
  std::map<int64_t, int> subnets;  // by the images of their accuracy
  for (const KnownSubnet& subnet : known) ++subnets[images[subnet.measurements[0]]];
  EXPECT_EQ(subnets[2500], 3);
  EXPECT_EQ(subnets[1000], 3);
}

// Trials that need no worker are decided as they are proposed: how many may be under way, which by
// default is a matter of who is connected, must not change them.
TEST_F(JobHistoryTest, WhatIsKnownAtOnceDoesNotDependOnParallelism) {
  Run(ControllerHarness::Spec(30));
  v1::SearchJobSpec exact = ControllerHarness::Spec(60);
  exact.mutable_objectives(0)->set_metric("params");
  exact.mutable_objectives(1)->set_metric("macs");
  exact.mutable_sampler()->set_population_size(10);
  exact.set_parallelism(1);
  const std::vector<std::string> one = Keys(&harness_, Run(exact));
  exact.set_parallelism(40);
  EXPECT_EQ(Keys(&harness_, Run(exact)), one);
}

// What a log may say of the past: nothing that came after its job.
TEST(JobFoldKnownTest, RefusesMeasurementsOfLaterAndOfOtherMetrics) {
  const std::shared_ptr<const Family> family = FindFamily("fashion_mnist").value();
  v1::SearchJobSpec spec = Guided(3);
  FillDefaults("fashion_mnist", &spec);
  const std::shared_ptr<const JobPlan> plan = JobPlan::Create(spec, family).value();
  MeasurementIndex index;
  for (int64_t id = 4; id <= 6; ++id) {
    MeasurementRecord record;
    record.id = id;
    record.key.metric = id == 6 ? "latency_ms" : "accuracy_top1";
    record.value = 90;
    index.Add(record);
  }
  JobRecord job;
  job.id = 1;
  job.history_snapshot = 4;
  const auto apply = [&](std::vector<int64_t> measurements, JobFold* fold) {
    return fold->Apply(
        {.kind = "known",
         .sequence = 1,
         .subnets = {{family->search_space().Smallest().choices, std::move(measurements)}}});
  };
  for (const std::vector<int64_t>& wrong :
       {std::vector<int64_t>{5, 0}, {6, 0}, {7, 0}, {4}, {4, 0, 0}}) {
    JobFold fold(job, plan, &index);
    EXPECT_THAT(apply(wrong, &fold), StatusIs(absl::StatusCode::kDataLoss));
  }
  JobFold fold(job, plan, &index);
  EXPECT_THAT(apply({4, 0}, &fold), IsOk());
  ASSERT_THAT(fold.known(), SizeIs(1));
  EXPECT_EQ(fold.known()[0].objectives[0], -90);
  EXPECT_TRUE(std::isnan(fold.known()[0].objectives[1]));
}

// A screened value stays what the job knows, though a final one stands beside it.
TEST_F(JobHistoryTest, KnownValuesAreOfScreeningsWhereThereAreSome) {
  Run(ControllerHarness::Spec(16));
  const std::string name = Run(Guided(3));
  std::map<int64_t, MeasurementRecord> records;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> stored,
                              harness_.sqlite()->LoadMeasurements());
  for (const MeasurementRecord& record : stored) {
    records[record.id] = record;
  }
  const std::vector<KnownSubnet> known = KnownOf(&harness_, name);
  EXPECT_THAT(known, SizeIs(16));
  for (const KnownSubnet& subnet : known) {
    EXPECT_EQ(records[subnet.measurements[0]].sample_count, 2500);
    EXPECT_EQ(records[subnet.measurements[1]].fidelity, FidelityLevel::kScreening);
  }
}

}  // namespace
}  // namespace forall
