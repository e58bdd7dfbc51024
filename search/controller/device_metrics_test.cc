// SPDX-License-Identifier: Apache-2.0
// Percentiles, throughput, memory, energy and carbon from the job to its frontier.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/derived_metric.h"
#include "search/controller/job_validator.h"
#include "search/controller/measurement_maker.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kAll[] =
    "latency_p90_ms, latency_p95_ms,latency_p99_ms,peak_memory_mib,energy_mj,not_invented_yet";

class DeviceMetricsTest : public ::testing::Test {
 protected:
  void Register(const std::string& worker, const std::string& device, const std::string& measures,
                const std::string& why_no_energy = "") {
    v1::RegisterWorkerRequest request = harness_.Registration(worker, device);
    auto& properties = *request.mutable_device()->mutable_properties();
    if (!measures.empty()) properties["measures"] = measures;
    if (!why_no_energy.empty()) properties["cannot_measure_energy"] = why_no_energy;
    FORALL_EXPECT_OK(CallAndWait(harness_.controller(), &Controller::RegisterWorker, request));
  }

  static v1::SearchJobSpec Spec(int trials, const std::vector<std::string>& metrics) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    spec.clear_objectives();
    spec.add_objectives()->set_metric("accuracy_top1");
    for (const std::string& metric : metrics) spec.add_objectives()->set_metric(metric);
    return spec;
  }

  std::string SubmitOk(const v1::SearchJobSpec& spec) {
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec);
    EXPECT_THAT(job, IsOk());
    return job.ok() ? job->name() : "";
  }

  absl::StatusOr<v1::QueryParetoFrontierResponse> Query(
      const std::string& parent, const std::vector<v1::Objective>& objectives) {
    v1::QueryParetoFrontierRequest request;
    request.set_parent(parent);
    for (const v1::Objective& objective : objectives) *request.add_objectives() = objective;
    return CallAndWait(harness_.controller(), &Controller::QueryParetoFrontier, request);
  }

  // Of the trial's measurements at screening fidelity, by metric.
  static std::map<std::string, v1::Measurement> ByMetric(const v1::Trial& trial) {
    std::map<std::string, v1::Measurement> found;
    for (const v1::Measurement& measurement : trial.measurements()) {
      if (measurement.fidelity() == "screening") found[measurement.metric()] = measurement;
    }
    return found;
  }

  ControllerHarness harness_;
};

TEST_F(DeviceMetricsTest, AJobHasThemFromTaskToFrontier) {
  Register("w", "pc", kAll);
  v1::SearchJobSpec spec =
      Spec(12, {"latency_p90_ms", "throughput_ips", "peak_memory_mib", "energy_mj", "carbon_mg"});
  spec.mutable_objectives(5)->mutable_condition()->set_grid_grams_per_kwh(360);
  std::vector<std::string> asked;
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() != v1::Task::LATENCY) return;
        asked.assign(task.metrics().begin(), task.metrics().end());
        EXPECT_EQ(task.grid_grams_per_kwh(), 360);
      });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED) << job.error();
  EXPECT_EQ(job.measured_trials(), 12);
  // What it follows from is asked for with it.
  EXPECT_THAT(asked, ElementsAre("latency_p90_ms", "peak_memory_mib", "energy_mj", "throughput_ips",
                                 "carbon_mg"));

  const std::map<std::string, v1::Measurement> of = ByMetric(harness_.Trials(name)[0]);
  const double latency = of.at("latency_ms").value();
  EXPECT_NEAR(of.at("latency_p90_ms").value(), latency * 1.8, 1e-9);
  EXPECT_EQ(of.at("latency_p90_ms").baseline_id(), of.at("latency_ms").baseline_id());
  EXPECT_EQ(of.at("latency_p90_ms").sample_count(), 700);
  EXPECT_NEAR(of.at("throughput_ips").value(), 1000 / latency, 1e-9);
  EXPECT_NEAR(of.at("throughput_ips").interval().low(),
              1000 / of.at("latency_ms").interval().high(), 1e-9);
  EXPECT_NEAR(of.at("throughput_ips").interval().high(),
              1000 / of.at("latency_ms").interval().low(), 1e-9);
  const v1::Measurement& energy = of.at("energy_mj");
  const v1::Measurement& carbon = of.at("carbon_mg");
  // 1 mJ at 360 g/kWh is 1e-4 mg.
  EXPECT_NEAR(carbon.value(), energy.value() * 1e-4, 1e-12);
  EXPECT_EQ(carbon.condition().grid_grams_per_kwh(), 360);
  EXPECT_THAT(carbon.condition().dataset(), IsEmpty());
  EXPECT_EQ(energy.condition().grid_grams_per_kwh(), 0);
  for (const auto& [metric, measurement] : of) {
    EXPECT_EQ(measurement.verdict().state(), v1::Verdict::TRUSTED) << metric;
    if (measurement.interval().kind() != "prediction") continue;
    EXPECT_LT(measurement.interval().low(), measurement.value()) << metric;
    EXPECT_GT(measurement.interval().high(), measurement.value()) << metric;
    EXPECT_EQ(measurement.condition().device(), "devices/pc") << metric;
  }

  for (const v1::FrontierMember& member : harness_.FrontierMembers(name)) {
    ASSERT_THAT(member.values(), SizeIs(6));
    EXPECT_TRUE(member.trial().finalized());
    for (const double value : member.values()) EXPECT_GT(value, 0);
  }
  EXPECT_GT(job.hypervolume(), 0);

  // A question about the same numbers, the grid left open, and about a grid that nobody asked for.
  v1::Objective wanted;
  wanted.set_metric("carbon_mg");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse least, Query(name, {wanted}));
  ASSERT_THAT(least.members(), SizeIs(1));
  EXPECT_EQ(least.members(0).measurements(0).condition().grid_grams_per_kwh(), 360);
  wanted.mutable_condition()->set_grid_grams_per_kwh(20);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse none, Query(name, {wanted}));
  EXPECT_THAT(none.members(), IsEmpty());
}

