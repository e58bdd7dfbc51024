// SPDX-License-Identifier: Apache-2.0
#include "search/controller/controller.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "supernet/predictor/accuracy_predictor.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ControllerTest : public ::testing::Test {
 protected:
  std::string SubmitOk(const v1::SearchJobSpec& spec) {
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec);
    EXPECT_THAT(job, IsOk());
    return job.ok() ? job->name() : "";
  }
  Controller* controller() { return harness_.controller(); }

  ControllerHarness harness_;
};

TEST_F(ControllerTest, JobRunsToItsFinalFrontier) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(24);
  spec.mutable_fidelity()->set_test_split(true);
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED) << job.error();
  EXPECT_EQ(job.proposed_trials(), 24);
  EXPECT_EQ(job.measured_trials(), 24);
  EXPECT_EQ(job.finalized_trials(), job.frontier_size());
  EXPECT_GT(job.hypervolume(), 0);
  EXPECT_LT(job.hypervolume(), 1);
  EXPECT_THAT(job.hypervolume_reference(), SizeIs(2));
  EXPECT_GT(job.hypervolume_reference(1), 0);

  const v1::QueryParetoFrontierResponse frontier = harness_.Frontier(name);
  EXPECT_EQ(frontier.members_size(), job.frontier_size());
  EXPECT_EQ(frontier.considered_trials(), 24);
  int knees = 0;
  for (const v1::FrontierMember& member : frontier.members()) {
    EXPECT_TRUE(member.trial().finalized());
    EXPECT_TRUE(member.trial().on_frontier());
    knees += member.knee();
    bool test = false;
    for (const v1::Measurement& measurement : member.trial().measurements()) {
      test |= measurement.condition().split() == "test";
    }
    EXPECT_TRUE(test);
  }
  EXPECT_EQ(knees, 1);
}

TEST_F(ControllerTest, Invariant7FinalNumbersAreOfTheArtifactThatIsExported) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(24));
  harness_.RunToEnd(name);
  for (const v1::FrontierMember& member : harness_.FrontierMembers(name)) {
    v1::ExportSubnetRequest request;
    request.set_name(member.trial().name());
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::ExportSubnetResponse exported,
                                CallAndWait(controller(), &Controller::ExportSubnet, request));
    ASSERT_THAT(member.measurements(), SizeIs(2));
    for (const v1::Measurement& measurement : member.measurements()) {
      EXPECT_EQ(measurement.fidelity(), "final");
      EXPECT_EQ(measurement.subject(), exported.artifact_sha256());
    }
  }
}

TEST_F(ControllerTest, Invariant5FrontierHoldsNoDominatedAndNoDuplicatePoint) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(30));
  for (int step = 0; harness_.Step("w"); ++step) {
    if (step % 7 != 0) continue;
    const v1::QueryParetoFrontierResponse frontier = harness_.Frontier(name);
    for (int i = 1; i < frontier.members_size(); ++i) {
      // Best accuracy first: each later one is worse there and better in latency.
      EXPECT_GT(frontier.members(i - 1).values(0), frontier.members(i).values(0));
      EXPECT_GT(frontier.members(i - 1).values(1), frontier.members(i).values(1));
    }
  }
}

TEST_F(ControllerTest, Invariant6LatencyNamesDeviceSettingsSamplesAndVerdict) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(4));
  harness_.RunToEnd(name);
  int latencies = 0;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> records,
                              harness_.sqlite()->LoadMeasurements());
  for (const MeasurementRecord& record : records) {
    if (record.key.metric != "latency_ms") continue;
    ++latencies;
    EXPECT_EQ(record.key.device, "pc");
    EXPECT_EQ(record.key.device_fingerprint, "f1");
    EXPECT_EQ(record.key.profile, "p1");
    EXPECT_EQ(record.verdict, VerdictState::kTrusted);
    EXPECT_EQ(record.worker_build, "0.1.0");
    EXPECT_NEAR(record.value, record.ratio * record.baseline_reference_ms, 1e-9);
    FORALL_ASSERT_OK_AND_ASSIGN(const MeasurementEvidence evidence,
                                harness_.sqlite()->LoadEvidence(record.id));
    EXPECT_THAT(evidence.samples_ns, SizeIs(20));
  }
  EXPECT_GT(latencies, 4);
}

// Long after its first samples the search still proposes what it proposed, although results come at
// once now and final latencies differ from those at screening.
TEST_F(ControllerTest, SecondJobReusesWhatTheFirstMeasured) {
  harness_.Register("w");
  harness_.RunToEnd(SubmitOk(ControllerHarness::Spec(80)), "w",
                    [](const v1::Task& task, v1::TaskResult* result) {
                      if (task.kind() != v1::Task::LATENCY || task.fidelity() != "final") return;
                      v1::LatencyResult* latency = result->mutable_latency_result();
                      latency->set_ratio(latency->ratio() * 1.2);
                      latency->set_ratio_low(latency->ratio_low() * 1.2);
                      latency->set_ratio_high(latency->ratio_high() * 1.2);
                    });
  const std::string second = SubmitOk(ControllerHarness::Spec(80));
  for (int i = 0; i < 10 && !harness_.Job(second)->has_end_time(); ++i) harness_.Tick();
  const v1::SearchJob job = *harness_.Job(second);
  // Nothing is left to do for any worker.
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED) << job.error();
  EXPECT_EQ(job.measured_trials(), 80);
  EXPECT_EQ(job.reused_trials(), 80);
  EXPECT_THAT(harness_.Lease("w")->tasks(), IsEmpty());
}

// The harness's latencies have 20 runs.
TEST_F(ControllerTest, AJobsOwnRulesReachTheWorkerAndDecideWhatIsReused) {
  harness_.Register("w");
  harness_.RunToEnd(SubmitOk(ControllerHarness::Spec(30)));
  const auto tasks_with = [&](int min_runs) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(30);
    v1::LatencyProfile& rules = *spec.mutable_fidelity()->mutable_screening_latency();
    rules.set_base("standard");
    rules.set_sessions(1);
    rules.set_min_runs(min_runs);
    int screenings = 0;
    harness_.RunToEnd(SubmitOk(spec), "w", [&](const v1::Task& task, v1::TaskResult*) {
      if (task.kind() != v1::Task::LATENCY) return;
      EXPECT_EQ(task.has_latency_rules(), task.fidelity() == "screening");
      if (task.fidelity() != "screening") return;
      ++screenings;
      EXPECT_EQ(task.latency_rules().base(), "standard");
      EXPECT_EQ(task.latency_rules().min_runs(), min_runs);
    });
    return screenings;
  };
  EXPECT_EQ(tasks_with(20), 0) << "those of the first job will do";
  EXPECT_GT(tasks_with(21), 0) << "more than the first job's have, but for final latencies";
}

TEST_F(ControllerTest, OnlyTasksThatTheObjectivesNeedAreMade) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_objectives(1)->set_metric("macs");
  const std::string name = SubmitOk(spec);
  std::set<v1::Task::Kind> kinds;
  harness_.RunToEnd(name, "w",
                    [&](const v1::Task& task, v1::TaskResult*) { kinds.insert(task.kind()); });
  EXPECT_THAT(kinds, ElementsAre(v1::Task::EXPORT, v1::Task::ACCURACY));

  spec.mutable_objectives(0)->set_metric("params");
  EXPECT_EQ(harness_.Job(SubmitOk(spec))->state(), v1::SearchJob::SUCCEEDED);
}

