// SPDX-License-Identifier: Apache-2.0
// `forall submit --dry-run` against a real controller: nothing is begun, and a job that a
// submission refuses is refused with the same words.
#include <sys/wait.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "." : value;
}

class DryRunTest : public ::testing::Test {
 protected:
  DryRunTest() {
    const std::string bin = Environment("FORALL_BIN_DIR");
    auto process =
        ChildProcess::Start({bin + "/forall-controller", "--db", dir_ / "forall.db", "--listen",
                             "127.0.0.1:0", "--port-file", dir_ / "port", "--supernet",
                             Environment("FORALL_SOURCE_DIR") + "/supernets/fashion_mnist"},
                            dir_ / "controller.log");
    EXPECT_THAT(process, testing::IsOk());
    controller_ = *std::move(process);
    for (int i = 0; i < 1000 && controller_->IsRunning(); ++i) {
      const absl::StatusOr<std::string> port = ReadFile(dir_ / "port");
      if (port.ok() && !port->empty()) {
        forall_ = absl::StrCat(
            bin, "/forall --controller 127.0.0.1:", absl::StripAsciiWhitespace(*port), " ");
        return;
      }
      Clock::Real()->SleepFor(absl::Milliseconds(10));
    }
    ADD_FAILURE() << "the controller did not start: " << *ReadFile(dir_ / "controller.log");
  }

  // What the command wrote on both streams.
  std::string Run(const std::string& arguments, int* exit_code) {
    const std::string command =
        absl::StrCat(forall_, arguments, " > ", dir_ / "output", " 2> ", dir_ / "errors");
    *exit_code = WEXITSTATUS(std::system(command.c_str()));
    return absl::StrCat(*ReadFile(dir_ / "output"), *ReadFile(dir_ / "errors"));
  }

  testing::TempDir dir_;
  std::unique_ptr<ChildProcess> controller_;
  std::string forall_;
};

constexpr char kJob[] =
    "submit --supernet fashion_mnist --objective accuracy_top1 --objective latency_ms "
    "--constraint 'macs<=20M' --trials 50 ";

TEST_F(DryRunTest, SaysWhatAJobWouldCostAndStartsNone) {
  int code = 0;
  const std::string table = Run(absl::StrCat(kJob, "--dry-run"), &code);
  EXPECT_EQ(code, 0);
  EXPECT_THAT(table, StartsWith("METRIC"));
  EXPECT_THAT(table, HasSubstr("macs from "));
  EXPECT_THAT(table, HasSubstr("warning: no worker that measures latency_ms"));
  for (const auto& line : absl::StrSplit(table, '\n')) EXPECT_LE(line.size(), 100u) << line;
  const nlohmann::json json =
      nlohmann::json::parse(Run(absl::StrCat(kJob, "--dry-run --json"), &code));
  EXPECT_EQ(code, 0);
  EXPECT_EQ(json["work"][0]["measurements"], 50);
  EXPECT_LE(json["ranges"][0]["most"].get<double>(), 20e6);
  EXPECT_THAT(Run("jobs", &code), HasSubstr("No jobs yet"));
}

TEST_F(DryRunTest, NamesWhatATaskMeasuresAndHowManyRunsThatTakes) {
  const std::string job = absl::StrCat(
      kJob, "--objective latency_p99_ms --objective throughput_ips:batch=8 --dry-run ");
  int code = 0;
  const std::string table = Run(job, &code);
  EXPECT_EQ(code, 0) << table;
  for (const auto& line : absl::StrSplit(table, '\n')) EXPECT_LE(line.size(), 100u) << line;
  const nlohmann::json json = nlohmann::json::parse(Run(job + "--json", &code));
  ASSERT_EQ(json["work"].size(), 5u) << json;
  EXPECT_EQ(json["work"][1]["metric"], "latency_ms, latency_p99_ms");
  EXPECT_EQ(json["work"][1]["fewest_runs"], 662);
  EXPECT_EQ(json["work"][3]["metrics"], nlohmann::json({"latency_ms", "throughput_ips"}));
  EXPECT_EQ(json["work"][3]["where"], "any device:batch=8");
  EXPECT_EQ(json["work"][3]["batch"], 8);
}

TEST_F(DryRunTest, RefusesWhatASubmissionRefuses) {
  const std::string impossible =
      "submit --supernet fashion_mnist --objective accuracy_top1 --trials 5 --constraint 'macs<=1'";
  int submitted = 0;
  const std::string words = Run(impossible, &submitted);
  int code = 0;
  EXPECT_EQ(Run(impossible + " --dry-run", &code), words);
  EXPECT_NE(code, 0);
  EXPECT_EQ(code, submitted);
  EXPECT_THAT(words, HasSubstr("nearest bound"));
  EXPECT_THAT(Run(absl::StrCat(kJob, "--json"), &code), HasSubstr("--dry-run"));
  EXPECT_EQ(code, 2);
}

}  // namespace
}  // namespace forall
