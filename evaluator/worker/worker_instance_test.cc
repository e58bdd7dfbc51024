// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/worker_instance.h"

#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class WorkerInstanceTest : public ::testing::Test {
 protected:
  // The number that a worker would have, which ends at once.
  std::string TextOf(const std::string& id) {
    const absl::StatusOr<std::unique_ptr<WorkerInstance>> instance =
        WorkerInstance::Acquire(cache_, id);
    EXPECT_THAT(instance, testing::IsOk());
    return instance.ok() ? (*instance)->text() : "";
  }

  testing::TempDir folder_;
  const std::string cache_ = folder_ / "new/cache";
};

TEST_F(WorkerInstanceTest, StaysTheSameFromStartToStart) {
  const std::string text = TextOf("w");
  EXPECT_THAT(text, MatchesRegex("[0-9a-f]{32}"));
  EXPECT_EQ(TextOf("w"), text);
  EXPECT_NE(TextOf("v"), text) << "another worker of the same folder";
  struct stat info;
  ASSERT_EQ(stat((cache_ + "/w.instance").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0u);
}

TEST_F(WorkerInstanceTest, IsOneProcessAtATime) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto first, WorkerInstance::Acquire(cache_, "w"));
  EXPECT_THAT(WorkerInstance::Acquire(cache_, "w"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("worker w runs here already"),
                             HasSubstr(absl::StrCat("as process ", getpid())), HasSubstr("--id"))));
  FORALL_EXPECT_OK(WorkerInstance::Acquire(cache_, "v").status());
  FORALL_EXPECT_OK(WorkerInstance::Acquire(folder_ / "other", "w").status());
}

TEST_F(WorkerInstanceTest, AFileThatIsDamagedGetsANewNumber) {
  for (const char* damaged : {"", "no number\n", "0123456789abcdef", "\n\n\n"}) {
    const std::string before = TextOf("w");
    FORALL_ASSERT_OK(WriteFileAtomically(cache_ + "/w.instance", damaged));
    const std::string after = TextOf("w");
    EXPECT_THAT(after, MatchesRegex("[0-9a-f]{32}"));
    EXPECT_NE(after, before);
    EXPECT_EQ(TextOf("w"), after);
  }
}

TEST_F(WorkerInstanceTest, AFolderThatCannotBeWrittenIsNamed) {
  FORALL_ASSERT_OK(CreateDirectories(cache_ + "/w.instance"));
  EXPECT_THAT(WorkerInstance::Acquire(cache_, "w"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("w.instance"), HasSubstr("--cache"))));
}

}  // namespace
}  // namespace forall