TEST_F(ControllerTest, RepeatedSubmissionIsOneJob) {
  const v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob first, harness_.Submit(spec, "r1"));
  harness_.Restart();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob again, harness_.Submit(spec, "r1"));
  EXPECT_EQ(again.name(), first.name());
  EXPECT_THAT(harness_.Submit(ControllerHarness::Spec(6), "r1"),
              StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST_F(ControllerTest, SubmissionIsRefusedWithAReason) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.set_supernet("supernets/other");
  EXPECT_THAT(harness_.Submit(spec), StatusIs(absl::StatusCode::kNotFound));
  spec = ControllerHarness::Spec(5);
  spec.add_constraints()->set_metric("macs");
  spec.mutable_constraints(0)->set_at_most(1000);
  EXPECT_THAT(harness_.Submit(spec),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("nearest bound")));
  harness_.Register("a", "pc");
  harness_.Register("b", "phone");
  EXPECT_THAT(harness_.Submit(ControllerHarness::Spec(5)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("devices/pc"), HasSubstr("devices/phone"))));
  spec = ControllerHarness::Spec(5);
  spec.mutable_objectives(1)->mutable_condition()->set_device("devices/pcc");
  EXPECT_THAT(harness_.Submit(spec), StatusIs(absl::StatusCode::kFailedPrecondition,
                                              HasSubstr("devices/pc, devices/phone")));
  spec.mutable_objectives(1)->mutable_condition()->set_device("devices/phone");
  EXPECT_THAT(harness_.Submit(spec), IsOk());
}

TEST_F(ControllerTest, ExactConstraintsAreKeptByEveryProposal) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(12);
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("macs");
  constraint->set_at_most(2e7);
  const std::string name = SubmitOk(spec);
  EXPECT_EQ(harness_.RunToEnd(name).measured_trials(), 12);
  for (const v1::Trial& trial : harness_.Trials(name)) {
    for (const v1::Measurement& measurement : trial.measurements()) {
      if (measurement.metric() == "macs") {
        EXPECT_LE(measurement.value(), 2e7);
      }
    }
  }
}

TEST_F(ControllerTest, FrontierWithoutFeasibleTrialsNamesTheClosest) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(12);
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_at_most(1e-3);
  const std::string name = SubmitOk(spec);
  EXPECT_EQ(harness_.RunToEnd(name).infeasible_trials(), 12);
  const v1::QueryParetoFrontierResponse own = harness_.Frontier(name);
  EXPECT_THAT(own.members(), IsEmpty());
  ASSERT_THAT(own.closest(), SizeIs(3));
  double last = 0;
  for (const v1::ClosestTrial& closest : own.closest()) {
    EXPECT_EQ(closest.trial().state(), v1::Trial::INFEASIBLE);
    ASSERT_THAT(closest.misses(), SizeIs(1));
    const v1::ClosestTrial::Miss& miss = closest.misses(0);
    EXPECT_EQ(miss.constraint().metric(), "latency_ms");
    EXPECT_DOUBLE_EQ(miss.relative_excess(), (miss.value() - 1e-3) / 1e-3);
    EXPECT_GE(miss.relative_excess(), last);
    last = miss.relative_excess();
    // The latency spared the accuracy.
    ASSERT_THAT(closest.values(), SizeIs(2));
    EXPECT_TRUE(std::isnan(closest.values(0)));
    EXPECT_EQ(closest.values(1), miss.value());
  }
  // Over the supernet, whose constraints are only those of the question.
  v1::QueryParetoFrontierRequest request;
  request.set_supernet("supernets/fashion_mnist");
  request.add_objectives()->set_metric("macs");
  *request.add_constraints() = *constraint;
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse all,
                              CallAndWait(controller(), &Controller::QueryParetoFrontier, request));
  EXPECT_THAT(all.members(), IsEmpty());
  ASSERT_THAT(all.closest(), SizeIs(3));
  EXPECT_EQ(all.closest(0).trial().name(), own.closest(0).trial().name());
  request.mutable_constraints(0)->set_at_most(1e6);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse met,
                              CallAndWait(controller(), &Controller::QueryParetoFrontier, request));
  EXPECT_THAT(met.members(), SizeIs(1));
  EXPECT_THAT(met.closest(), IsEmpty());
}

TEST_F(ControllerTest, TrialThatBreaksAMeasuredConstraintIsInfeasibleAndOffTheFrontier) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(20);
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_at_most(2);
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_GT(job.infeasible_trials(), 0);
  EXPECT_GT(job.measured_trials(), 0);
  EXPECT_EQ(job.infeasible_trials() + job.measured_trials(), 20);
  for (const v1::FrontierMember& member : harness_.FrontierMembers(name)) {
    EXPECT_LE(member.values(1), 2);
  }
}

// A latency costs less than an accuracy: what breaks a limit on it is not classified.
TEST_F(ControllerTest, LatencyThatBreaksALimitSparesTheAccuracy) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(24);
  spec.mutable_sampler()->set_algorithm("guided");
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_at_most(2);
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  int spared = 0;
  for (const v1::Trial& trial : harness_.Trials(name)) {
    bool classified = false;
    for (const v1::Measurement& measurement : trial.measurements()) {
      classified |= measurement.metric() == "accuracy_top1";
    }
    EXPECT_TRUE(trial.state() != v1::Trial::MEASURED || classified);
    if (trial.state() != v1::Trial::INFEASIBLE || classified) continue;
    ++spared;
    EXPECT_THAT(trial.error(), HasSubstr("is above 2 even at the lower end of its interval"));
  }
  EXPECT_GT(spared, 0);
  EXPECT_EQ(job.spared_accuracies(), spared);
  // And the search learns from them: it soon keeps the limit.
  EXPECT_LT(job.infeasible_trials(), 14);
}

// A limit on a latency, which the harness measures to 1 %.
v1::SearchJobSpec LimitedSpec(int trials) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_at_most(2);
  return spec;
}

TEST_F(ControllerTest, LimitWithinTheIntervalOfALatencySparesNothing) {
  harness_.Register("w");
  const std::string name = SubmitOk(LimitedSpec(12));
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() == v1::Task::LATENCY) result->mutable_latency_result()->set_ratio_low(0);
      });
  EXPECT_GT(job.infeasible_trials(), 0);
  EXPECT_EQ(job.spared_accuracies(), 0);
  for (const v1::Trial& trial : harness_.Trials(name)) EXPECT_GT(trial.accuracy_images(), 0);
}

// What an earlier job has measured would have cost nothing.
TEST_F(ControllerTest, KnownAccuracyIsNotCountedAsSpared) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(20);
  spec.mutable_sampler()->set_algorithm("random");
  harness_.RunToEnd(SubmitOk(spec));
  v1::SearchJobSpec limited = LimitedSpec(20);
  limited.mutable_sampler()->set_algorithm("random");
  const std::string name = SubmitOk(limited);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_GT(job.infeasible_trials(), 0);
  EXPECT_EQ(job.spared_accuracies(), 0);
  harness_.Restart();
  EXPECT_EQ(harness_.Job(name)->spared_accuracies(), 0);
  // Where nothing was known, something is spared.
  ControllerHarness alone;
  alone.Register("w");
  EXPECT_GT(alone.RunToEnd(alone.Submit(limited)->name()).spared_accuracies(), 0);
}

