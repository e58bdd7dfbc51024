// SPDX-License-Identifier: Apache-2.0
#include "cli/estimate_format.h"

#include <algorithm>
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

v1::SearchJobEstimate Estimate() {
  v1::SearchJobEstimate estimate;
  v1::SearchJobEstimate::Work* work = estimate.add_work();
  work->set_metric("accuracy_top1");
  work->mutable_condition()->set_dataset("fashion_mnist");
  work->mutable_condition()->set_split("validation");
  work->set_fidelity("screening");
  work->set_measurements(300);
  work->set_seconds_each(12);
  work->set_basis_count(41);
  work->set_basis("of this supernet, scaled from 2500 to 10000 images");
  work->set_device_hours(1);
  work = estimate.add_work();
  work->set_metric("latency_ms");
  work->mutable_condition()->set_device("devices/pi5-lab");
  work->set_fidelity("final");
  work->set_measurements(60);
  estimate.set_device_hours(1);
  estimate.set_known_subnets(17);
  v1::SearchJobEstimate::Range* range = estimate.add_ranges();
  range->set_metric("macs");
  range->set_least(7657248);
  range->set_most(50e6);
  estimate.add_warnings(
      "how long latency_ms takes on devices/pi5-lab (final) is not known: none was timed yet, and "
      "this is a long warning");
  return estimate;
}

TEST(EstimateFormatTest, TableFitsAHundredColumnsAndSaysWhatIsNotKnown) {
  const std::string text = EstimateTable(Estimate());
  for (const auto& line : absl::StrSplit(text, '\n')) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_THAT(text, HasSubstr("pi5-lab"));
  EXPECT_THAT(text, HasSubstr("41 like them, scaled"));
  EXPECT_THAT(text, HasSubstr("At most 1.00 device-hours, and more for what is not known.\n"));
  EXPECT_THAT(text, HasSubstr("17 subnets"));
  EXPECT_THAT(text, HasSubstr("macs from 7.66 M to 50.00 M\n"));
  EXPECT_THAT(text, HasSubstr("\nwarning: how long latency_ms takes"));
}

TEST(EstimateFormatTest, NamesMetricsBatchAndTheRunsOfPercentiles) {
  v1::SearchJobEstimate estimate = Estimate();
  v1::SearchJobEstimate::Work* const work = estimate.mutable_work(1);
  work->set_metric("latency_ms, latency_p90_ms, latency_p99_ms, energy_mj, carbon_mg");
  work->mutable_condition()->set_batch(8);
  work->set_seconds_each(5);
  work->set_basis_count(7);
  work->set_basis("of this supernet on devices/pi5-lab, scaled for 662 runs");
  const std::string text = EstimateTable(estimate);
  for (const auto& line : absl::StrSplit(text, '\n')) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_THAT(text, HasSubstr("pi5-lab:batch=8"));
  for (const char* const word : {"latency_p90_ms,", "energy_mj,", "(662", "scaled"}) {
    EXPECT_THAT(text, HasSubstr(word));
  }
  const nlohmann::ordered_json json = EstimateJson(estimate);
  EXPECT_EQ(json["work"][1]["metrics"].size(), 5u);
  EXPECT_EQ(json["work"][1]["batch"], 8);
  EXPECT_EQ(json["work"][1]["fewest_runs"], 662);
  EXPECT_EQ(json["work"][1]["where"], "pi5-lab:batch=8");
  EXPECT_TRUE(json["work"][0]["fewest_runs"].is_null());
  EXPECT_TRUE(json["work"][0]["batch"].is_null());
}

TEST(EstimateFormatTest, ClaimsNoHoursWhereNothingWasTimed) {
  v1::SearchJobEstimate estimate = Estimate();
  for (v1::SearchJobEstimate::Work& work : *estimate.mutable_work()) {
    work.clear_seconds_each();
    work.clear_device_hours();
  }
  estimate.set_device_hours(0);
  EXPECT_THAT(EstimateTable(estimate), Not(HasSubstr("At most")));
  EXPECT_THAT(EstimateTable(estimate), HasSubstr("device-hours that makes is not known"));
}

TEST(EstimateFormatTest, TableOfAJobThatIsKnownWhole) {
  v1::SearchJobEstimate estimate = Estimate();
  estimate.mutable_work()->RemoveLast();
  estimate.clear_warnings();
  estimate.set_wall_hours(0.001);
  EXPECT_THAT(EstimateTable(estimate),
              HasSubstr("At most 1.00 device-hours; < 0.01 hours with the workers that are"));
  EXPECT_THAT(EstimateTable(estimate), Not(HasSubstr("warning")));
  EXPECT_THAT(EstimateTable(v1::SearchJobEstimate()), HasSubstr("Nothing is measured"));
}

TEST(EstimateFormatTest, JsonHasNullForWhatIsNotKnown) {
  const nlohmann::ordered_json json = EstimateJson(Estimate());
  EXPECT_EQ(json["work"][0]["seconds_each"], 12);
  EXPECT_EQ(json["work"][0]["where"], "validation");
  EXPECT_EQ(json["work"][1]["where"], "pi5-lab");
  EXPECT_TRUE(json["work"][1]["seconds_each"].is_null());
  EXPECT_TRUE(json["wall_hours"].is_null());
  EXPECT_EQ(json["known_subnets"], 17);
  EXPECT_EQ(json["ranges"][0]["most"], 50e6);
  EXPECT_EQ(json["warnings"].size(), 1u);
}

}  // namespace
}  // namespace forall
