// SPDX-License-Identifier: Apache-2.0
// Jobs that name latency tables: what is predicted, what is refused, what is doubtful.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/table/latency_table.h"
#include "latency/table/table_lint.h"
#include "search/controller/table_check.h"
#include "search/controller/testing/controller_harness.h"
#include "search/inner/compiled_table.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class TableJobsTest : public ::testing::Test {
 protected:
  // Rows of about the same size for every layer, at resolutions 24 and 28 of 20, 24, 28.
  LatencyTable Table(const std::string& device, uint64_t seed) {
    LatencyTable table;
    table.conditions = {device, "runtime", 1, 1, "2020"};
    Random random(seed);
    for (const int32_t resolution : {24, 28}) {
      const std::vector<std::string> keys = SpaceKeys(*family_, resolution).value();
      for (const std::string& key : keys) {
        table.resolutions[resolution][key].mean_ms = 0.01 * (1 + random.Double());
      }
    }
    return table;
  }
  std::string Upload(const LatencyTable& table) {
    return harness_.artifacts()->Put(SerializeLatencyTable(table)).value();
  }
  std::shared_ptr<const CompiledTable> Compiled(const LatencyTable& table) {
    return CompiledTable::Compile(table, family_).value();
  }
  // Counts and predicted latencies alone.
  static v1::SearchJobSpec Predicting(int trials, const std::vector<std::string>& devices) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    spec.clear_objectives();
    spec.clear_constraints();
    spec.mutable_sampler()->set_algorithm("guided");
    v1::Objective* params = spec.add_objectives();
    params->set_metric("params");
    params->set_goal(v1::Objective::MAXIMIZE);
    for (const std::string& device : devices) {
      v1::Objective* latency = spec.add_objectives();
      latency->set_metric("predicted_latency_ms");
      latency->mutable_condition()->set_device(device);
    }
    return spec;
  }
  absl::StatusOr<v1::QueryParetoFrontierResponse> Query(
      const v1::QueryParetoFrontierRequest& request) {
    return CallAndWait(harness_.controller(), &Controller::QueryParetoFrontier, request);
  }

  ControllerHarness harness_;
  const std::shared_ptr<const Family> family_ = FindFamily("fashion_mnist").value();
};

Architecture ArchitectureOf(const v1::Trial& trial) {
  return {trial.architecture().search_space(),
          trial.architecture().revision(),
          {trial.architecture().choices().begin(), trial.architecture().choices().end()}};
}

TEST_F(TableJobsTest, PredictedLatenciesOfSeveralDevicesNeedNoWorker) {
  const auto one = Compiled(Table("one", 1));
  const auto two = Compiled(Table("two", 2));
  v1::SearchJobSpec spec = Predicting(40, {"devices/one", "devices/two"});
  spec.add_latency_tables(Upload(Table("one", 1)));
  spec.add_latency_tables(Upload(Table("two", 2)));
  v1::EstimateSearchJobRequest estimate;
  *estimate.mutable_spec() = spec;
  FORALL_ASSERT_OK_AND_ASSIGN(
      const v1::SearchJobEstimate estimated,
      CallAndWait(harness_.controller(), &Controller::EstimateSearchJob, estimate));
  EXPECT_THAT(estimated.warnings(), SizeIs(3)) << "of the range of params as well";
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Submit(spec));
  EXPECT_THAT(job.warnings(), ElementsAre(HasSubstr("\"one\" has no rows for r 20"),
                                          HasSubstr("\"two\" has no rows for r 20")));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob ended, harness_.Job(job.name()));
  EXPECT_EQ(ended.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(ended.measured_trials(), 40);
  EXPECT_GT(ended.hypervolume(), 0);
  EXPECT_EQ(ended.waiting_reason(), "");
  const v1::QueryParetoFrontierResponse frontier = harness_.Frontier(job.name());
  ASSERT_GT(frontier.members_size(), 3);
  for (const v1::FrontierMember& member : frontier.members()) {
    const Architecture architecture = ArchitectureOf(member.trial());
    EXPECT_DOUBLE_EQ(member.values(1), one->Of(architecture).value());
    EXPECT_DOUBLE_EQ(member.values(2), two->Of(architecture).value());
    const v1::Measurement& latency = member.measurements(2);
    EXPECT_EQ(latency.condition().device(), "devices/two");
    EXPECT_EQ(latency.fidelity(), "predicted");
    EXPECT_EQ(latency.verdict().state(), v1::Verdict::NOISY);
    EXPECT_THAT(latency.verdict().reasons(), ElementsAre("predicted"));
    EXPECT_EQ(member.certainty(), v1::FrontierMember::CONTESTED);
    int shown = 0;
    for (const v1::Measurement& measurement : member.trial().measurements()) {
      shown += measurement.metric() == "predicted_latency_ms";
    }
    EXPECT_EQ(shown, 2);
  }

  // Asked differently: one device alone, limited by the other.
  v1::QueryParetoFrontierRequest request;
  request.set_parent(job.name());
  *request.add_objectives() = spec.objectives(0);
  *request.add_objectives() = spec.objectives(2);
  v1::Constraint* limit = request.add_constraints();
  limit->set_metric("predicted_latency_ms");
  limit->mutable_condition()->set_device_class("one");
  limit->set_at_most(0.9 * one->most());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse limited, Query(request));
  ASSERT_FALSE(limited.members().empty());
  for (const v1::FrontierMember& member : limited.members()) {
    EXPECT_LE(one->Of(ArchitectureOf(member.trial())).value(), limit->at_most());
    EXPECT_DOUBLE_EQ(member.values(1), two->Of(ArchitectureOf(member.trial())).value());
  }
  limit->mutable_condition()->set_device_class("three");
  EXPECT_THAT(Query(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("constraints[0].condition")));
  request.clear_parent();
  request.set_supernet("supernets/fashion_mnist");
  EXPECT_THAT(Query(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("one job")));

  // From the log alone: the tables may be gone.
  for (const std::string& table : spec.latency_tables()) {
    ASSERT_TRUE(std::filesystem::remove(harness_.artifacts()->PathOf(table).value()));
  }
  harness_.Restart();
  EXPECT_EQ(harness_.Frontier(job.name()).SerializeAsString(), frontier.SerializeAsString());
  EXPECT_THAT(harness_.Job(job.name())->warnings(), SizeIs(2));
  EXPECT_EQ(harness_.Job(job.name())->hypervolume(), ended.hypervolume());
}