TEST_F(ControllerTest, PlateauEndsTheSearchAndSaysSo) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(200);
  spec.mutable_budget()->set_plateau_trials(10);
  spec.mutable_budget()->set_plateau_improvement(0.5);
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_GE(job.measured_trials(), 11);
  EXPECT_LT(job.measured_trials(), 60);
  EXPECT_THAT(job.stop_reason(), HasSubstr("plateau_trials"));
  EXPECT_EQ(job.error(), "");
  harness_.Restart();
  harness_.Register("w");
  EXPECT_EQ(harness_.Job(name)->stop_reason(), job.stop_reason());
  // Where every improvement counts and there is one, it goes on to the end of its budget.
  spec.mutable_budget()->set_max_trials(20);
  spec.mutable_budget()->set_plateau_trials(19);
  spec.mutable_budget()->set_plateau_improvement(1e-12);
  spec.set_seed(8);
  const v1::SearchJob other = harness_.RunToEnd(SubmitOk(spec));
  EXPECT_EQ(other.measured_trials(), 20);
  EXPECT_THAT(other.stop_reason(), IsEmpty());
}

TEST_F(ControllerTest, JobWaitsForADeviceAndSaysSo) {
  const std::string name = SubmitOk(ControllerHarness::Spec(4));
  EXPECT_THAT(harness_.Job(name)->waiting_reason(), HasSubstr("worker"));
  EXPECT_EQ(harness_.Job(name)->proposed_trials(), 0);
  harness_.Register("w");
  EXPECT_EQ(harness_.Job(name)->proposed_trials(), 4);
  EXPECT_THAT(harness_.Job(name)->waiting_reason(), IsEmpty());
}

TEST_F(ControllerTest, JobFailsWhenItsDeviceChanges) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(8));
  for (int i = 0; i < 10; ++i) harness_.Step("w");
  harness_.Register("w", "pc", "f2");
  const v1::SearchJob job = *harness_.Job(name);
  EXPECT_EQ(job.state(), v1::SearchJob::FAILED);
  EXPECT_THAT(job.error(), AllOf(HasSubstr("devices/pc"), HasSubstr("f2")));
}

TEST_F(ControllerTest, DeterministicFailureMakesATrialInfeasibleAtOnce) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  int failures = 0;
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() != v1::Task::EXPORT || !absl::EndsWith(task.trial(), "/3")) return;
        ++failures;
        result->mutable_failure()->set_reason(v1::TaskFailure::DETERMINISTIC);
        result->mutable_failure()->set_message("unsupported operator");
      });
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.infeasible_trials(), 1);
  EXPECT_THAT(harness_.Trials(name)[2].error(), HasSubstr("unsupported operator"));
}

// A commit takes some of them; nobody but the next ones asks for the rest.
TEST_F(ControllerTest, AsManyAsMayBeInFlightAreProposedOverSeveralCommits) {
  constexpr int kInFlight = 200;
  harness_.Register("a");
  v1::SearchJobSpec spec = ControllerHarness::Spec(kInFlight + 100);
  spec.mutable_sampler()->set_algorithm("random");
  spec.set_parallelism(kInFlight);
  for (const bool restart : {false, true}) {
    spec.set_seed(restart ? 1 : 2);
    const std::string name = SubmitOk(spec);
    if (restart) harness_.Restart();
    size_t proposed = 0;
    // Each answer waits for a commit.
    for (int round = 0; round < kInFlight && proposed < kInFlight; ++round) {
      proposed = harness_.Trials(name).size();
    }
    EXPECT_EQ(proposed, kInFlight);
  }
}

TEST_F(ControllerTest, TaskThatFailsOnTwoWorkersFailsItsTrialAlsoAcrossARestart) {
  harness_.Register("a");
  v1::SearchJobSpec spec = ControllerHarness::Spec(2);
  spec.set_parallelism(1);
  const std::string name = SubmitOk(spec);
  const auto fail = [](const v1::Task&, v1::TaskResult* result) {
    result->mutable_failure()->set_reason(v1::TaskFailure::TRANSIENT);
    result->mutable_failure()->set_message("no such luck");
  };
  EXPECT_TRUE(harness_.Step("a", fail));
  EXPECT_EQ(harness_.Job(name)->failed_trials(), 0);
  harness_.Restart();
  harness_.Register("b");
  EXPECT_TRUE(harness_.Step("b", fail));
  EXPECT_EQ(harness_.Job(name)->failed_trials(), 1);
  EXPECT_EQ(harness_.RunToEnd(name, "b").measured_trials(), 1);
}

TEST_F(ControllerTest, RejectedLatencyNeverCountsAndIsMeasuredAgainThreeTimes) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(5));
  std::map<std::string, int> rejected;
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() != v1::Task::LATENCY || task.fidelity() != "screening") return;
        const bool always = absl::EndsWith(task.trial(), "/2");
        if (!always && rejected[task.trial()] > 0) return;
        ++rejected[task.trial()];
        result->mutable_latency_result()->mutable_verdict()->set_state(v1::Verdict::REJECTED);
        result->mutable_latency_result()->mutable_verdict()->add_reasons("throttled");
        result->mutable_latency_result()->set_ratio(1e-6);  // would dominate everything
      });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), 4);
  EXPECT_EQ(job.failed_trials(), 1);
  EXPECT_EQ(rejected[absl::StrCat(name, "/trials/2")], 3);
  for (const v1::FrontierMember& member : harness_.FrontierMembers(name)) {
    EXPECT_GT(member.values(1), 0.1);
  }
}

TEST_F(ControllerTest, NoisyLatencyIsContested) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(5));
  harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
    if (task.kind() != v1::Task::LATENCY) return;
    result->mutable_latency_result()->mutable_verdict()->set_state(v1::Verdict::NOISY);
  });
  const v1::QueryParetoFrontierResponse frontier = harness_.Frontier(name);
  ASSERT_GT(frontier.members_size(), 0);
  for (const v1::FrontierMember& member : frontier.members()) {
    EXPECT_EQ(member.certainty(), v1::FrontierMember::CONTESTED);
  }
}

TEST_F(ControllerTest, MemberWhoseFinalLatencyIsRejectedStaysContestedAndTheJobEnds) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(5));
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() != v1::Task::LATENCY || task.fidelity() != "final") return;
        result->mutable_latency_result()->mutable_verdict()->set_state(v1::Verdict::REJECTED);
      });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_GT(job.frontier_size(), 0);
  EXPECT_EQ(job.finalized_trials(), 0);
  EXPECT_EQ(harness_.Frontier(name).members(0).certainty(), v1::FrontierMember::CONTESTED);
  EXPECT_THAT(harness_.Frontier(name).members(0).trial().error(), HasSubstr("rejected"));
  // What counts is listed before what was rejected.
  const v1::FrontierMember member = harness_.FrontierMembers(name)[0];
  std::vector<v1::Verdict::State> verdicts;
  for (const v1::Measurement& measurement : member.trial().measurements()) {
    if (measurement.metric() == "latency_ms") verdicts.push_back(measurement.verdict().state());
  }
  EXPECT_THAT(verdicts, ElementsAre(v1::Verdict::TRUSTED, v1::Verdict::REJECTED,
                                    v1::Verdict::REJECTED, v1::Verdict::REJECTED));
}

