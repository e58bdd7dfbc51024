// SPDX-License-Identifier: Apache-2.0
#include "search/service/controller_tools.h"

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::ControllerHarness;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ControllerToolsTest : public ::testing::Test {
 protected:
  int Run(const std::vector<std::string>& arguments) {
    EXPECT_TRUE(IsControllerTool(arguments));
    out_.str("");
    err_.str("");
    return RunControllerTool(arguments, out_, err_);
  }

  TempDir folder_;
  const std::string db_ = folder_ / "store.db";
  std::ostringstream out_;
  std::ostringstream err_;
};

// What a real search has stored is whole by every rule, while its controller runs and afterwards,
// and so is its backup.
TEST_F(ControllerToolsTest, AStoreOfRealJobsIsWholeAndSoIsItsBackup) {
  std::string artifacts;
  const std::string backup = folder_ / "backup.db";
  {
    ControllerHarness harness({.path = db_});
    artifacts = std::filesystem::path(harness.artifacts()->PathOf(std::string(64, 'a')).value())
                    .parent_path()
                    .parent_path();
    harness.Register("w");
    v1::SearchJobSpec spec = ControllerHarness::Spec(6);
    spec.mutable_fidelity()->set_test_split(true);
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob first, harness.Submit(spec));
    harness.RunToEnd(first.name());
    FORALL_ASSERT_OK(harness.Submit(ControllerHarness::Spec(9)).status());
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(harness.Step("w"));
    EXPECT_EQ(Run({"check", "--db", db_, "--artifacts", artifacts, "--deep"}), 0) << out_.str();
    EXPECT_THAT(out_.str(), HasSubstr("0 findings; 2 jobs"));
    EXPECT_EQ(Run({"backup", backup, "--db=" + db_, "--artifacts", artifacts}), 0) << err_.str();
    EXPECT_THAT(out_.str(), HasSubstr("2 jobs"));
    EXPECT_THAT(out_.str(), HasSubstr("hard links"));
    EXPECT_EQ(Run({"check", "--db", backup, "--deep"}), 0) << out_.str();
    EXPECT_EQ(Run({"backup", backup, "--db", db_, "--artifacts", artifacts}), 1);
    EXPECT_THAT(err_.str(), HasSubstr("exists already"));
  }
  std::filesystem::remove_all(backup + ".artifacts");
  EXPECT_EQ(Run({"check", "--db", backup}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("finding: artifact"));
  EXPECT_THAT(out_.str(), HasSubstr("what to do: copy"));
}

TEST_F(ControllerToolsTest, WrongUsageIsNamed) {
  EXPECT_FALSE(IsControllerTool({"--db", "x"}));
  EXPECT_FALSE(IsControllerTool({}));
  EXPECT_EQ(Run({"check"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--db: required"));
  EXPECT_EQ(Run({"check", "--db"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("a value is missing"));
  EXPECT_EQ(Run({"check", "--db", "x", "--deeper"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("unknown flag --deeper"));
  EXPECT_EQ(Run({"check", "extra", "--db", "x"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("unexpected argument extra"));
  EXPECT_EQ(Run({"backup", "--db", "x"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("the file to write is missing"));
  EXPECT_EQ(Run({"check", "--db", folder_ / "none.db"}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("there is no such file"));
  EXPECT_EQ(Run({"backup", "--help"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("--no-artifacts"));
  EXPECT_THAT(err_.str(), IsEmpty());
}

}  // namespace
}  // namespace forall