TEST_F(TableJobsTest, ABoundIsMetExactlyOrRefusedWithTheNearestThatCanBe) {
  const auto table = Compiled(Table("one", 1));
  v1::SearchJobSpec spec = Predicting(20, {"devices/one"});
  spec.add_latency_tables(Upload(Table("one", 1)));
  v1::Constraint* limit = spec.add_constraints();
  limit->set_metric("predicted_latency_ms");  // of the only table
  limit->set_at_most(0.99 * table->least());
  const absl::Status refused = harness_.Submit(spec).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                AllOf(HasSubstr("spec.constraints[0].at_most"),
                                      HasSubstr("nearest bound that can be met is"))));
  // What it says can be met; so narrow a bound is kept by very few.
  const absl::string_view message = refused.message();
  const absl::string_view number = message.substr(message.rfind("met is ") + 7);
  double nearest = 0;
  ASSERT_TRUE(absl::SimpleAtod(number.substr(0, number.find(' ')), &nearest)) << message;
  limit->set_at_most(nearest);
  spec.mutable_sampler()->set_algorithm("nsga2");
  FORALL_ASSERT_OK_AND_ASSIGN(v1::SearchJob job, harness_.Submit(spec));
  EXPECT_GT(harness_.Job(job.name())->measured_trials(), 0);
  spec.mutable_sampler()->set_algorithm("guided");
  limit->set_at_most(1.05 * table->least());
  FORALL_ASSERT_OK_AND_ASSIGN(job, harness_.Submit(spec));
  EXPECT_GT(harness_.Job(job.name())->measured_trials(), 5);
  for (const v1::FrontierMember& member : harness_.FrontierMembers(job.name())) {
    EXPECT_LE(member.values(1), limit->at_most());
  }
  limit->clear_at_most();
  limit->set_at_least(1.01 * table->most());
  EXPECT_THAT(harness_.Submit(spec),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("at_least")));
}