// A trial that lost by a latency which was only screened, and might have come out better, is timed
// as carefully as the members before the frontier is settled; its accuracy is left alone.
TEST_F(ControllerTest, ScreenedLatencyThatMightWinIsMeasuredFinally) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(20));
  std::map<std::string, double> ratio;
  std::map<std::string, std::set<std::string>> finals;
  std::string lucky;  // of equal accuracy with a member, slower by less than its interval
  const auto script = [&](const v1::Task& task, v1::TaskResult* result) {
    const bool final = task.fidelity() == "final";
    if (task.kind() == v1::Task::ACCURACY) {
      v1::AccuracyResult* measured = result->mutable_accuracy_result();
      measured->set_top1_correct(measured->images() * 9 / 10);
      if (final) finals[task.trial()].insert("accuracy");
    }
    if (task.kind() == v1::Task::LATENCY) {
      v1::LatencyResult* measured = result->mutable_latency_result();
      const auto number = static_cast<int>(ratio.size());
      const double width = number == 4 ? 0.3 : 0.01;
      if (!final) ratio[task.trial()] = 2 + 0.1 * number;
      if (!final && number == 4) lucky = task.trial();
      double value = ratio[task.trial()];
      if (final) finals[task.trial()].insert("latency");
      if (final && task.trial() == lucky) value = 1.5;
      measured->set_ratio(value);
      measured->set_ratio_low(value * (final ? 0.999 : 1 - width));
      measured->set_ratio_high(value * (final ? 1.001 : 1 + width));
    }
  };
  const v1::SearchJob job = harness_.RunToEnd(name, "w", script);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  // The first one was ahead; the fifth is, now that it was timed, and so is measured in full.
  ASSERT_EQ(job.frontier_size(), 1);
  const std::vector<v1::FrontierMember> members = harness_.FrontierMembers(name);
  EXPECT_EQ(members[0].trial().name(), lucky);
  EXPECT_EQ(members[0].certainty(), v1::FrontierMember::CERTAIN);
  EXPECT_THAT(finals[lucky], ElementsAre("accuracy", "latency"));
  EXPECT_EQ(finals.size(), 2u) << "nobody else could have won";
}

TEST_F(ControllerTest, NoMoreLatenciesAreContestedThanThereAreMembers) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(20));
  std::map<std::string, int> timed;
  std::set<std::string> accurate;
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        const bool final = task.fidelity() == "final";
        if (task.kind() == v1::Task::ACCURACY) {
          v1::AccuracyResult* measured = result->mutable_accuracy_result();
          measured->set_top1_correct(measured->images() * 9 / 10);
          if (final) accurate.insert(task.trial());
        }
        if (task.kind() == v1::Task::LATENCY) {
          v1::LatencyResult* measured = result->mutable_latency_result();
          if (final) ++timed[task.trial()];
          const double value = final ? 3 + 0.01 * static_cast<double>(timed.size()) : 3;
          measured->set_ratio(value);
          measured->set_ratio_low(value * 0.5);
          measured->set_ratio_high(value * 1.5);
        }
      });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.frontier_size(), 1);
  EXPECT_EQ(job.finalized_trials(), 1);
  EXPECT_LE(timed.size(), accurate.size() + 1);
  for (const auto& [trial, count] : timed) EXPECT_EQ(count, 1) << trial;
}

// Screening flatters those that it selects. When final measuring takes the same from all, the
// trials that lost at screening must not come in for having kept their flattering numbers: as they
// are, all thirty would, one wave after the other.
TEST_F(ControllerTest, ScreenedTrialsAreNotMeasuredFinallyForTheirFlatteringNumbers) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(30));
  std::map<std::string, double> accuracy;
  std::map<std::string, double> ratio;
  std::set<std::string> finalists;
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        const bool final = task.fidelity() == "final";
        if (task.kind() == v1::Task::ACCURACY) {
          v1::AccuracyResult* measured = result->mutable_accuracy_result();
          const auto images = static_cast<double>(measured->images());
          if (final) {
            finalists.insert(task.trial());
            measured->set_top1_correct(std::llround((accuracy[task.trial()] - 0.03) * images));
          } else {
            accuracy[task.trial()] = static_cast<double>(measured->top1_correct()) / images;
          }
        }
        if (task.kind() == v1::Task::LATENCY) {
          v1::LatencyResult* measured = result->mutable_latency_result();
          if (!final) ratio[task.trial()] = measured->ratio();
          measured->set_ratio(ratio[task.trial()]);
          measured->set_ratio_low(ratio[task.trial()] * 0.99);
          measured->set_ratio_high(ratio[task.trial()] * 1.01);
        }
      });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_GT(job.frontier_size(), 1);
  EXPECT_LE(static_cast<int>(finalists.size()), job.frontier_size() * 3 / 2);

  // The job's objectives, asked for by name, over the same mixture of screened and final numbers.
  v1::QueryParetoFrontierRequest request;
  request.set_parent(name);
  request.add_objectives()->set_metric("accuracy_top1");
  request.add_objectives()->set_metric("latency_ms");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse asked,
                              CallAndWait(controller(), &Controller::QueryParetoFrontier, request));
  const v1::QueryParetoFrontierResponse own = harness_.Frontier(name);
  ASSERT_EQ(asked.members_size(), own.members_size());
  for (int i = 0; i < own.members_size(); ++i) {
    EXPECT_EQ(asked.members(i).trial().name(), own.members(i).trial().name());
  }
}

TEST_F(ControllerTest, PauseHoldsWorkAndResumeGoesOn) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  v1::PauseSearchJobRequest pause;
  pause.set_name(name);
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::PauseSearchJob, pause));
  EXPECT_THAT(CallAndWait(controller(), &Controller::PauseSearchJob, pause),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  // What is under way finishes; nothing new is given out, also after a restart.
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased.tasks(0)))->code(), 0);
  EXPECT_FALSE(harness_.Step("w"));
  harness_.Restart();
  harness_.Register("w");
  EXPECT_FALSE(harness_.Step("w"));
  v1::ResumeSearchJobRequest resume;
  resume.set_name(name);
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::ResumeSearchJob, resume));
  EXPECT_EQ(harness_.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
}

TEST_F(ControllerTest, CancelDropsWaitingTasksAndKeepsResultsInFlight) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(harness_.Step("w"));  // exports
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(name);
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::CancelSearchJob, cancel));
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::CancelSearchJob, cancel));
  EXPECT_FALSE(harness_.Step("w"));
  const size_t before = harness_.sqlite()->LoadMeasurements()->size();
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased.tasks(0)))->code(), 0);
  EXPECT_GT(harness_.sqlite()->LoadMeasurements()->size(), before);
  EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::CANCELLED);
  for (const v1::Trial& trial : harness_.Trials(name)) {
    EXPECT_EQ(trial.state(), v1::Trial::CANCELLED);
  }
}

