// SPDX-License-Identifier: Apache-2.0
#include "search/controller/resource_names.h"

#include <cstdint>
#include <limits>
#include <string>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;

auto Refused() { return StatusIs(absl::StatusCode::kInvalidArgument); }

TEST(ResourceNamesTest, NamesComeBack) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_THAT(ParseJobName(JobName(most)), IsOkAndHolds(most));
  EXPECT_THAT(ParseTaskName("tasks/88"), IsOkAndHolds(88));
  FORALL_ASSERT_OK_AND_ASSIGN(const TrialId trial, ParseTrialName(TrialName(3, most)));
  EXPECT_EQ(trial.job, 3);
  EXPECT_EQ(trial.ordinal, most);
  EXPECT_THAT(ParseWorkerName(WorkerName("pi5-lab.1_a")), IsOkAndHolds("pi5-lab.1_a"));
}

// Logs, grants and caches know a resource by its name: it has but one.
TEST(ResourceNamesTest, EachResourceHasOneName) {
  for (const char* number : {"", "0", "-1", "+1", " 1", "1 ", "1\n", "007", "1.0", "0x1", "1e3",
                             "9223372036854775808", "\xd9\xa1"}) {
    EXPECT_THAT(ParseJobName(std::string("searchJobs/") + number).status(), Refused()) << number;
    EXPECT_THAT(ParseTaskName(std::string("tasks/") + number).status(), Refused()) << number;
    EXPECT_THAT(ParseTrialName(std::string("searchJobs/1/trials/") + number).status(), Refused())
        << number;
  }
  EXPECT_THAT(ParseJobName("searchJobs/1/").status(), Refused());
  EXPECT_THAT(ParseTrialName("searchJobs/01/trials/1").status(), Refused());
  EXPECT_THAT(ParseWorkerName("workers/w ").status(), Refused());
}

TEST(ResourceNamesTest, PageSizesAreCapped) {
  EXPECT_THAT(CheckPageSize(0, 50), IsOkAndHolds(50));
  EXPECT_THAT(CheckPageSize(std::numeric_limits<int32_t>::max(), 50), IsOkAndHolds(1000));
  EXPECT_THAT(CheckPageSize(-1, 50).status(), Refused());
}

}  // namespace
}  // namespace forall