TEST_F(TableJobsTest, RefusesWhatIsNoTableForTheJob) {
  v1::SearchJobSpec spec = Predicting(4, {"devices/one"});
  const auto error = [&] { return harness_.Submit(spec).status(); };
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("spec.latency_tables: predicted_latency_ms needs")));
  spec.add_latency_tables("one.json");
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("spec.latency_tables[0]: want the SHA-256")));
  spec.set_latency_tables(0, std::string(64, '0'));
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("spec.latency_tables[0]")));
  spec.set_latency_tables(0, harness_.artifacts()->Put("Conv-input: 1").value());
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("spec.latency_tables[0]: is no latency table")));
  // No device: forall table import would not make it.
  LatencyTable table = Table("one", 1);
  table.conditions.device = "";
  spec.set_latency_tables(0, Upload(table));
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("device: must be")));
  // Another device than the one asked for.
  spec.set_latency_tables(0, Upload(Table("two", 1)));
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                AllOf(HasSubstr("spec.objectives[1].condition.device"),
                                      HasSubstr("\"two\""))));
  spec.set_latency_tables(0, Upload(Table("one", 1)));
  spec.add_latency_tables(spec.latency_tables(0));
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("spec.latency_tables[1]: is there twice")));
  spec.set_latency_tables(1, Upload(Table("one", 2)));
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument,
                                AllOf(HasSubstr("spec.latency_tables[1]"), HasSubstr("\"one\""))));
  spec.mutable_latency_tables()->RemoveLast();
  spec.mutable_objectives(1)->mutable_condition()->set_batch(2);
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("batch")));
  spec.mutable_objectives(1)->mutable_condition()->clear_batch();

  // Of another search space, and one with a hole.
  const auto other = FindFamily("ofa_mbv3_w1.0").value();
  LatencyTable foreign = Table("one", 1);
  foreign.resolutions.clear();
  const std::vector<std::string> keys = SpaceKeys(*other, 224).value();
  for (const std::string& key : keys) foreign.resolutions[224][key].mean_ms = 1;
  spec.set_latency_tables(0, Upload(foreign));
  EXPECT_THAT(error(),
              StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("spec.latency_tables[0]"),
                                                          HasSubstr("another search space"))));
  table = Table("one", 1);
  const std::string lost = table.resolutions[24].rbegin()->first;
  for (auto& [resolution, rows] : table.resolutions) {
    rows.erase(std::prev(rows.end()));
  }
  spec.set_latency_tables(0, Upload(table));
  EXPECT_THAT(error(), StatusIs(absl::StatusCode::kNotFound, HasSubstr(lost)));
}

// Latencies of the harness's device are not those of any table: its error is learned.
TEST_F(TableJobsTest, ALatencyBoundIsJudgedByTheTableAsFarAsMeasurementsBearItOut) {
  harness_.Register("w", "pc");
  v1::SearchJobSpec spec = ControllerHarness::Spec(24);
  for (v1::Objective& objective : *spec.mutable_objectives()) {
    if (objective.metric() == "latency_ms") {
      objective.mutable_condition()->set_device("devices/pc");
    }
  }
  spec.add_latency_tables(Upload(Table("pc", 3)));
  const auto table = Compiled(Table("pc", 3));
  v1::Constraint* limit = spec.add_constraints();
  limit->set_metric("latency_ms");
  limit->mutable_condition()->set_device("devices/pc");
  const double impossible = 1e-9 * table->least();
  limit->set_at_most(impossible);
  FORALL_ASSERT_OK_AND_ASSIGN(v1::SearchJob job, harness_.Submit(spec));
  EXPECT_THAT(job.warnings(), ElementsAre(HasSubstr("no rows for r 20"),
                                          AllOf(HasSubstr("spec.constraints[0].at_most"),
                                                HasSubstr("0 subnets were measured"))));
  const std::string doubtful = job.name();
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(doubtful);
  EXPECT_THAT(CallAndWait(harness_.controller(), &Controller::CancelSearchJob, cancel).status(),
              testing::IsOk());

  // Measured: a bound far below is refused, the one that the message names is not.
  limit->set_at_most(1e9);
  FORALL_ASSERT_OK_AND_ASSIGN(job, harness_.Submit(spec));
  EXPECT_THAT(job.warnings(), SizeIs(1));
  EXPECT_EQ(harness_.RunToEnd(job.name()).state(), v1::SearchJob::SUCCEEDED);
  limit->set_at_most(impossible);
  const absl::Status refused = harness_.Submit(spec).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                AllOf(HasSubstr("spec.constraints[0].at_most"),
                                      HasSubstr("subnets measured there bear it out"),
                                      HasSubstr("nearest bound that may be met is "))));
  const absl::string_view message = refused.message();
  double nearest = 0;
  ASSERT_TRUE(absl::SimpleAtod(message.substr(message.rfind("met is ") + 7), &nearest)) << message;
  limit->set_at_most(nearest);
  FORALL_ASSERT_OK_AND_ASSIGN(job, harness_.Submit(spec));
  EXPECT_THAT(job.warnings(), ElementsAre(HasSubstr("no rows"), HasSubstr("perhaps no subnet")));

  // What was said at submission stays, whatever is known by now.
  harness_.Restart();
  EXPECT_THAT(harness_.Job(doubtful)->warnings(),
              ElementsAre(HasSubstr("no rows"), HasSubstr("0 subnets were measured")));
}