TEST_F(ControllerTest, CompletionIsIdempotentAndFenced) {
  harness_.Register("w");
  SubmitOk(ControllerHarness::Spec(4));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  const v1::TaskResult result = harness_.Evaluate(leased.tasks(0));
  v1::TaskResult stale = result;
  stale.set_lease_token("1-77");
  EXPECT_EQ(harness_.Complete("w", stale)->code(), static_cast<int>(absl::StatusCode::kAborted));
  EXPECT_EQ(harness_.Complete("w", result)->code(), 0);
  EXPECT_EQ(harness_.Complete("w", result)->code(), 0);
  v1::TaskResult other = result;
  other.mutable_failure()->set_reason(v1::TaskFailure::TRANSIENT);
  EXPECT_EQ(harness_.Complete("w", other)->code(),
            static_cast<int>(absl::StatusCode::kAlreadyExists));
  // Also by a controller that only has the store.
  harness_.Restart();
  EXPECT_THAT(harness_.Complete("w", result), StatusIs(absl::StatusCode::kNotFound));
  harness_.Register("w");
  EXPECT_EQ(harness_.Complete("w", result)->code(), 0);
  EXPECT_EQ(harness_.Complete("w", other)->code(),
            static_cast<int>(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(harness_.Complete("w", stale)->code(), static_cast<int>(absl::StatusCode::kAborted));
}

TEST_F(ControllerTest, CompletionLeasesTheNextTasksWhereItAsksForSome) {
  harness_.Register("w");
  SubmitOk(ControllerHarness::Spec(1));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w", 16));
  ASSERT_THAT(leased.tasks(), SizeIs(1));
  v1::CompleteTasksRequest request;
  request.set_worker("workers/w");
  *request.add_results() = harness_.Evaluate(leased.tasks(0));
  const auto complete = [&](int next) {
    request.set_max_next_tasks(next);
    return CallAndWait(controller(), &Controller::CompleteTasks, request);
  };
  EXPECT_THAT(complete(-1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(complete(17), StatusIs(absl::StatusCode::kInvalidArgument));
  // What the export makes possible is there once it is durable.
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::CompleteTasksResponse first, complete(16));
  EXPECT_EQ(first.completions(0).code(), 0);
  ASSERT_THAT(first.next().tasks(), Not(IsEmpty()));
  for (const v1::LeasedTask& task : first.next().tasks()) {
    EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(task))->code(), 0);
  }
  // None is asked for: none is leased.
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::CompleteTasksResponse silent, complete(0));
  EXPECT_FALSE(silent.has_next());
  v1::DrainWorkerRequest drain;
  drain.set_name("workers/w");
  FORALL_ASSERT_OK(CallAndWait(controller(), &Controller::DrainWorker, drain));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::CompleteTasksResponse draining, complete(16));
  EXPECT_TRUE(draining.next().drain());
  EXPECT_THAT(draining.next().tasks(), IsEmpty());
}

TEST_F(ControllerTest, ResultThatContradictsItselfIsRefusedAndTheLeaseStays) {
  harness_.Register("w");
  SubmitOk(ControllerHarness::Spec(4));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  v1::TaskResult wrong_kind = harness_.Evaluate(leased.tasks(0));
  wrong_kind.mutable_accuracy_result()->set_images(5);
  v1::TaskResult not_uploaded = harness_.Evaluate(leased.tasks(0));
  not_uploaded.mutable_export_result()->set_artifact_sha256(std::string(64, '0'));
  for (const v1::TaskResult& bad : {wrong_kind, not_uploaded}) {
    EXPECT_EQ(harness_.Complete("w", bad)->code(),
              static_cast<int>(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased.tasks(0)))->code(), 0);
}

TEST_F(ControllerTest, FullDiskLosesNothingAcknowledged) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(8));
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(harness_.Step("w"));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  const v1::TaskResult result = harness_.Evaluate(leased.tasks(0));
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost,
                             absl::ResourceExhaustedError("disk full"));
  EXPECT_THAT(harness_.Complete("w", result), StatusIs(absl::StatusCode::kResourceExhausted));
  // Memory is read anew; the worker repeats its call under the same lease.
  harness_.Tick();
  EXPECT_THAT(harness_.Complete("w", result), StatusIs(absl::StatusCode::kResourceExhausted));
  harness_.store()->Heal();
  harness_.clock()->Advance(absl::Seconds(1));
  harness_.Tick();
  EXPECT_EQ(harness_.Complete("w", result)->code(), 0);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), 8);
}

// Invariant (4), and (2): whenever the controller is killed, before or after a commit, the job goes
// on as if nothing had happened: the same log, the same proposals, every result once.
TEST(ControllerKillTest, Invariant4KilledAtEveryCommitTheLogIsThatOfAnUndisturbedJob) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  spec.mutable_fidelity()->set_test_split(true);
  spec.set_parallelism(2);
  std::vector<std::string> undisturbed;
  std::string frontier;
  int64_t commits = 0;
  size_t measurements = 0;
  {
    ControllerHarness harness;
    harness.Register("w");
    const std::string name = harness.Submit(spec)->name();
    const int64_t before = harness.store()->commits();
    ASSERT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
    commits = harness.store()->commits() - before;
    undisturbed = harness.Log(name);
    frontier = harness.Frontier(name).SerializeAsString();
    measurements = harness.sqlite()->LoadMeasurements()->size();
  }
  ASSERT_GT(commits, 20);
  for (const FaultyStore::Fault fault :
       {FaultyStore::Fault::kLost, FaultyStore::Fault::kUnanswered}) {
    for (int64_t at = 1; at <= commits; ++at) {
      ControllerHarness harness;
      harness.Register("w");
      const std::string name = harness.Submit(spec)->name();
      harness.store()->FailFrom(at, fault, absl::UnavailableError("killed"));
      ASSERT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED) << at;
      ASSERT_EQ(harness.Log(name), undisturbed) << "killed at commit " << at;
      EXPECT_EQ(harness.Frontier(name).SerializeAsString(), frontier) << at;
      EXPECT_EQ(harness.sqlite()->LoadMeasurements()->size(), measurements) << at;
    }
  }
}

// Does a whole job with all open tasks leased at once and completed in an order of `choose`'s.
// Kills the controller before every `kill_every`-th result (0: never). Another job has measured
// `former_trials` before.
std::vector<std::string> RunInOrder(
    const v1::SearchJobSpec& spec, int former_trials,
    const std::function<size_t(const std::vector<v1::LeasedTask>&)>& choose, int kill_every) {
  ControllerHarness harness;
  harness.Register("w");
  if (former_trials > 0) {
    harness.RunToEnd(harness.Submit(ControllerHarness::Spec(former_trials))->name());
  }
  const std::string name = harness.Submit(spec)->name();
  std::vector<v1::LeasedTask> held;
  for (int step = 1;; ++step) {
    // No more at once than can be done before their leases are too many restarts old.
    if (const int room = 8 - static_cast<int>(held.size()); room > 0) {
      const absl::StatusOr<v1::LeaseTasksResponse> leased = harness.Lease("w", room);
      EXPECT_THAT(leased, IsOk());
      held.insert(held.end(), leased->tasks().begin(), leased->tasks().end());
    }
    if (held.empty()) break;
    if (kill_every > 0 && step % kill_every == 0) {
      harness.Restart();
      harness.Register("w");
      v1::HeartbeatRequest heartbeat;
      heartbeat.set_worker("w");
      for (const v1::LeasedTask& task : held) {
        v1::HeldLease* lease = heartbeat.add_leases();
        lease->set_task(task.task().name());
        lease->set_token(task.lease().token());
      }
      const absl::StatusOr<v1::HeartbeatResponse> reply =
          CallAndWait(harness.controller(), &Controller::Heartbeat, heartbeat);
      EXPECT_THAT(reply, IsOk());
      EXPECT_THAT(reply->lost_tokens(), IsEmpty());
    }
    const size_t next = choose(held);
    EXPECT_EQ(harness.Complete("w", harness.Evaluate(held[next]))->code(), 0);
    held.erase(held.begin() + static_cast<int64_t>(next));
  }
  EXPECT_EQ(harness.Job(name)->state(), v1::SearchJob::SUCCEEDED);
  return harness.Log(name);
}

