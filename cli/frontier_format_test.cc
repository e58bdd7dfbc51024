// SPDX-License-Identifier: Apache-2.0
#include "cli/frontier_format.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Measurement MakeMeasurement(const std::string& metric, double value, double half_width) {
  v1::Measurement measurement;
  measurement.set_metric(metric);
  measurement.set_value(value);
  measurement.mutable_interval()->set_low(value - half_width);
  measurement.mutable_interval()->set_high(value + half_width);
  measurement.mutable_verdict()->set_state(v1::Verdict::TRUSTED);
  measurement.set_fidelity("final");
  return measurement;
}

v1::QueryParetoFrontierResponse MakeFrontier() {
  v1::QueryParetoFrontierResponse frontier;
  frontier.add_objectives()->set_metric("accuracy_top1");
  frontier.add_objectives()->set_metric("latency_ms");
  frontier.set_considered_trials(42);
  v1::FrontierMember* member = frontier.add_members();
  member->add_values(93.4);
  member->add_values(0.75);
  member->set_knee(true);
  member->set_certainty(v1::FrontierMember::CONTESTED);
  v1::Trial* trial = member->mutable_trial();
  trial->set_name("searchJobs/1/trials/17");
  trial->set_architecture_json(
      R"({"search_space":"s","revision":1,"choices":{"r":28,"d1":3,"k1.1":5,"d2":2}})");
  trial->set_arch_key("a1-x");
  *trial->add_measurements() = MakeMeasurement("accuracy_top1", 93.4, 0.5);
  trial->mutable_measurements(0)->mutable_condition()->set_split("validation");
  *trial->add_measurements() = MakeMeasurement("accuracy_top1", 93.1, 0.5);
  trial->mutable_measurements(1)->mutable_condition()->set_split("test");
  *trial->add_measurements() = MakeMeasurement("latency_ms", 0.75, 0.01);
  trial->mutable_measurements(2)->mutable_condition()->set_device("devices/lab");
  *trial->add_measurements() = MakeMeasurement("macs", 25e6, 0);
  *member->add_measurements() = trial->measurements(0);
  *member->add_measurements() = trial->measurements(2);
  return frontier;
}

TEST(FrontierFormatTest, TableShowsIntervalsAndFits) {
  const std::string table = FrontierTable(MakeFrontier(), 100);
  EXPECT_THAT(table, HasSubstr("93.40 [92.90, 93.90]"));
  EXPECT_THAT(table, HasSubstr("0.750 [0.740, 0.760]"));
  EXPECT_THAT(table, HasSubstr("25.00 M"));
  EXPECT_THAT(table, HasSubstr("r28 d3-2"));
  EXPECT_THAT(table, HasSubstr("*~"));
  EXPECT_THAT(table, HasSubstr("1 of 42 subnets"));
  size_t start = 0;
  for (size_t end; (end = table.find('\n', start)) != std::string::npos; start = end + 1) {
    EXPECT_LE(end - start, 100u);
  }
}

TEST(FrontierFormatTest, ATerminalsTableFitsItAndAFileGetsItWhole) {
  v1::QueryParetoFrontierResponse frontier = MakeFrontier();
  for (const char* const metric : {"latency_p99_ms", "energy_mj", "peak_memory_mib"}) {
    v1::Objective* const objective = frontier.add_objectives();
    objective->set_metric(metric);
    objective->mutable_condition()->set_device("devices/pixel-8-pro-left");
    frontier.mutable_members(0)->add_values(12.5);
    *frontier.mutable_members(0)->add_measurements() = MakeMeasurement(metric, 12.5, 0.25);
  }
  const std::vector<std::string> lines =
      absl::StrSplit(FrontierTable(frontier, 100), '\n', absl::SkipEmpty());
  for (const std::string& line : lines) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_THAT(FrontierTable(frontier, 100), HasSubstr("12.500"));
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("12.500 [12.250, 12.750]"));
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("estimated from screening, [..] 95 % interval\n"));
}