TEST_F(TableJobsTest, ATableOfTheDeviceIsWhereTheSearchBegins) {
  harness_.Register("w", "pc");
  v1::SearchJobSpec spec = ControllerHarness::Spec(24);
  spec.mutable_sampler()->set_algorithm("guided");
  spec.set_cold_start(true);  // what the jobs before have measured would be another beginning
  spec.mutable_objectives(1)->mutable_condition()->set_device("devices/pc");
  ASSERT_EQ(spec.objectives(1).metric(), "latency_ms");
  const auto proposed = [&](const std::string& table) {
    v1::SearchJobSpec named = spec;
    named.add_latency_tables(table);
    const std::string name = harness_.Submit(named).value().name();
    EXPECT_EQ(harness_.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
    std::vector<std::string> keys;
    for (const v1::Trial& trial : harness_.Trials(name)) keys.push_back(trial.arch_key());
    return keys;
  };
  const std::vector<std::string> with = proposed(Upload(Table("pc", 3)));
  EXPECT_EQ(proposed(Upload(Table("pc", 3))), with);
  EXPECT_NE(proposed(Upload(Table("another", 3))), with) << "not a table of this device";
}

TEST(ValidateTableTest, ErrorIsThreeStandardDeviationsOfOneMoreRatio) {
  EXPECT_FALSE(ValidateTable(std::vector<double>(7, 2)).has_value());
  const std::optional<TableError> exact = ValidateTable(std::vector<double>(8, 2));
  ASSERT_TRUE(exact.has_value());
  EXPECT_EQ(exact->subnets, 8);
  EXPECT_NEAR(exact->low, 2, 1e-9);
  EXPECT_NEAR(exact->high, 2, 1e-9);
  Random random(1);
  int outside = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<double> ratios;
    for (int i = 0; i < 12; ++i) ratios.push_back(1.5 * std::exp(0.05 * random.Gaussian()));
    const std::optional<TableError> error = ValidateTable(ratios);
    const double next = 1.5 * std::exp(0.05 * random.Gaussian());
    outside += next < error->low || next > error->high;
  }
  // Student's t with 11 degrees of freedom leaves 1.2 % beyond three.
  EXPECT_LT(outside, 2000 * 0.025);
}

// A correction is part of what a table says, and so is that it was found wanting.
TEST_F(TableJobsTest, PredictsByTheCorrectionAndWarnsOfATableThatIsNotGood) {
  LatencyTable table = Table("pc", 1);
  TableCorrection correction;
  correction.networks = 50;
  correction.intercept_ms = 0.5;
  for (const auto& [resolution, rows] : table.resolutions) {
    for (const auto& [key, row] : rows) {
      correction.rows_ms[resolution][key] = 0.7 * row.mean_ms;
    }
  }
  table.provenance = {{"space", "fashion_mnist"}};
  table.correction = correction;
  table.validation = TableValidation{.networks = 30, .seed = 1, .bound = 0.1, .good = false};
  const std::shared_ptr<const CompiledTable> compiled = Compiled(table);
  LatencyTable plain = table;
  plain.correction.reset();
  Random random(3);
  for (int i = 0; i < 20; ++i) {
    const Architecture architecture = family_->search_space().Sample(&random);
    const std::optional<double> additive = Compiled(plain)->Of(architecture);
    if (!additive.has_value()) continue;  // Resolution 20.
    EXPECT_NEAR(*compiled->Of(architecture), 0.5 + 0.7 * *additive, 1e-9);
  }
  EXPECT_NEAR(compiled->least(), 0.5 + 0.7 * Compiled(plain)->least(), 1e-9);

  v1::SearchJobSpec spec = Predicting(5, {"devices/pc"});
  spec.add_latency_tables(Upload(table));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob job, harness_.Submit(spec));
  EXPECT_THAT(job.warnings(), ::testing::Contains(HasSubstr("was found not good")));

  table.correction->rows_ms[24].begin()->second = -1;
  EXPECT_THAT(CompiledTable::Compile(table, family_).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("correction.rows.24")));
}

}  // namespace
}  // namespace forall