void ExpectSameLogWithKillsBetween(const v1::SearchJobSpec& spec,
                                   const std::vector<int>& kill_everys, int former_trials = 0) {
  Random random(11);
  std::vector<std::string> order;
  std::map<std::string, size_t> held_since;
  const std::vector<std::string> log = RunInOrder(
      spec, former_trials,
      [&](const std::vector<v1::LeasedTask>& held) {
        for (const v1::LeasedTask& leased : held) {
          held_since.try_emplace(leased.task().name(), order.size());
        }
        // A lease outlives 15 restarts (ResultStore::LoadLives): the oldest is not left too late.
        const size_t age = order.size() - held_since[held[0].task().name()];
        const size_t chosen = age + held.size() >= 15 ? 0 : random.Uniform(held.size());
        order.push_back(held[chosen].task().name());
        return chosen;
      },
      0);
  for (const int kill_every : kill_everys) {
    size_t step = 0;
    const std::vector<std::string> again = RunInOrder(
        spec, former_trials,
        [&](const std::vector<v1::LeasedTask>& held) {
          const std::string wanted = order.at(step++);
          for (size_t i = 0; i < held.size(); ++i) {
            if (held[i].task().name() == wanted) return i;
          }
          ADD_FAILURE() << wanted << " is not among the open tasks";
          return size_t{0};
        },
        kill_every);
    EXPECT_EQ(again, log) << kill_every;
  }
}

TEST(ControllerKillTest, Invariant4SameOrderOfResultsGivesTheSameLogAlsoWithKillsBetween) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(8);
  spec.mutable_sampler()->set_algorithm("evolution");
  ExpectSameLogWithKillsBetween(spec, {1, 3});
}

// Three trials beyond its first samples, whose models are fitted anew in every life.
TEST(ControllerKillTest, Invariant4GuidedProposesTheSameAfterAKillBeforeEveryResult) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(17);
  spec.mutable_sampler()->set_algorithm("guided");
  ExpectSameLogWithKillsBetween(spec, {1});
}

// Models from the first proposal on, of what another job has measured.
TEST(ControllerKillTest, Invariant4AWarmJobProposesTheSameAfterAKillBeforeEveryResult) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(7);
  spec.mutable_sampler()->set_algorithm("guided");
  spec.set_seed(11);
  spec.set_parallelism(3);
  ExpectSameLogWithKillsBetween(spec, {1}, /*former_trials=*/16);
}

TEST(ControllerKillTest, JobWhoseSubmissionWasAcknowledgedSurvives) {
  ControllerHarness harness;
  const std::string name = harness.Submit(ControllerHarness::Spec(4))->name();
  harness.Restart();
  harness.Register("w");
  EXPECT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
}

TEST(ControllerKillTest, LeasesOfTheFormerLifeAreTakenUpAtTheFirstHeartbeat) {
  ControllerHarness harness;
  harness.Register("w");
  harness.Submit(ControllerHarness::Spec(4)).status().IgnoreError();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness.Lease("w"));
  harness.Restart();
  harness.Register("w");
  v1::HeartbeatRequest heartbeat;
  heartbeat.set_worker("workers/w");
  v1::HeldLease* held = heartbeat.add_leases();
  held->set_task(leased.tasks(0).task().name());
  held->set_token(leased.tasks(0).lease().token());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::HeartbeatResponse reply,
                              CallAndWait(harness.controller(), &Controller::Heartbeat, heartbeat));
  EXPECT_THAT(reply.lost_tokens(), IsEmpty());
  // Nobody else gets it meanwhile.
  harness.Register("v");
  EXPECT_NE(harness.Lease("v")->tasks(0).task().name(), held->task());
  EXPECT_EQ(harness.Complete("w", harness.Evaluate(leased.tasks(0)))->code(), 0);
}

TEST_F(ControllerTest, ExpiredLeaseGoesToAnotherWorker) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(4));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w", 16));
  EXPECT_THAT(leased.tasks(), SizeIs(4));
  harness_.clock()->Advance(3 * ControllerHarness::kHeartbeat);
  harness_.Tick();
  harness_.Register("v");
  EXPECT_EQ(harness_.RunToEnd(name, "v").state(), v1::SearchJob::SUCCEEDED);
  // What the lost worker still brings is not counted.
  EXPECT_EQ(harness_.Complete("w", harness_.Evaluate(leased.tasks(0)))->code(),
            static_cast<int>(absl::StatusCode::kAborted));
}

TEST_F(ControllerTest, ParkedPollGetsATaskOnceItIsDurable) {
  harness_.Register("w");
  v1::LeaseTasksRequest request;
  request.set_worker("w");
  request.set_max_tasks(1);
  request.mutable_wait()->set_seconds(30);
  Mutex mu;
  CondVar changed;
  int answers = 0;
  int tasks = 0;
  const int64_t poll =
      controller()->LeaseTasks(request, [&](absl::StatusOr<v1::LeaseTasksResponse> response) {
        MutexLock lock(&mu);
        ++answers;
        tasks = response.ok() ? response->tasks_size() : -1;
        changed.Signal();
      });
  EXPECT_NE(poll, 0);
  SubmitOk(ControllerHarness::Spec(4));
  MutexLock lock(&mu);
  while (answers == 0) changed.Wait(&mu);
  EXPECT_EQ(tasks, 1);
}

TEST_F(ControllerTest, BudgetOfTimeEndsTheSearch) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(1000);
  spec.mutable_budget()->mutable_max_duration()->set_seconds(60);
  const std::string name = SubmitOk(spec);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(harness_.Step("w"));
  harness_.clock()->Advance(absl::Seconds(61));
  harness_.Register("w");
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_LT(job.proposed_trials(), 30);
  EXPECT_THAT(job.stop_reason(), HasSubstr("budget.max_duration of 1m"));
  harness_.Restart();
  EXPECT_EQ(harness_.Job(name)->stop_reason(), job.stop_reason());
}

TEST_F(ControllerTest, ASpaceThatIsExhaustedEndsTheSearchAndSaysSo) {
  harness_.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(500);
  v1::Constraint* constraint = spec.add_constraints();
  constraint->set_metric("macs");
  v1::EstimateSearchJobRequest request;
  *request.mutable_spec() = spec;
  request.mutable_spec()->mutable_constraints(0)->set_at_most(1e12);
  const absl::StatusOr<v1::SearchJobEstimate> estimate =
      CallAndWait(controller(), &Controller::EstimateSearchJob, request);
  FORALL_ASSERT_OK(estimate);
  constraint->set_at_most(estimate->ranges(0).least());
  const v1::SearchJob job = harness_.RunToEnd(SubmitOk(spec));
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_LT(job.proposed_trials(), 20);
  EXPECT_THAT(job.stop_reason(), HasSubstr("no further subnet"));
}

