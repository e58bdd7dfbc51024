// SPDX-License-Identifier: Apache-2.0
#include "cli/jobs_format.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr size_t kWidth = 100;

v1::SearchJob MakeJob(int number) {
  v1::SearchJob job;
  job.set_name(absl::StrCat("searchJobs/", number));
  job.set_state(v1::SearchJob::SUCCEEDED);
  job.mutable_spec()->set_display_name("the weekly search for all of the phones in the rack");
  job.mutable_spec()->mutable_budget()->set_max_trials(120);
  for (const char* const metric : {"accuracy_top1", "latency_ms", "latency_p99_ms"}) {
    v1::Objective* const objective = job.mutable_spec()->add_objectives();
    objective->set_metric(metric);
    if (metric[0] == 'l') objective->mutable_condition()->set_device("devices/pixel-8-pro-left");
  }
  job.set_measured_trials(107);
  job.set_infeasible_trials(10);
  job.set_failed_trials(3);
  job.set_frontier_size(9);
  return job;
}

v1::Trial MakeTrial(int number, v1::Trial::State state, const std::string& error) {
  v1::Trial trial;
  trial.set_name(absl::StrCat("searchJobs/7/trials/", number));
  trial.set_state(state);
  trial.set_error(error);
  return trial;
}

void ExpectFits(const std::string& text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    EXPECT_LE(line.size(), kWidth) << line;
  }
}

TEST(JobsFormatTest, ATerminalsTableFitsItAndAFileGetsItWhole) {
  const std::vector<v1::SearchJob> jobs = {MakeJob(12), MakeJob(3)};
  const std::string narrow = JobsTable(jobs, absl::UTCTimeZone(), kWidth);
  ExpectFits(narrow);
  EXPECT_THAT(narrow, AllOf(HasSubstr("107/120"), HasSubstr("FAILED"), HasSubstr("pixel")));
  EXPECT_THAT(narrow, HasSubstr("\n12   succeeded"));
  const std::string whole = JobsTable(jobs, absl::UTCTimeZone(), 0);
  EXPECT_THAT(std::vector<std::string>(absl::StrSplit(whole, '\n', absl::SkipEmpty())), SizeIs(3));
  EXPECT_THAT(whole, HasSubstr("\nsearchJobs/12  succeeded"));
  EXPECT_THAT(whole, HasSubstr("latency_p99_ms@pixel-8-pro-left  the weekly search for all"));
}

TEST(JobsFormatTest, PrioritiesAndTenantsAreShownWhereTheyDiffer) {
  std::vector<v1::SearchJob> jobs = {MakeJob(12), MakeJob(3), MakeJob(2)};
  EXPECT_THAT(JobsTable(jobs, absl::UTCTimeZone(), 0),
              AllOf(Not(HasSubstr("PRIO")), Not(HasSubstr("TENANT"))));
  for (v1::SearchJob& job : jobs) job.set_tenant("alice");
  jobs[1].mutable_spec()->set_priority(-100);
  jobs[1].mutable_spec()->set_weight(0.25F);
  EXPECT_THAT(JobsTable(jobs, absl::UTCTimeZone(), 0),
              AllOf(HasSubstr("PRIO"), Not(HasSubstr("TENANT"))));
  jobs[2].set_tenant("a-long-name-of-a-token-for-nightly-searches");
  jobs[0].set_tenant("");
  const std::string table = JobsTable(jobs, absl::UTCTimeZone(), kWidth);
  ExpectFits(table);
  EXPECT_THAT(table, AllOf(HasSubstr("TENANT"), HasSubstr("-100"), HasSubstr("alice")));
  EXPECT_THAT(JobText(jobs[1], TrialReasons(), kWidth),
              HasSubstr("of alice, priority -100, weight 0.25\n"));
  EXPECT_THAT(JobText(jobs[0], TrialReasons(), kWidth), Not(HasSubstr("share")));
}

TEST(JobsFormatTest, ADeletionSaysWhatGoesAndWhatStays) {
  for (const bool done : {false, true}) {
    const std::string text = DeletionText(MakeJob(7), done, kWidth);
    ExpectFits(text);
    EXPECT_THAT(text, AllOf(HasSubstr("searchJobs/7"), HasSubstr("every measurement")));
  }
}

TEST(JobsFormatTest, TheDeletionOfASupernetSaysWhatGoesAndWhatStays) {
  v1::DeleteSupernetResponse response;
  response.set_measurements(120);
  response.set_exports(1);
  std::string text = SupernetDeletionText("supernets/old", response, /*done=*/false, kWidth);
  ExpectFits(text);
  EXPECT_THAT(text, AllOf(HasSubstr("To be deleted: supernets/old with the record of 1 exported"),
                          HasSubstr("120 measurements"), Not(HasSubstr("another supernet"))));
  response.set_kept_measurements(7);
  text = SupernetDeletionText("supernets/old", response, /*done=*/true, kWidth);
  ExpectFits(text);
  EXPECT_THAT(text, AllOf(HasSubstr("Deleted: "), HasSubstr("7 measurements that another")));
}

