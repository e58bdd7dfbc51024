// SPDX-License-Identifier: Apache-2.0
#include "latency/device/command_device.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/measure/harness.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;

class CommandDeviceTest : public ::testing::Test {
 protected:
  // A program that takes as many microseconds as the model's file has bytes.
  std::string File(const std::string& more = "") {
    const std::string tool = dir_ / "tool";
    EXPECT_TRUE(
        WriteFileAtomically(
            tool,
            "#!/bin/sh\nn=$(wc -c <$1)\nfor i in 1 2 3 4 5; do echo $n; done; echo >>$0.calls\n")
            .ok());
    EXPECT_EQ(chmod(tool.c_str(), 0755), 0);
    return absl::StrCat(
        R"({"transport": {"kind": "local", "directory": ")", dir_.path(),
        R"("}, "recipe": {"name": "tool", "argv": [")", tool, R"(", "{model}"],)",
        R"("samples": {"from": "standard_output", "format": "one_number_per_line", "unit": "us"}},)",
        R"("runs_per_call": 5)", more, "}");
  }

  const TempDir dir_;
};

TEST_F(CommandDeviceTest, IsMeasuredByTheHarness) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto device, CommandDevice::Open(File()));
  EXPECT_EQ(device->way(), "local");
  LocalSessions sessions({.backend = device->backend(),
                          .reference_model = std::string(100, 'r'),
                          .pin_cores = false,
                          .read_notes = [] {
                            return std::map<std::string, std::string>{{"thermal_celsius", "40"}};
                          }});
  LatencyHarness::Options options;
  options.sessions = &sessions;
  options.control_interval = 1;  // which such a device does without
  FORALL_ASSERT_OK_AND_ASSIGN(const auto harness, LatencyHarness::Create(options));
  FORALL_ASSERT_OK_AND_ASSIGN(const Baseline baseline, harness->Calibrate());
  EXPECT_DOUBLE_EQ(baseline.reference_ns, 100e3);
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result,
                              harness->Measure(std::string(250, 'm'), *ProfileNamed("final")));
  EXPECT_DOUBLE_EQ(result.ratio, 2.5);
  EXPECT_DOUBLE_EQ(result.median_ns, 250e3);
  EXPECT_EQ(result.verdict, Verdict::kTrusted);
  EXPECT_EQ(result.runs, 12);
  ASSERT_EQ(result.sessions.size(), 1u);
  EXPECT_EQ(result.sessions[0].candidate_parts_ns.size(), 60u) << "every sample of every call";
  EXPECT_EQ(result.environment.at("thermal_celsius"), "40");
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string calls, ReadFile(dir_ / "tool.calls"));
  EXPECT_EQ(calls.size(), 4u * 12) << "two networks, calibration and measurement, nothing else";
}

TEST_F(CommandDeviceTest, ProbesTheDeviceByItsShell) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto device, CommandDevice::Open(File()));
  FORALL_ASSERT_OK_AND_ASSIGN(const Environment environment, device->Probe());
  const Environment here = EnvironmentProbe().Probe();
  EXPECT_EQ(environment.architecture, here.architecture);
  EXPECT_EQ(environment.kernel, here.kernel);
  EXPECT_GT(environment.cores, 0);
  EXPECT_EQ(environment.memory_bytes, here.memory_bytes);
  EXPECT_EQ(environment.governor, here.governor);
  EXPECT_NE(environment.cpu_model, "");
}

TEST_F(CommandDeviceTest, WrongKeysAreNamed) {
  const auto refuses = [](const std::string& file, const std::string& words) {
    EXPECT_THAT(CommandDevice::Open(file),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << file;
  };
  refuses("[]", "a JSON object");
  refuses("{", "a JSON object");
  refuses("{}", "transport: required");
  refuses(R"({"transport": {"kind": "local", "directory": "/tmp"}})", "recipe: required");
  refuses(R"({"transport": {"kind": "usb"}, "recipe": "trtexec"})", "none of local, ssh, adb");
  refuses(R"({"transport": {"kind": "ssh", "hosst": "x"}, "recipe": "trtexec"})",
          "transport.hosst: unknown");
  refuses(R"({"transport": {"kind": "ssh", "port": 0}, "recipe": "trtexec"})", "transport.port");
  refuses(R"({"transport": 3, "recipe": "trtexec"})", "transport: must be an object");
  refuses(R"({"transport": {"kind": "local", "directory": "/tmp"}, "recipe": "nothing"})",
          "nothing");
  refuses(File(R"(, "threads": -1)"), "threads");
  refuses(File(R"(, "thread": 1)"), "thread: unknown");
  refuses(std::string(100, '[') + std::string(100, ']'), "");
}

TEST_F(CommandDeviceTest, AMissingProgramIsTold) {
  EXPECT_THAT(CommandDevice::Open(absl::StrCat(
                  R"({"recipe": {"recipe": "trtexec", "program": "/no/such/trtexec"},)",
                  R"( "transport": {"kind": "local", "directory": ")", dir_.path(), R"("}})")),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("/no/such/trtexec")));
}

}  // namespace
}  // namespace forall