TEST(FrontierFormatTest, JsonKeepsValidationAndTestApart) {
  const auto json = FrontierJson(MakeFrontier());
  const auto& member = json["members"][0];
  EXPECT_EQ(member["values"]["accuracy_top1"], 93.4);
  EXPECT_EQ(member["measurements"]["accuracy_top1"]["value"], 93.4);
  EXPECT_EQ(member["measurements"]["accuracy_top1@test"]["value"], 93.1);
  EXPECT_EQ(member["measurements"]["latency_ms@devices/lab"]["verdict"], "TRUSTED");
  EXPECT_EQ(member["architecture"]["choices"]["d1"], 3);
  EXPECT_EQ(member["certainty"], "contested");
  EXPECT_EQ(member["knee"], true);
}

TEST(FrontierFormatTest, CsvHasAsManyCellsAsItsHeader) {
  const std::string csv = FrontierCsv(MakeFrontier());
  const std::string header = csv.substr(0, csv.find('\n'));
  const std::string row = csv.substr(csv.find('\n') + 1);
  const std::string cells = row.substr(0, row.find('"'));
  EXPECT_EQ(std::count(header.begin(), header.end(), ','),
            std::count(cells.begin(), cells.end(), ','));
  EXPECT_THAT(row, HasSubstr("\"\"search_space\"\""));
  EXPECT_THAT(
      row,
      HasSubstr("searchJobs/1/trials/17,93.4,92.9,93.9,TRUSTED,final,0.75,0.74,0.76,TRUSTED,final,"
                "25000000"));
}

TEST(FrontierFormatTest, EstimatesSayThatTheyAreAndTakeTheirIntervalAlong) {
  v1::QueryParetoFrontierResponse frontier = MakeFrontier();
  v1::FrontierMember* member = frontier.mutable_members(0);
  member->mutable_measurements(0)->set_fidelity("screening");
  member->set_values(0, 93.15);
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("est. 93.15 [92.65, 93.65]"));
  EXPECT_THAT(FrontierCsv(frontier), HasSubstr(",93.15,92.65,93.65,TRUSTED,estimated,0.75,"));
  const auto json = FrontierJson(frontier);
  EXPECT_EQ(json["members"][0]["estimated"][0], "accuracy_top1");
  EXPECT_EQ(json["members"][0]["measurements"]["accuracy_top1"]["value"], 93.4);
}

TEST(FrontierFormatTest, MemberWithoutItsMeasurementsIsNotShown) {
  v1::QueryParetoFrontierResponse frontier = MakeFrontier();
  frontier.mutable_members(0)->clear_measurements();
  EXPECT_TRUE(FrontierJson(frontier)["members"].empty());
  EXPECT_THAT(FrontierCsv(frontier), Not(HasSubstr("searchJobs/1")));
}

TEST(FrontierFormatTest, ShowsOnHowManyImagesMembersStand) {
  v1::QueryParetoFrontierResponse frontier = MakeFrontier();
  *frontier.add_members() = frontier.members(0);
  for (v1::FrontierMember& member : *frontier.mutable_members()) {
    member.mutable_trial()->set_accuracy_images(10'000);
  }
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("accuracies on 10000 images"));
  EXPECT_THAT(FrontierTable(frontier), Not(HasSubstr("IMAGES")));
  frontier.mutable_members(0)->mutable_trial()->set_accuracy_images(2500);
  const std::string table = FrontierTable(frontier);
  EXPECT_THAT(table, HasSubstr("IMAGES"));
  EXPECT_THAT(table, HasSubstr(" 2500 "));
  EXPECT_THAT(table, Not(HasSubstr("accuracies on")));
  EXPECT_THAT(FrontierCsv(frontier), HasSubstr(",2500,contested,"));
  EXPECT_EQ(FrontierJson(frontier)["members"][0]["accuracy_images"], 2500);
}