TEST_F(DeviceMetricsTest, WhatFollowsFromAKnownNumberIsNotMeasuredAgain) {
  Register("w", "pc", kAll);
  harness_.RunToEnd(SubmitOk(Spec(10, {"energy_mj"})));
  v1::SearchJobSpec spec = Spec(10, {"carbon_mg"});
  const auto run = [&](double grid) {
    spec.mutable_objectives(1)->mutable_condition()->set_grid_grams_per_kwh(grid);
    const std::string name = SubmitOk(spec);
    for (int i = 0; i < 10 && !harness_.Job(name)->has_end_time(); ++i) harness_.Tick();
    return name;
  };
  const std::string second = run(100);
  EXPECT_EQ(harness_.Job(second)->state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(harness_.Job(second)->reused_trials(), 10);
  // Another grid: other numbers of the same measurements, kept apart.
  const std::string third = run(200);
  EXPECT_EQ(harness_.Job(third)->reused_trials(), 10);
  EXPECT_NEAR(harness_.FrontierMembers(third)[0].values(1),
              2 * harness_.FrontierMembers(second)[0].values(1), 1e-9);
  // And after a restart: they were stored.
  harness_.Restart();
  EXPECT_NEAR(harness_.FrontierMembers(third)[0].values(1),
              2 * harness_.FrontierMembers(second)[0].values(1), 1e-9);
}

TEST_F(DeviceMetricsTest, ALatencyAloneDoesNotMakeItsPercentileKnown) {
  Register("w", "pc", kAll);
  harness_.RunToEnd(SubmitOk(Spec(6, {"latency_ms"})));
  const v1::SearchJob job = harness_.RunToEnd(SubmitOk(Spec(6, {"latency_ms", "latency_p99_ms"})));
  EXPECT_EQ(job.reused_trials(), 0);
  EXPECT_EQ(job.measured_trials(), 6);
}

TEST_F(DeviceMetricsTest, BatchesAreMeasuredAndStoredApart) {
  Register("w", "pc", kAll);
  v1::SearchJobSpec spec = Spec(8, {"throughput_ips", "throughput_ips", "latency_ms"});
  spec.mutable_objectives(2)->mutable_condition()->set_batch(8);
  std::set<int> batches;
  std::set<std::string> graphs;
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() != v1::Task::LATENCY) return;
        batches.insert(task.batch());
        graphs.insert(task.graph_key());
        if (task.batch() != 8) return;
        // Eight images in four times the time of one.
        v1::LatencyResult* const latency = result->mutable_latency_result();
        for (const auto scale : {&v1::LatencyResult::set_ratio, &v1::LatencyResult::set_ratio_low,
                                 &v1::LatencyResult::set_ratio_high}) {
          const double was = scale == &v1::LatencyResult::set_ratio       ? latency->ratio()
                             : scale == &v1::LatencyResult::set_ratio_low ? latency->ratio_low()
                                                                          : latency->ratio_high();
          (latency->*scale)(4 * was);
        }
      });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED) << job.error();
  EXPECT_THAT(batches, ElementsAre(1, 8));
  EXPECT_EQ(graphs.size(), 16u);
  std::map<int, v1::Measurement> rates;
  const v1::Trial first = harness_.Trials(name)[0];
  for (const v1::Measurement& measurement : first.measurements()) {
    if (measurement.metric() == "throughput_ips" && measurement.fidelity() == "screening") {
      rates[measurement.condition().batch()] = measurement;
    }
  }
  ASSERT_EQ(rates.size(), 2u);
  // The script's noise goes by graph, so by batch too.
  EXPECT_NEAR(rates[8].value() / rates[1].value(), 2, 0.25);
  v1::Objective at_eight;
  at_eight.set_metric("throughput_ips");
  at_eight.mutable_condition()->set_batch(8);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse fastest,
                              Query(name, {at_eight}));
  ASSERT_THAT(fastest.members(), SizeIs(1));
  EXPECT_EQ(fastest.members(0).measurements(0).condition().batch(), 8);
}