TEST(JobsFormatTest, ATrialSaysWhichRawSamplesWereDropped) {
  v1::Trial trial = MakeTrial(1, v1::Trial::MEASURED, "");
  v1::Measurement* const latency = trial.add_measurements();
  latency->set_metric("latency_ms");
  EXPECT_THAT(TrialText(trial, kWidth), Not(HasSubstr("dropped")));
  latency->mutable_samples_dropped_time()->set_seconds(1'700'000'000);
  EXPECT_THAT(TrialText(trial, kWidth), HasSubstr("were dropped on 2023-11-14"));
}

TEST(JobsFormatTest, CountsReasonsThatDifferByTheirValue) {
  TrialReasons reasons;
  for (int i = 0; i < 7; ++i) {
    reasons.Add(
        MakeTrial(i + 1, v1::Trial::INFEASIBLE,
                  absl::StrCat("latency_ms@pixel 8.", i, " is above 8",
                               i % 2 == 0 ? " even at the lower end of its interval, 8" : "")));
  }
  reasons.Add(MakeTrial(8, v1::Trial::INFEASIBLE, "accuracy_top1 80.1 is below 92"));
  reasons.Add(MakeTrial(9, v1::Trial::FAILED, "the measuring process was killed by signal 11"));
  reasons.Add(MakeTrial(10, v1::Trial::FAILED, "the measuring process was killed by signal 11"));
  reasons.Add(MakeTrial(11, v1::Trial::MEASURED, ""));
  const std::vector<TrialReason> sorted = reasons.Sorted();
  ASSERT_THAT(sorted, SizeIs(3));
  EXPECT_EQ(sorted[0].reason, "latency_ms@pixel is above 8");
  EXPECT_EQ(sorted[0].count, 7);
  EXPECT_EQ(sorted[0].first, "searchJobs/7/trials/1");
  EXPECT_EQ(sorted[1].count, 2);
  EXPECT_EQ(sorted[1].state, v1::Trial::FAILED);
  EXPECT_EQ(sorted[2].reason, "accuracy_top1 is below 92");
}

TEST(JobsFormatTest, TextsThatOnlyLookLikeABoundAreKept) {
  TrialReasons reasons;
  for (const char* const odd : {" is above ", "x is above ", " is below 8", "", "is above",
                                "a clock that is above all", "a clock of 3 is above all"}) {
    reasons.Add(MakeTrial(1, v1::Trial::FAILED, odd));
  }
  EXPECT_THAT(reasons.Sorted(), SizeIs(7));
}

TEST(JobsFormatTest, AJobTellsWhatBecameOfItsTrialsAndWhy) {
  TrialReasons reasons;
  for (int i = 0; i < 9; ++i) {
    reasons.Add(MakeTrial(i + 1, v1::Trial::FAILED,
                          absl::StrCat("workers/a: something that happened only once, number ", i,
                                       ", and takes a long line to be told in full\x1b[2J")));
  }
  const std::string text = JobText(MakeJob(7), reasons, kWidth);
  ExpectFits(text);
  EXPECT_THAT(text, HasSubstr("107/120 measured, 10 infeasible, 3 failed"));
  EXPECT_THAT(text, HasSubstr("and 4 trials for 4 more reasons\n"));
  EXPECT_THAT(text, HasSubstr("One trial's: forall trial 7/trials/1\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(JobText(MakeJob(7), TrialReasons(), kWidth), Not(HasSubstr("REASON")));
}

TEST(JobsFormatTest, AFrontierPointsToWhatIsMissing) {
  v1::SearchJob job = MakeJob(7);
  EXPECT_EQ(LostTrialsText(job),
            "10 trials were infeasible and 3 failed: forall jobs 7 says why\n");
  job.set_infeasible_trials(0);
  job.set_failed_trials(1);
  EXPECT_EQ(LostTrialsText(job), "1 trial failed: forall jobs 7 says why\n");
  job.set_failed_trials(0);
  EXPECT_EQ(LostTrialsText(job), "");
}

TEST(JobsFormatTest, ATrialTellsItsReasonWholeAndWhatWasMeasured) {
  const std::string error =
      "latency_ms@pixel-8-pro-left 8.31 is above 8 even at the lower end of its interval, 8.24, "
      "and "
      "some more words";
  v1::Trial trial = MakeTrial(17, v1::Trial::INFEASIBLE, error);
  v1::Measurement* const measurement = trial.add_measurements();
  measurement->set_metric("latency_p99_ms");
  measurement->mutable_condition()->set_device("devices/pixel-8-pro-left");
  measurement->mutable_condition()->set_batch(8);
  measurement->set_value(8.31);
  measurement->mutable_interval()->set_low(8.24);
  measurement->mutable_interval()->set_high(8.5);
  measurement->set_fidelity("screening");
  measurement->mutable_verdict()->set_state(v1::Verdict::NOISY);
  measurement->mutable_verdict()->add_reasons("load");
  const std::string text = TrialText(trial, kWidth);
  ExpectFits(text);
  EXPECT_THAT(text, HasSubstr("searchJobs/7/trials/17, infeasible\n"));
  EXPECT_THAT(text, HasSubstr("latency_p99_ms@pixel-8-pro-left:batch=8"));
  EXPECT_THAT(text, AllOf(HasSubstr("8.310"), HasSubstr("NOISY"), HasSubstr("load")));
  EXPECT_THAT(TrialText(trial, 0), HasSubstr(error));
}

}  // namespace
}  // namespace forall
