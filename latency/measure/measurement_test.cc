// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/measurement.h"

#include <set>
#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(ProfileTest, NamesTheThree) {
  EXPECT_EQ(ProfileNamed("screening")->target_half_width, 0.02);
  EXPECT_EQ(ProfileNamed("standard")->target_half_width, 0.01);
  EXPECT_EQ(ProfileNamed("final")->target_half_width, 0.005);
  EXPECT_GE(ProfileNamed("final")->sessions, 3);
  EXPECT_THAT(ProfileNamed("quick"), StatusIs(absl::StatusCode::kInvalidArgument,
                                              HasSubstr("screening, standard or final")));
}

TEST(VerdictTest, ReasonsDecide) {
  EXPECT_EQ(VerdictOf({}, 12), Verdict::kTrusted);
  EXPECT_EQ(VerdictOf({Reason::kLoad}, 12), Verdict::kNoisy);
  EXPECT_EQ(VerdictOf({Reason::kLoad, Reason::kThrottled}, 12), Verdict::kRejected);
  EXPECT_EQ(VerdictOf({Reason::kTooFewRuns}, 6), Verdict::kNoisy);
  EXPECT_EQ(VerdictOf({Reason::kTooFewRuns}, 5), Verdict::kRejected);
  EXPECT_EQ(VerdictName(Verdict::kNoisy), "NOISY");
}

TEST(ReasonTest, NamesAreDistinct) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(Reason::kEmulated); ++i) {
    names.insert(std::string(ReasonName(static_cast<Reason>(i))));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(Reason::kEmulated) + 1);
}

TEST(LatencyResultTest, BaselineTurnsTheRatioIntoTime) {
  LatencyResult result;
  result.ratio = 2;
  result.ratio_low = 1.9;
  result.ratio_high = 2.2;
  const Estimate estimate = result.AtBaseline(1000);
  EXPECT_EQ(estimate.value, 2000);
  EXPECT_EQ(estimate.low, 1900);
  EXPECT_EQ(estimate.high, 2200);
  EXPECT_NEAR(estimate.RelativeHalfWidth(), 0.1, 1e-9);
}

TEST(ProfileTest, ForCallsHasFewerAndLongerRuns) {
  const Profile screening = ForCalls(*ProfileNamed("screening"), 20);
  EXPECT_EQ(screening.name, "screening");
  EXPECT_EQ(screening.min_runs, 7);
  EXPECT_EQ(screening.sessions, 1);
  const Profile final_one = ForCalls(*ProfileNamed("final"), 20);
  EXPECT_EQ(final_one.min_runs, 11);
  EXPECT_EQ(final_one.max_runs, 44);
  EXPECT_EQ(final_one.sessions, 1);
  EXPECT_FALSE(final_one.fresh);
  EXPECT_EQ(final_one.target_half_width, 0.005);
  // A percentile, or a job's own rules, may need more of them.
  EXPECT_EQ(ForCalls(ForPercentile(*ProfileNamed("screening"), 99), 20).min_runs, 34);
  EXPECT_EQ(ForCalls(ForPercentile(*ProfileNamed("final"), 99), 1).min_runs, 665);
}

}  // namespace
}  // namespace forall
