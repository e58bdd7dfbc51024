// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <sstream>
#include <string>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::SearchJob MakeJob(int measured) {
  v1::SearchJob job;
  job.set_state(v1::SearchJob::RUNNING);
  job.mutable_spec()->mutable_budget()->set_max_trials(100);
  job.set_measured_trials(measured);
  job.set_frontier_size(7);
  job.set_hypervolume(0.5);
  return job;
}

TEST(ProgressTest, BarIsFilledInProportionAndFits) {
  const std::string line = ProgressLine(MakeJob(50), absl::Seconds(80), 99);
  EXPECT_THAT(line,
              HasSubstr("[###############---------------]  50/100 subnets tried  frontier 7"));
  EXPECT_THAT(line, HasSubstr("ETA 1m20s"));
  for (const int width : {10, 40, 60, 80, 99}) {
    EXPECT_LE(ProgressLine(MakeJob(50), absl::Seconds(80), width).size(),
              static_cast<size_t>(width));
  }
}

TEST(ProgressTest, EtaComesFromThePaceSinceTheFirstUpdate) {
  std::ostringstream out;
  ProgressPrinter printer(&out, /*columns=*/100);
  const absl::Time start = absl::FromUnixSeconds(1000);
  printer.Update(MakeJob(40), start);
  EXPECT_THAT(out.str(), Not(HasSubstr("ETA")));
  // 20 in 10 s, 40 left: 20 s.
  printer.Update(MakeJob(60), start + absl::Seconds(10));
  EXPECT_THAT(out.str(), HasSubstr("ETA 20s"));
  printer.Finish();
  EXPECT_EQ(out.str().back(), '\n');
}

TEST(ProgressTest, ALineFitsTheTerminal) {
  for (const size_t columns : {60, 100}) {
    std::ostringstream out;
    ProgressPrinter printer(&out, columns);
    v1::SearchJob job = MakeJob(40);
    job.set_waiting_reason("a worker on the device pixel-8-pro-left, which nobody has started yet");
    printer.Update(job, absl::FromUnixSeconds(1000));
    printer.Update(MakeJob(60), absl::FromUnixSeconds(1010));
    printer.Finish();
    for (absl::string_view line : absl::StrSplit(out.str(), absl::ByAnyChar("\r\n"))) {
      absl::ConsumePrefix(&line, "\033[K");
      EXPECT_LT(line.size(), columns) << line;
    }
  }
}

TEST(ProgressTest, WithoutATerminalOneLineATenth) {
  std::ostringstream out;
  ProgressPrinter printer(&out, /*columns=*/0);
  for (int measured = 0; measured <= 100; ++measured) {
    printer.Update(MakeJob(measured), absl::FromUnixSeconds(measured));
  }
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11);
  EXPECT_THAT(text, Not(HasSubstr("\r")));
}

TEST(ProgressPrinterTest, TellsWhatAJobWaitsForOnceAndInFull) {
  for (const bool terminal : {false, true}) {
    std::ostringstream out;
    ProgressPrinter printer(&out, terminal ? 100 : 0);
    v1::SearchJob job = MakeJob(0);
    job.set_waiting_reason("a worker that can do tasks/108: " + std::string(120, 'x') +
                           " cannot, its program printed seventeen of twenty samples and no more");
    printer.Update(job, absl::UnixEpoch());
    printer.Update(job, absl::UnixEpoch() + absl::Seconds(1));
    const std::string text = out.str();
    const size_t at = text.find("waits for a worker");
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_EQ(text.find("waits for", at + 1), std::string::npos) << text;
    EXPECT_THAT(text, HasSubstr("no more\n"));
    EXPECT_THAT(text, HasSubstr("0/100 subnets tried"));
  }
}

TEST(ProgressPrinterTest, TellsTheTimeLeftOfFinalMeasurementsByTheirOwnPace) {
  std::ostringstream out;
  ProgressPrinter printer(&out, /*columns=*/100);
  v1::SearchJob job;
  job.mutable_spec()->mutable_budget()->set_max_trials(120);
  job.mutable_spec()->add_objectives()->set_metric("latency_ms");
  job.set_measured_trials(120);
  job.set_frontier_size(6);
  job.set_state(v1::SearchJob::FINALIZING);
  printer.Update(job, absl::UnixEpoch());
  EXPECT_THAT(out.str(), Not(HasSubstr("ETA")));
  job.set_finalized_trials(2);
  printer.Update(job, absl::UnixEpoch() + absl::Seconds(20));
  EXPECT_THAT(out.str(), HasSubstr("2/6 frontier members final"));
  EXPECT_THAT(out.str(), AllOf(HasSubstr("ETA 40s"), HasSubstr("screened")));
  job.set_state(v1::SearchJob::SUCCEEDED);
  printer.Update(job, absl::UnixEpoch() + absl::Seconds(60));
  EXPECT_THAT(out.str(), HasSubstr("hypervolume 0.0000 final"));
}

TEST(MeasuresTest, TellsWhetherAnythingNeedsAWorker) {
  v1::SearchJobSpec spec;
  spec.add_objectives()->set_metric("macs");
  spec.add_objectives()->set_metric("predicted_accuracy_top1");
  EXPECT_FALSE(Measures(spec));
  spec.add_constraints()->set_metric("latency_ms");
  EXPECT_TRUE(Measures(spec));
}

}  // namespace
}  // namespace forall
