// SPDX-License-Identifier: Apache-2.0
#include "search/controller/prediction_ledger.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "base/forecast_quality.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;

absl::StatusOr<v1::PredictionLedger> Ledger(ControllerHarness* harness, const std::string& name) {
  v1::GetPredictionLedgerRequest request;
  request.set_name(name);
  return CallAndWait(harness->controller(), &Controller::GetPredictionLedger, request);
}

// Of the metric, at screening fidelity.
std::map<std::string, double> Screened(const std::vector<v1::Trial>& trials,
                                       const std::string& metric) {
  std::map<std::string, double> values;
  for (const v1::Trial& trial : trials) {
    for (const v1::Measurement& measurement : trial.measurements()) {
      if (measurement.metric() == metric && measurement.fidelity() == "screening") {
        values[trial.name()] = measurement.value();
      }
    }
  }
  return values;
}

TEST(PredictionLedgerTest, HoldsWhatGuidedSearchExpectedAgainstWhatItMeasured) {
  ControllerHarness harness;
  harness.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(20);
  spec.mutable_sampler()->set_algorithm("guided");
  spec.add_objectives()->set_metric("macs");  // known exactly: no entry
  const std::string name = harness.Submit(spec)->name();
  ASSERT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
  size_t predicted = 0;
  for (const std::string& event : harness.Log(name)) {
    predicted += absl::StrContains(event, " proposed ") && absl::StrContains(event, "\"expected\"");
  }
  ASSERT_GT(predicted, 5u);
  const std::vector<v1::Trial> trials = harness.Trials(name);

  FORALL_ASSERT_OK_AND_ASSIGN(const v1::PredictionLedger ledger, Ledger(&harness, name));
  ASSERT_EQ(ledger.entries_size(), 2);
  EXPECT_EQ(ledger.entries(0).objective().metric(), "accuracy_top1");
  EXPECT_EQ(ledger.entries(1).objective().metric(), "latency_ms");
  EXPECT_EQ(ledger.entries(1).objective().condition().device(), "devices/pc");
  for (const v1::PredictionLedger::Entry& entry : ledger.entries()) {
    SCOPED_TRACE(entry.objective().metric());
    // Finalists were measured once more, and stand by what the search saw.
    const std::map<std::string, double> screened = Screened(trials, entry.objective().metric());
    ASSERT_EQ(screened.size(), trials.size());
    EXPECT_EQ(static_cast<size_t>(entry.forecasts_size()), predicted);
    std::vector<Forecast> pairs;
    for (const v1::PredictionLedger::Forecast& forecast : entry.forecasts()) {
      EXPECT_EQ(forecast.measured(), screened.at(forecast.trial()));
      EXPECT_GT(forecast.deviation(), 0);
      pairs.push_back({forecast.expected(), forecast.deviation(), forecast.measured()});
    }
    const ForecastQuality quality = JudgeForecasts(pairs);
    EXPECT_EQ(entry.mean_relative_error(), *quality.mean_relative_error);
    EXPECT_EQ(entry.within_15_percent(), quality.within_15_percent);
    EXPECT_EQ(entry.kendall_tau(), *quality.kendall_tau);
    EXPECT_EQ(entry.within_interval(), quality.within_interval);
    // In the unit and orientation of the metric, or these would be far off.
    EXPECT_LT(entry.mean_relative_error(), 0.5);
  }

  harness.Restart();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::PredictionLedger again, Ledger(&harness, name));
  EXPECT_EQ(again.SerializeAsString(), ledger.SerializeAsString());
}

TEST(PredictionLedgerTest, IsEmptyWhereNothingIsPredicted) {
  ControllerHarness harness;
  harness.Register("w");
  v1::SearchJobSpec spec = ControllerHarness::Spec(6);
  spec.mutable_sampler()->set_algorithm("random");
  const std::string name = harness.Submit(spec)->name();
  // Also before the device is settled.
  EXPECT_THAT(Ledger(&harness, name), IsOk());
  ASSERT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::PredictionLedger ledger, Ledger(&harness, name));
  ASSERT_EQ(ledger.entries_size(), 2);
  for (const v1::PredictionLedger::Entry& entry : ledger.entries()) {
    EXPECT_EQ(entry.forecasts_size(), 0);
    EXPECT_FALSE(entry.has_mean_relative_error());
    EXPECT_FALSE(entry.has_kendall_tau());
  }
  EXPECT_THAT(Ledger(&harness, "searchJobs/77"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace forall
