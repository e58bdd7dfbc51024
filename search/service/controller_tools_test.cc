// SPDX-License-Identifier: Apache-2.0
#include "search/service/controller_tools.h"

#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "search/report/html_report.h"
#include "search/service/report_snapshot.h"

namespace forall {
namespace {

using ::forall::testing::ControllerHarness;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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

// Frontier, ledger and report of a store are the same before and after its old raw samples went.
TEST_F(ControllerToolsTest, ACompactedStoreShowsWhatItShowed) {
  std::string job;
  const auto shown = [&job](ControllerHarness* harness) {
    const auto snapshot =
        testing::Await<Controller::JobSnapshot>([&](Done<Controller::JobSnapshot> done) {
          harness->controller()->GetSnapshot(job, std::move(done));
        });
    EXPECT_TRUE(snapshot.ok()) << snapshot.status();
    std::vector<std::string> pages = {
        RenderReport(ReportInputOf(*snapshot, absl::UnixEpoch(), "build"))};
    int64_t dropped = 0;
    const auto clear = [&dropped](auto* measurements) {
      for (v1::Measurement& measurement : *measurements) {
        dropped += measurement.has_samples_dropped_time() ? 1 : 0;
        measurement.clear_samples_dropped_time();
      }
    };
    v1::QueryParetoFrontierResponse frontier = snapshot->frontier;
    for (v1::FrontierMember& member : *frontier.mutable_members()) {
      clear(member.mutable_measurements());
      clear(member.mutable_trial()->mutable_measurements());
    }
    pages.push_back(frontier.DebugString());
    pages.push_back(snapshot->ledger.DebugString());
    return std::pair(pages, dropped);
  };
  std::vector<std::string> before;
  {
    ControllerHarness harness({.path = db_});
    harness.Register("w");
    v1::SearchJobSpec spec = ControllerHarness::Spec(20);
    spec.mutable_sampler()->set_algorithm("guided");
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::SearchJob submitted, harness.Submit(spec));
    job = submitted.name();
    harness.RunToEnd(job);
    // As a controller that has just started shows it: it knows no worker.
    harness.Restart();
    before = shown(&harness).first;
  }
  EXPECT_EQ(Run({"compact", "--db", db_, "--keep-raw-samples", "30d", "--dry-run"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("would be dropped"));
  EXPECT_EQ(Run({"compact", "--db", db_, "--keep-raw-samples", "30d"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("longest transaction"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("samples of 0 latencies")));
  ControllerHarness harness({.path = db_});
  const auto [after, dropped] = shown(&harness);
  EXPECT_GT(dropped, 0);
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(after[i], before[i]) << i;
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
  EXPECT_EQ(Run({"compact", "--db", "x", "--keep-raw-samples", "90"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("e.g. 90d"));
  EXPECT_EQ(Run({"compact", "--db", folder_ / "none.db"}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("there is no such file"));
  EXPECT_EQ(Run({"check", "--db", folder_ / "none.db"}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("there is no such file"));
  EXPECT_EQ(Run({"backup", "--help"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("--no-artifacts"));
  EXPECT_THAT(err_.str(), IsEmpty());
}

}  // namespace
}  // namespace forall
