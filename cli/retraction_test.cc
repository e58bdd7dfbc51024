// SPDX-License-Identifier: Apache-2.0
#include "cli/retraction.h"

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ParseMomentTest, TakesTimesDaysAndHowLongAgo) {
  const absl::Time now = absl::FromUnixSeconds(1'764'426'600);  // 2025-11-29T14:30:00Z
  EXPECT_THAT(ParseMoment("2025-11-29T14:30:00Z", now, "--since"), IsOkAndHolds(now));
  EXPECT_THAT(ParseMoment("2025-11-29T15:30:00+01:00", now, "--since"), IsOkAndHolds(now));
  EXPECT_THAT(ParseMoment("2025-11-29", now, "--since"),
              IsOkAndHolds(now - absl::Hours(14) - absl::Minutes(30)));
  EXPECT_THAT(ParseMoment("90m", now, "--since"), IsOkAndHolds(now - absl::Minutes(90)));
  EXPECT_THAT(ParseMoment("3d", now, "--since"), IsOkAndHolds(now - absl::Hours(72)));
  for (const char* text : {"", "yesterday", "-2h", "d", "2025-13-01", "inf", "1e99h"}) {
    EXPECT_THAT(
        ParseMoment(text, now, "--until"),
        StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("--until"), HasSubstr("3d"))))
        << text;
  }
}

TEST(RetractionTextTest, SaysWhatWouldBeDoneAndWhatWas) {
  v1::RetractMeasurementsResponse response;
  EXPECT_THAT(RetractionText(response, false), HasSubstr("No measurement is meant"));
  response.set_measurements(7);
  auto* job = response.add_jobs();
  job->set_search_job("searchJobs/3");
  job->set_measurements(5);
  job->set_remeasured_trials(2);
  EXPECT_THAT(RetractionText(response, false),
              AllOf(HasSubstr("searchJobs/3  5             2"),
                    HasSubstr("7 measurements would be retracted, on which 1 job rests.")));
  EXPECT_THAT(RetractionText(response, true), HasSubstr("7 measurements retracted"));
}

}  // namespace
}  // namespace forall
