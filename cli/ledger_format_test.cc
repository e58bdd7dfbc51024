// SPDX-License-Identifier: Apache-2.0
#include "cli/ledger_format.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

v1::PredictionLedger MakeLedger() {
  v1::PredictionLedger ledger;
  v1::PredictionLedger::Entry* entry = ledger.add_entries();
  entry->mutable_objective()->set_metric("latency_ms");
  entry->mutable_objective()->mutable_condition()->set_device("devices/lab");
  v1::PredictionLedger::Forecast* forecast = entry->add_forecasts();
  forecast->set_trial("searchJobs/1/trials/9");
  forecast->set_expected(0.5);
  forecast->set_deviation(0.01);
  forecast->set_measured(0.52);
  entry->set_mean_relative_error(0.0385);
  entry->set_within_5_percent(1);
  entry->set_within_10_percent(1);
  entry->set_within_15_percent(1);
  entry->set_mean_signed_error(-0.02);
  return ledger;
}

TEST(LedgerFormatTest, TableHasALinePerObjective) {
  const std::string table = LedgerTable(MakeLedger());
  EXPECT_THAT(table, ContainsRegex("latency_ms@lab +1 +3.85 % +100 % +100 % +100 % +-0.0200 ms +- "
                                   "+- +0 %\n"));
}

TEST(LedgerFormatTest, FlagsIntervalsThatHardlyEverHold) {
  v1::PredictionLedger ledger = MakeLedger();
  v1::PredictionLedger::Entry* entry = ledger.mutable_entries(0);
  EXPECT_THAT(LedgerTable(ledger), Not(HasSubstr("surer of itself"))) << "one proves nothing";
  for (int i = 1; i < 40; ++i) *entry->add_forecasts() = entry->forecasts(0);
  entry->set_within_interval(0.1);
  EXPECT_THAT(LedgerTable(ledger), AllOf(HasSubstr("10 % !\n"), HasSubstr("surer of itself")));
  entry->set_within_interval(0.925);
  EXPECT_THAT(LedgerTable(ledger), Not(HasSubstr("surer of itself")));
}

TEST(LedgerFormatTest, SaysWhyThereIsNothing) {
  EXPECT_THAT(LedgerTable({}), HasSubstr("known exactly"));
  v1::PredictionLedger ledger = MakeLedger();
  ledger.mutable_entries(0)->clear_forecasts();
  EXPECT_THAT(LedgerTable(ledger), HasSubstr("\"guided\" predicts"));
}

TEST(LedgerFormatTest, JsonHasTheFiguresAndThePairs) {
  const nlohmann::ordered_json json = LedgerJson(MakeLedger());
  const nlohmann::ordered_json& entry = json["entries"][0];
  EXPECT_EQ(entry["objective"], "latency_ms@lab");
  EXPECT_EQ(entry["forecasts"], 1);
  EXPECT_EQ(entry["mean_signed_error"], -0.02);
  EXPECT_TRUE(entry["kendall_tau"].is_null());
  EXPECT_EQ(entry["pairs"][0]["measured"], 0.52);
  EXPECT_EQ(entry["pairs"][0]["trial"], "searchJobs/1/trials/9");
}

}  // namespace
}  // namespace forall