TEST_F(DeviceMetricsTest, ADeviceWithoutSensorIsRefusedWithItsReason) {
  Register("w", "pc", "latency_p90_ms, peak_memory_mib", "rapl: not found");
  EXPECT_THAT(harness_.Submit(Spec(5, {"energy_mj"})),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("devices/pc"), HasSubstr("energy_mj"),
                             HasSubstr("rapl: not found"), HasSubstr("latency_p90_ms"))));
  v1::SearchJobSpec carbon = Spec(5, {"latency_ms"});
  v1::Constraint* const constraint = carbon.add_constraints();
  constraint->set_metric("carbon_mg");
  constraint->set_at_most(1);
  constraint->mutable_condition()->set_grid_grams_per_kwh(386);
  EXPECT_THAT(harness_.Submit(carbon), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                HasSubstr("does not measure energy_mj")));
  // A worker of an older build says nothing, and is asked for nothing but latencies.
  Register("old", "pi", "");
  v1::SearchJobSpec elsewhere = Spec(5, {"latency_p90_ms"});
  elsewhere.mutable_objectives(1)->mutable_condition()->set_device("devices/pi");
  EXPECT_THAT(harness_.Submit(elsewhere),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("it measures nothing")));
}

TEST_F(DeviceMetricsTest, OfTwoDevicesTheOneThatMeasuresIsMeant) {
  Register("a", "pc", "latency_p90_ms");
  Register("b", "board", kAll);
  const std::string name = SubmitOk(Spec(4, {"latency_ms", "energy_mj"}));
  harness_.RunToEnd(name, "b");
  ASSERT_FALSE(harness_.FrontierMembers(name).empty());
  for (const v1::FrontierMember& member : harness_.FrontierMembers(name)) {
    EXPECT_EQ(member.measurements(2).condition().device(), "devices/board");
  }
}

TEST_F(DeviceMetricsTest, AJobWaitsForAWorkerThatMeasures) {
  const std::string name = SubmitOk(Spec(4, {"latency_ms", "energy_mj"}));
  EXPECT_THAT(harness_.Job(name)->waiting_reason(), HasSubstr("energy_mj"));
  Register("w", "pc", "latency_p90_ms");
  EXPECT_THAT(harness_.Job(name)->waiting_reason(), HasSubstr("energy_mj"));
  Register("w", "pc", kAll);
  harness_.RunToEnd(name);
  // A worker that came back without its sensor gets none of the work, and the reason is told.
  const std::string second = SubmitOk(Spec(9, {"energy_mj"}));
  Register("w", "pc", "latency_p90_ms", "rapl: denied");
  while (harness_.Step("w")) {
  }
  EXPECT_THAT(harness_.Job(second)->waiting_reason(),
              AllOf(HasSubstr("that measures energy_mj"), HasSubstr("rapl: denied")));
}

TEST_F(DeviceMetricsTest, ARejectedNumberIsMeasuredAgainAndThenGivenUp) {
  Register("w", "pc", kAll);
  const std::string name = SubmitOk(Spec(3, {"energy_mj"}));
  int rejected = 0;
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
        if (task.kind() != v1::Task::LATENCY) return;
        if (task.trial() != absl::StrCat(name, "/trials/2")) return;
        v1::MeasuredValue* const energy = result->mutable_latency_result()->mutable_values(0);
        energy->Clear();
        energy->set_metric("energy_mj");
        energy->mutable_verdict()->set_state(v1::Verdict::REJECTED);
        energy->mutable_verdict()->add_reasons("the counter stood still");
        ++rejected;
      });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED) << job.error();
  EXPECT_EQ(rejected, 3);
  EXPECT_EQ(job.failed_trials(), 1);
  const v1::Trial trial = harness_.Trials(name)[1];
  EXPECT_EQ(trial.state(), v1::Trial::FAILED);
  EXPECT_THAT(trial.error(), HasSubstr("energy_mj: the counter stood still"));
}

