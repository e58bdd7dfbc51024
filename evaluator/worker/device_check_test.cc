// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/device_check.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "evaluator/worker/worker_flags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::StatusIs;
using testing::TempDir;

class CheckPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const path = getenv("PATH");
    path_ = path == nullptr ? "" : path;
    setenv("PATH", (dir_ / "").c_str(), 1);
  }
  void TearDown() override { setenv("PATH", path_.c_str(), 1); }

  std::string File(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(dir_ / name, text).ok());
    return dir_ / name;
  }
  // A file that is there and would fail if anybody ran it.
  void Program(const std::string& name) {
    EXPECT_EQ(chmod(File(name, "#!/bin/false\n").c_str(), 0755), 0);
  }
  absl::StatusOr<std::string> Check(const std::string& json) {
    WorkerFlags flags;
    flags.timing = {File("device.json", json)};
    const absl::StatusOr<std::vector<DevicePlan>> plans = PlanDevices(flags);
    if (!plans.ok()) return plans.status();
    // Without sensors, whatever this machine has.
    return CheckPlan(plans->at(0), dir_ / "");
  }

  const TempDir dir_;
  std::string path_;
};

TEST_F(CheckPlanTest, SaysWhatThisMachineWouldBe) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<DevicePlan> plans, PlanDevices(WorkerFlags()));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string plain, CheckPlan(plans[0], dir_ / ""));
  EXPECT_THAT(plain, AllOf(HasSubstr("export, accuracy, latency"), HasSubstr("onnxruntime"),
                           HasSubstr("latency_p99_ms"), HasSubstr("no energy_mj: ")));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::string text,
      Check(R"({"runtime": "onnxruntime", "device": "pc", "gate": {"max_celsius": 60},
                "cold_cache": true})"));
  EXPECT_THAT(text, AllOf(HasSubstr("worker pc-cpu, by "), HasSubstr("devices/pc ("),
                          HasSubstr("cold caches"), HasSubstr("at most 60 °C")));
  EXPECT_THAT(text, Not(HasSubstr("accuracy")));
}

TEST_F(CheckPlanTest, AProviderMustBeOffered) {
  EXPECT_THAT(
      Check(R"({"runtime": "onnxruntime", "provider": "CoreML"})"),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("device.json: provider: CoreML"), HasSubstr("--providers"))));
  EXPECT_THAT(
      Check(R"({"runtime": "onnxruntime", "provider": "TensorRT", "engine_cache": "/nowhere"})"),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("device.json: engine_cache")));
}

TEST_F(CheckPlanTest, AnotherDeviceIsNotAskedAndItsClientFilesMustBeThere) {
  const auto device = [this](const std::string& more) {
    return Check(absl::StrCat(
        R"({"device": "orin-1", "device_class": "orin", "precision": "fp16",
            "recipe": "trtexec", "transport": {"kind": "ssh", "host": "orin.invalid",
            "user": "lab", "directory": "/tmp")",
        more, "}}"));
  };
  EXPECT_THAT(device(""), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   AllOf(HasSubstr("device.json: transport.kind"),
                                         HasSubstr("\"ssh\" is not on this machine"))));
  Program("ssh");
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, device(""));
  EXPECT_THAT(text, AllOf(HasSubstr("worker orin-1, by "), HasSubstr("devices/orin-1 (orin)"),
                          HasSubstr("recipe trtexec"), HasSubstr("fp16"),
                          HasSubstr("reached by ssh lab@orin.invalid"), HasSubstr("and has ")));
  const std::string key = dir_ / "key";
  const auto with_key = [&] { return device(absl::StrCat(R"(, "identity": ")", key, "\"")); };
  EXPECT_THAT(with_key(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   AllOf(HasSubstr("transport.identity"), HasSubstr(key))));
  File("key", "");
  FORALL_EXPECT_OK(with_key());
  EXPECT_THAT(device(R"(, "known_hosts": "/nowhere/known_hosts")"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("transport.known_hosts")));
}

TEST_F(CheckPlanTest, ALocalProgramMustBeThere) {
  const auto device = [this](const std::string& program) {
    return Check(absl::StrCat(
        R"({"device": "board", "device_class": "b", "transport": {"kind": "local", "directory": ")",
        dir_ / "", R"("}, "recipe": {"recipe": "onnxruntime_perf_test", "program": ")", program,
        R"("}})"));
  };
  EXPECT_THAT(device("perf"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                       AllOf(HasSubstr("device.json: recipe: "),
                                             HasSubstr("\"perf\" is not on this machine"))));
  Program("perf");
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, device("perf"));
  EXPECT_THAT(text, Not(HasSubstr("not seen")));
  FORALL_EXPECT_OK(device(dir_ / "perf"));
}

TEST_F(CheckPlanTest, WrongFilesAreNamedWithTheirKey) {
  EXPECT_THAT(Check(R"({"runtime": "onnxruntime", "threds": 2})"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("device.json"), HasSubstr("threds"))));
  EXPECT_THAT(Check("{"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("device.json")));
}

}  // namespace
}  // namespace forall