// As a controller answers where nothing is feasible: two trials, one without its accuracy.
v1::QueryParetoFrontierResponse MakeClosest() {
  v1::QueryParetoFrontierResponse frontier = MakeFrontier();
  v1::ClosestTrial* closest = frontier.add_closest();
  *closest->mutable_trial() = frontier.members(0).trial();
  frontier.clear_members();
  frontier.set_considered_trials(0);
  closest->add_values(std::numeric_limits<double>::quiet_NaN());
  closest->add_values(8.3);
  v1::ClosestTrial::Miss* miss = closest->add_misses();
  miss->mutable_constraint()->set_metric("latency_ms");
  miss->mutable_constraint()->mutable_condition()->set_device("devices/lab");
  miss->mutable_constraint()->set_at_most(8);
  miss->set_value(8.3);
  miss->set_relative_excess(0.0375);
  miss = closest->add_misses();
  miss->mutable_constraint()->set_metric("macs");
  miss->mutable_constraint()->set_at_most(30e6);
  miss->set_value(300e6);
  miss->set_relative_excess(9);
  return frontier;
}

TEST(FrontierFormatTest, CallsAKneeOnlyWhatIsOne) {
  v1::QueryParetoFrontierResponse frontier = MakeFrontier();
  while (frontier.members_size() < 3) *frontier.add_members() = frontier.members(0);
  frontier.mutable_members()->DeleteSubrange(3, frontier.members_size() - 3);
  ASSERT_EQ(frontier.objectives_size(), 2);
  const double accuracies[] = {90, 89, 80};
  const double latencies[] = {3, 1.5, 1};
  for (int i = 0; i < 3; ++i) {
    frontier.mutable_members(i)->set_values(0, accuracies[i]);
    frontier.mutable_members(i)->set_values(1, latencies[i]);
  }
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("* knee,"));
  frontier.mutable_members(1)->set_values(0, 80.5);
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("* suggested (no knee),"));
  frontier.mutable_members()->RemoveLast();
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("* suggested (no knee),"));
}

TEST(FrontierFormatTest, JsonAlwaysHasAHypervolume) {
  v1::QueryParetoFrontierResponse frontier = MakeFrontier();
  frontier.clear_hypervolume();
  EXPECT_TRUE(FrontierJson(frontier)["hypervolume"].is_null());
  frontier.set_hypervolume(0.5);
  EXPECT_EQ(FrontierJson(frontier)["hypervolume"], 0.5);
}

TEST(FrontierFormatTest, SaysWhatIsClosestWhereNothingMeetsTheConstraints) {
  const v1::QueryParetoFrontierResponse frontier = MakeClosest();
  const std::string table = FrontierTable(frontier);
  EXPECT_THAT(table, HasSubstr("No measured subnet meets the constraints"));
  EXPECT_THAT(table, HasSubstr("1/trials/17"));
  EXPECT_THAT(table, HasSubstr("latency_ms@lab 8.300 is 3.8 % above 8.000"));
  EXPECT_THAT(table, HasSubstr("macs 300.00 M is 900 % above 30.00 M"));
  size_t start = 0;
  for (size_t end; (end = table.find('\n', start)) != std::string::npos; start = end + 1) {
    EXPECT_LE(end - start, 100u);
  }
  const auto json = FrontierJson(frontier);
  EXPECT_TRUE(json["members"].empty());
  const auto& closest = json["closest"][0];
  EXPECT_EQ(closest["trial"], "searchJobs/1/trials/17");
  EXPECT_TRUE(closest["values"]["accuracy_top1"].is_null()) << "it was not measured";
  EXPECT_EQ(closest["values"]["latency_ms"], 8.3);
  EXPECT_EQ(closest["misses"][0]["constraint"], "latency_ms@lab<=8");
  EXPECT_EQ(closest["misses"][1]["constraint"], "macs<=30000000");
  EXPECT_EQ(closest["misses"][1]["relative_excess"], 9);
  const std::string csv = FrontierCsv(frontier);
  EXPECT_EQ(csv.find('\n'), csv.size() - 1) << "a header and no words";
  EXPECT_FALSE(FrontierJson(MakeFrontier()).contains("closest"));
}

}  // namespace
}  // namespace forall