TEST_F(DeviceMetricsTest, ANoisyNumberIsContested) {
  Register("w", "pc", kAll);
  const std::string name = SubmitOk(Spec(4, {"peak_memory_mib"}));
  harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult* result) {
    if (task.kind() != v1::Task::LATENCY) return;
    v1::Verdict* const verdict =
        result->mutable_latency_result()->mutable_values(0)->mutable_verdict();
    verdict->set_state(v1::Verdict::NOISY);
    verdict->add_reasons("sessions_disagree");
  });
  ASSERT_FALSE(harness_.FrontierMembers(name).empty());
  for (const v1::FrontierMember& member : harness_.FrontierMembers(name)) {
    EXPECT_EQ(member.certainty(), v1::FrontierMember::CONTESTED);
  }
}

TEST_F(DeviceMetricsTest, ALimitOnAPercentileSparesTheAccuracy) {
  Register("w", "pc", kAll);
  v1::SearchJobSpec spec = Spec(10, {"latency_ms"});
  v1::Constraint* const constraint = spec.add_constraints();
  constraint->set_metric("latency_p99_ms");
  constraint->set_at_most(0.001);
  const v1::SearchJob job = harness_.RunToEnd(SubmitOk(spec));
  EXPECT_EQ(job.infeasible_trials(), 10);
  EXPECT_EQ(job.spared_accuracies(), 10);
  EXPECT_THAT(job.error(), HasSubstr("latency_p99_ms"));
}

// What a worker may say, by the function that judges it.
class MeasuredValueTest : public ::testing::Test {
 protected:
  MeasuredValueTest() {
    task_.set_kind(v1::Task::LATENCY);
    task_.add_metrics("latency_p90_ms");
    task_.add_metrics("energy_mj");
    task_.add_metrics("carbon_mg");
    task_.set_grid_grams_per_kwh(400);
    v1::LatencyResult* const latency = result_.mutable_latency_result();
    latency->set_ratio(2);
    latency->set_ratio_low(1.9);
    latency->set_ratio_high(2.1);
    latency->set_reference_median_ns(1e6);
    latency->set_median_ns(2e6);
    latency->mutable_verdict()->set_state(v1::Verdict::TRUSTED);
    latency->set_reference_sha256(std::string(64, 'a'));
    Add("latency_p90_ms", 2.5, 64);
    Add("energy_mj", 12, 5);
  }
  void Add(const std::string& metric, double value, int64_t samples) {
    v1::MeasuredValue* const added = result_.mutable_latency_result()->add_values();
    added->set_metric(metric);
    added->set_value(value);
    added->set_low(value * 0.9);
    added->set_high(value * 1.1);
    added->set_samples(samples);
    added->mutable_verdict()->set_state(v1::Verdict::TRUSTED);
  }
  v1::MeasuredValue* Value(int index) {
    return result_.mutable_latency_result()->mutable_values(index);
  }
  absl::Status Check() { return CheckResult(task_, result_); }

  v1::Task task_;
  v1::TaskResult result_;
};

TEST_F(MeasuredValueTest, NumbersThatNobodyCanHaveAreOutOfRange) {
  EXPECT_THAT(Check(), IsOk());
  for (const double wrong : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity(), 1e13}) {
    Value(1)->set_value(wrong);
    EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("values[1].value")));
    EXPECT_THAT(CheckNumbers(result_), StatusIs(absl::StatusCode::kOutOfRange));
  }
  Value(1)->set_value(12);
  for (const auto set : {&v1::MeasuredValue::set_low, &v1::MeasuredValue::set_high}) {
    const v1::MeasuredValue was = *Value(1);
    for (const double wrong : {-1.0, std::numeric_limits<double>::quiet_NaN(),
                               set == &v1::MeasuredValue::set_low ? 12.5 : 11.5}) {
      (Value(1)->*set)(wrong);
      EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kOutOfRange)) << wrong;
    }
    *Value(1) = was;
  }
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(MeasuredValueTest, EachIsToldOnceAsAsked) {
  Add("peak_memory_mib", 3, 5);
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did not ask")));
  Value(2)->set_metric("carbon_mg");
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did not ask")));
  Value(2)->set_metric("nonsense");
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument));
  Value(2)->set_metric("energy_mj");
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
  result_.mutable_latency_result()->mutable_values()->RemoveLast();
  EXPECT_THAT(Check(), IsOk());
  result_.mutable_latency_result()->mutable_values()->RemoveLast();
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("energy_mj")));
  // Nothing is owed beside a latency that was rejected.
  result_.mutable_latency_result()->mutable_verdict()->set_state(v1::Verdict::REJECTED);
  EXPECT_THAT(Check(), IsOk());
}