// Subnets that break a limit bring the search no further, and count.
TEST_F(ControllerTest, PlateauCountsWhateverWasDecided) {
  harness_.Register("w");
  v1::SearchJobSpec spec = LimitedSpec(200);
  spec.mutable_constraints(0)->set_at_most(1);
  spec.mutable_sampler()->set_algorithm("random");
  spec.mutable_budget()->set_plateau_trials(15);
  spec.mutable_budget()->set_plateau_improvement(0.3);
  spec.set_parallelism(1);
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job = harness_.RunToEnd(name);
  EXPECT_THAT(job.stop_reason(), HasSubstr("plateau_trials"));
  EXPECT_GT(job.infeasible_trials(), 5);
  EXPECT_LT(job.measured_trials(), 15);
}

TEST_F(ControllerTest, UpdatesCarryEveryChangedTrialOnceAndResume) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(9));
  const auto update = [&](int64_t after) {
    Controller::JobUpdate got;
    Mutex mu;
    CondVar changed;
    bool done = false;
    controller()->GetUpdate(name, after, [&](absl::StatusOr<Controller::JobUpdate> answer) {
      MutexLock lock(&mu);
      got = *answer;
      done = true;
      changed.Signal();
    });
    MutexLock lock(&mu);
    while (!done) changed.Wait(&mu);
    return got;
  };
  Controller::JobUpdate first = update(0);
  EXPECT_THAT(first.update.trials(), SizeIs(4));
  harness_.Step("w");
  const Controller::JobUpdate second = update(first.update.search_job().event_sequence());
  EXPECT_THAT(second.update.trials(), SizeIs(1));
  harness_.RunToEnd(name);
  const Controller::JobUpdate last = update(second.update.search_job().event_sequence());
  EXPECT_TRUE(last.ended);
  EXPECT_FALSE(last.more);
  EXPECT_THAT(last.update.trials(), SizeIs(9));
}

TEST_F(ControllerTest, FrontierQueryTakesOtherObjectivesAndConstraints) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(15));
  harness_.RunToEnd(name);
  v1::QueryParetoFrontierRequest request;
  request.set_parent(name);
  request.add_objectives()->set_metric("accuracy_top1");
  request.add_objectives()->set_metric("params");
  v1::Constraint* constraint = request.add_constraints();
  constraint->set_metric("latency_ms");
  constraint->set_at_most(3);
  const auto query = [&] {
    return CallAndWait(controller(), &Controller::QueryParetoFrontier, request);
  };
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse own, query());
  EXPECT_GT(own.members_size(), 0);
  EXPECT_LT(own.considered_trials(), 15);
  // The same over everything that was measured on the supernet.
  request.clear_parent();
  request.set_supernet("supernets/fashion_mnist");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse all, query());
  EXPECT_EQ(all.members_size(), own.members_size());
  request.mutable_objectives(0)->set_metric("speed");
  EXPECT_THAT(query(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("objectives[0].metric")));
  request.clear_objectives();
  EXPECT_THAT(query(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("objectives")));
  request.set_parent("searchJobs/99");
  EXPECT_THAT(query(), StatusIs(absl::StatusCode::kNotFound));
}

// A predictor of random weights over the resolutions and kernels of the space, but for the least
// resolution, which it does not know.
std::string RandomPredictor(const Family& family) {
  const SearchSpace& space = family.search_space();
  PredictorFile file;
  file.search_space = space.id();
  file.revision = space.revision();
  int64_t features = 0;
  for (const Dimension& dimension : space.dimensions()) {
    if (dimension.name != "r" && dimension.name[0] != 'k') continue;
    FeatureGroup group{dimension.name, dimension.options};
    if (dimension.name == "r") group.values.erase(group.values.begin());
    features += static_cast<int64_t>(group.values.size());
    file.features.push_back(std::move(group));
  }
  Random random(3);
  PredictorLayer layer{features, 1, {}, {0.9f}};
  for (int64_t i = 0; i < features; ++i) {
    layer.weight.push_back(static_cast<float>(0.01 * random.Gaussian()));
  }
  file.layers = {layer};
  return SerializePredictor(file).value();
}

TEST_F(ControllerTest, PredictedAccuracyIsAnObjectiveThatNothingMeasures) {
  const auto family = FindFamily("fashion_mnist").value();
  const std::string bytes = RandomPredictor(*family);
  const auto predictor = AccuracyPredictor::Parse(bytes, "predictor", family).value();
  v1::SearchJobSpec spec = ControllerHarness::Spec(30);
  spec.clear_objectives();
  spec.add_objectives()->set_metric("predicted_accuracy_top1");
  spec.add_objectives()->set_metric("macs");
  spec.clear_constraints();
  v1::SubmitSearchJobRequest submit;
  const auto error = [&] {
    *submit.mutable_spec() = spec;
    return CallAndWait(controller(), &Controller::SubmitSearchJob, submit).status();
  };
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("spec.accuracy_predictor: predicted_accuracy_top1")));
  spec.set_accuracy_predictor("predictor.safetensors");
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("SHA-256")));
  spec.set_accuracy_predictor(std::string(64, '0'));
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("spec.accuracy_predictor")));
  spec.set_accuracy_predictor(harness_.artifacts()->Put("no predictor").value());
  EXPECT_THAT(error().message(), HasSubstr("spec.accuracy_predictor"));
  const std::string foreign = RandomPredictor(*FindFamily("ofa_mbv3_w1.2").value());
  spec.set_accuracy_predictor(harness_.artifacts()->Put(foreign).value());
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                AllOf(HasSubstr("spec.accuracy_predictor"),
                                      HasSubstr("ofa_mbv3_w1.2"), HasSubstr("fashion_mnist"))));
  spec.set_accuracy_predictor(harness_.artifacts()->Put(bytes).value());

  // No worker is there, and none is needed.
  const std::string name = SubmitOk(spec);
  EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::SUCCEEDED);
  const v1::QueryParetoFrontierResponse frontier = harness_.Frontier(name);
  ASSERT_GT(frontier.members_size(), 0);
  EXPECT_EQ(frontier.considered_trials(), 30);
  for (const v1::FrontierMember& member : frontier.members()) {
    const Architecture architecture{member.trial().architecture().search_space(),
                                    member.trial().architecture().revision(),
                                    {member.trial().architecture().choices().begin(),
                                     member.trial().architecture().choices().end()}};
    EXPECT_DOUBLE_EQ(member.values(0), predictor->Predict(architecture).value());
    EXPECT_EQ(member.measurements(0).fidelity(), "predicted");
    EXPECT_THAT(member.measurements(0).verdict().reasons(), ElementsAre("predicted"));
    EXPECT_EQ(member.certainty(), v1::FrontierMember::CONTESTED);
  }
  // The same after a restart, from the log alone: the predictor may be gone.
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path,
                              harness_.artifacts()->PathOf(spec.accuracy_predictor()));
  ASSERT_TRUE(std::filesystem::remove(path));
  harness_.Restart();
  EXPECT_EQ(harness_.Frontier(name).SerializeAsString(), frontier.SerializeAsString());
  FORALL_ASSERT_OK(harness_.artifacts()->Put(bytes).status());

  // A limit on a prediction leaves nothing certain either.
  v1::SearchJobSpec limited = ControllerHarness::Spec(6);
  limited.set_accuracy_predictor(spec.accuracy_predictor());
  v1::Constraint* limit = limited.add_constraints();
  limit->set_metric("predicted_accuracy_top1");
  limit->set_at_least(1);
  harness_.Register("w");
  const std::string limited_name = SubmitOk(limited);
  harness_.RunToEnd(limited_name);
  const auto limited_members = harness_.FrontierMembers(limited_name);
  ASSERT_FALSE(limited_members.empty());
  for (const v1::FrontierMember& member : limited_members) {
    EXPECT_EQ(member.certainty(), v1::FrontierMember::CONTESTED);
  }
  limit->set_at_least(99.9);
  spec = limited;
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                HasSubstr("spec.accuracy_predictor: no subnet was found")));

  v1::QueryParetoFrontierRequest query;
  query.set_supernet("supernets/fashion_mnist");
  query.add_objectives()->set_metric("predicted_accuracy_top1");
  EXPECT_THAT(CallAndWait(controller(), &Controller::QueryParetoFrontier, query),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("of one job")));
  query.clear_supernet();
  query.set_parent(SubmitOk(ControllerHarness::Spec(1)));
  EXPECT_THAT(CallAndWait(controller(), &Controller::QueryParetoFrontier, query),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("names an accuracy")));
}