TEST_F(MeasuredValueTest, ItHasAVerdictAndThePercentileItsRuns) {
  Value(1)->clear_verdict();
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("verdict")));
  Value(1)->mutable_verdict()->set_state(v1::Verdict::NOISY);
  EXPECT_THAT(Check(), IsOk());
  Value(0)->set_samples(63);
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("64")));
  Value(0)->set_samples(64);
  Value(1)->set_samples(0);
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument));
  // One that is rejected needs no number, and counts for nothing.
  Value(1)->set_value(0);
  Value(1)->set_low(0);
  Value(1)->set_high(0);
  Value(1)->mutable_verdict()->set_state(v1::Verdict::REJECTED);
  EXPECT_THAT(Check(), IsOk());
  const BaselineRecord baseline = MakeBaseline(task_, result_.latency_result(), {});
  const std::vector<MeasurementRecord> records =
      LatencyMeasurements(task_, result_.latency_result(), {}, baseline);
  ASSERT_THAT(records, SizeIs(4));
  EXPECT_EQ(records[1].key.metric, "latency_p90_ms");
  EXPECT_DOUBLE_EQ(records[1].value, 2.5 * baseline.reference_ms);
  EXPECT_EQ(records[2].verdict, VerdictState::kRejected);
  EXPECT_EQ(records[3].key.metric, "carbon_mg");
  EXPECT_EQ(records[3].verdict, VerdictState::kRejected);
}

TEST(DerivedMetricTest, GridNamesGoBothWays) {
  for (const double grid : {386.0, 0.5, 23.75}) EXPECT_EQ(GridIntensity(GridName(grid)), grid);
  EXPECT_EQ(GridName(0), "");
  for (const char* const wrong : {"", "386", "386 g", "x g/kWh", "nan g/kWh", "fashion_mnist"}) {
    EXPECT_EQ(GridIntensity(wrong), 0) << wrong;
  }
}

TEST(DerivedMetricTest, ARateStaysFiniteWhereALatencyBeginsAtNothing) {
  MeasurementRecord latency;
  latency.key.metric = "latency_ms";
  latency.key.batch = 4;
  latency.value = 2;
  latency.high = 4;
  const MeasurementRecord rate = Derive(latency, *FindMetric(kThroughput), 0);
  EXPECT_DOUBLE_EQ(rate.value, 2000);
  EXPECT_DOUBLE_EQ(rate.low, 1000);
  EXPECT_TRUE(std::isfinite(rate.high));
  EXPECT_GT(rate.high, 2000);
}

TEST(DeviceMetricConditionTest, AGridIsOfCarbonAndOneForEachDevice) {
  v1::SearchJobSpec spec = ControllerHarness::Spec(5);
  v1::Objective* const carbon = spec.add_objectives();
  carbon->set_metric("carbon_mg");
  EXPECT_THAT(ValidateSearchJobSpec(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("grid=386")));
  for (const double wrong : {-1.0, 1e5, std::numeric_limits<double>::quiet_NaN()}) {
    carbon->mutable_condition()->set_grid_grams_per_kwh(wrong);
    EXPECT_THAT(ValidateSearchJobSpec(spec), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
  }
  carbon->mutable_condition()->set_grid_grams_per_kwh(386);
  EXPECT_THAT(ValidateSearchJobSpec(spec), IsOk());
  v1::Objective* const energy = spec.add_objectives();
  energy->set_metric("energy_mj");
  energy->mutable_condition()->set_grid_grams_per_kwh(386);
  EXPECT_THAT(ValidateSearchJobSpec(spec), StatusIs(absl::StatusCode::kInvalidArgument));

  ControllerHarness harness;
  energy->set_metric("carbon_mg");
  energy->mutable_condition()->set_grid_grams_per_kwh(20);
  EXPECT_THAT(harness.Submit(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("one grid")));
}

}  // namespace
}  // namespace forall