// Nothing is measured and nothing learned: the best predicted networks are proposed at once.
TEST_F(ControllerTest, GuidedSearchOfPredictionsFindsMoreThanDraws) {
  const auto family = FindFamily("fashion_mnist").value();
  v1::SearchJobSpec spec = ControllerHarness::Spec(60);
  spec.clear_objectives();
  spec.add_objectives()->set_metric("predicted_accuracy_top1");
  spec.add_objectives()->set_metric("macs");
  spec.clear_constraints();
  spec.set_accuracy_predictor(harness_.artifacts()->Put(RandomPredictor(*family)).value());
  std::map<std::string, double> hypervolume;
  for (const std::string sampler : {"guided", "random"}) {
    spec.mutable_sampler()->set_algorithm(sampler);
    const std::string name = SubmitOk(spec);
    EXPECT_EQ(harness_.Job(name)->state(), v1::SearchJob::SUCCEEDED);
    EXPECT_EQ(harness_.Job(name)->measured_trials(), 60);
    hypervolume[sampler] = harness_.Job(name)->hypervolume();
  }
  EXPECT_GT(hypervolume["guided"], hypervolume["random"]);
}

TEST_F(ControllerTest, AJobThatLostItsPredictorKeepsWhatItHasAndFailsAlone) {
  const auto family = FindFamily("fashion_mnist").value();
  v1::SearchJobSpec spec = ControllerHarness::Spec(30);
  spec.set_accuracy_predictor(harness_.artifacts()->Put(RandomPredictor(*family)).value());
  spec.add_objectives()->set_metric("predicted_accuracy_top1");
  harness_.Register("w");
  const std::string name = SubmitOk(spec);
  for (int step = 0; step < 12; ++step) harness_.Step("w");
  const int measured = harness_.Job(name)->measured_trials();
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path,
                              harness_.artifacts()->PathOf(spec.accuracy_predictor()));
  // Damaged is as good as gone.
  FORALL_ASSERT_OK(WriteFileAtomically(path, "something else"));
  harness_.Restart();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Job(name));
  EXPECT_EQ(job.state(), v1::SearchJob::FAILED);
  EXPECT_THAT(job.error(), HasSubstr("spec.accuracy_predictor: artifact"));
  EXPECT_EQ(job.measured_trials(), measured);
  EXPECT_GT(measured, 0);
  // Others go on.
  harness_.Register("w");
  const std::string other = SubmitOk(ControllerHarness::Spec(4));
  EXPECT_EQ(harness_.RunToEnd(other).state(), v1::SearchJob::SUCCEEDED);
}

// A job that no worker is needed for goes on from commit to commit; nobody who ends the program
// wants to wait for its end.
TEST_F(ControllerTest, StopDoesNotWaitForAJobThatNeedsNoWorker) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(30'000);
  spec.clear_objectives();
  spec.add_objectives()->set_metric("macs");
  spec.add_objectives()->set_metric("params");
  spec.mutable_sampler()->set_algorithm("random");
  const std::string name = SubmitOk(spec);
  controller()->Stop();
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<TrialRecord> trials,
                              harness_.sqlite()->LoadTrials(1));
  EXPECT_LT(trials.size(), 30'000);
  // What was stored is whole, and the job goes on from there.
  harness_.Restart();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Job(name));
  EXPECT_GE(job.proposed_trials(), static_cast<int64_t>(trials.size()));
  controller()->Stop();
}

TEST_F(ControllerTest, ListsArePagedNewestFirst) {
  for (int i = 0; i < 5; ++i) SubmitOk(ControllerHarness::Spec(1));
  v1::ListSearchJobsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::ListSearchJobsResponse page,
                                CallAndWait(controller(), &Controller::ListSearchJobs, request));
    for (const v1::SearchJob& job : page.search_jobs()) names.push_back(job.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("searchJobs/5", "searchJobs/4", "searchJobs/3", "searchJobs/2",
                                 "searchJobs/1"));
  request.set_page_token("bogus");
  EXPECT_THAT(CallAndWait(controller(), &Controller::ListSearchJobs, request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")));
}

TEST_F(ControllerTest, ExportGivesTheKneesArtifact) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  v1::ExportSubnetRequest request;
  request.set_name(name);
  EXPECT_THAT(CallAndWait(controller(), &Controller::ExportSubnet, request),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  harness_.RunToEnd(name);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::ExportSubnetResponse response,
                              CallAndWait(controller(), &Controller::ExportSubnet, request));
  EXPECT_TRUE(harness_.artifacts()->Exists(response.artifact_sha256()));
  EXPECT_GT(response.size_bytes(), 0);
  EXPECT_TRUE(response.trial().on_frontier());
}

TEST_F(ControllerTest, ExportFindsASubnetByItsKeyInAnyJob) {
  harness_.Register("w");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  harness_.RunToEnd(name);
  v1::ExportSubnetRequest request;
  request.set_name(name);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::ExportSubnetResponse knee,
                              CallAndWait(controller(), &Controller::ExportSubnet, request));
  const std::string key = knee.trial().arch_key();
  for (const std::string& given : {key, key.substr(0, 11)}) {
    request.set_name(given);
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::ExportSubnetResponse found,
                                CallAndWait(controller(), &Controller::ExportSubnet, request));
    EXPECT_EQ(found.trial().name(), knee.trial().name());
    EXPECT_EQ(found.artifact_sha256(), knee.artifact_sha256());
  }
  // A later job reuses the artifact; its numbers are final too.
  const std::string again = SubmitOk(ControllerHarness::Spec(6));
  harness_.RunToEnd(again);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::ExportSubnetResponse latest,
                              CallAndWait(controller(), &Controller::ExportSubnet, request));
  EXPECT_EQ(latest.artifact_sha256(), knee.artifact_sha256());
  EXPECT_TRUE(absl::StartsWith(latest.trial().name(), again));

  // Calibrated otherwise it is another model, and the key alone does not say which.
  v1::SearchJobSpec spec = ControllerHarness::Spec(6);
  spec.mutable_fidelity()->set_calibration_seed(99);
  harness_.RunToEnd(SubmitOk(spec));
  EXPECT_THAT(CallAndWait(controller(), &Controller::ExportSubnet, request),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("name a trial")));
  request.set_name("a1-12345");
  EXPECT_THAT(CallAndWait(controller(), &Controller::ExportSubnet, request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("eight digits")));
  request.set_name("a1-00000000000000000000000000000000");
  EXPECT_THAT(CallAndWait(controller(), &Controller::ExportSubnet, request),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace forall
