// SPDX-License-Identifier: Apache-2.0
// The real adb client against a stand-in for server and device.
#include "latency/transport/adb_transport.h"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/testing/adb_stand_in.h"
#include "latency/testing/hostile_arguments.h"

namespace forall {
namespace {

using ::forall::testing::AdbStandIn;
using ::forall::testing::HostileArguments;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class AdbTransportTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const absl::StatusOr<ProgramOutput> client = RunProgram({.argv = {"adb", "version"}});
    if (!client.ok() || !client->end.ok()) GTEST_SKIP() << "adb is not installed (package adb)";
    const std::string path = absl::StrCat(dir_ / "bin", ":", getenv("PATH"));
    server_ = std::make_unique<AdbStandIn>(
        AdbStandIn::Options{.serial = "R58M30ABCDE", .shell_v2 = GetParam(), .path = path});
    ASSERT_NE(server_->port(), 0);
    FORALL_ASSERT_OK_AND_ASSIGN(transport_, AdbTransport::Create(Options()));
  }

  AdbTransport::Options Options() {
    AdbTransport::Options options;
    options.shell = {.directory = dir_ / "data/local/tmp", .clock = &clock_};
    options.serial = "R58M30ABCDE";
    options.server_port = server_->port();
    return options;
  }

  void Install(const std::string& name, const std::string& script) {
    FORALL_ASSERT_OK(CreateDirectories(dir_ / "bin"));
    FORALL_ASSERT_OK(WriteFileAtomically(dir_ / ("bin/" + name), "#!/bin/sh\n" + script));
    ASSERT_EQ(chmod((dir_ / ("bin/" + name)).c_str(), 0755), 0);
  }

  const TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<AdbStandIn> server_;
  std::unique_ptr<Transport> transport_;
};

TEST_P(AdbTransportTest, RunsProgramsAndTellsTheirEnd) {
  for (const int code : {0, 1, 3, 255}) {
    FORALL_ASSERT_OK_AND_ASSIGN(
        const ProgramOutput output,
        transport_->Run(
            {.argv = {"sh", "-c", absl::StrCat("cat; echo out; echo err >&2; exit ", code)}}));
    EXPECT_EQ(output.end.exit_code, code);
    if (GetParam()) {
      EXPECT_EQ(output.standard_output, "out\n");
      EXPECT_EQ(output.standard_error, "err\n");
    } else {
      EXPECT_EQ(output.standard_output, "out\nerr\n") << "one stream, without its carriage returns";
    }
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput crashed,
                              transport_->Run({.argv = {"sh", "-c", "kill -SEGV $$"}}));
  EXPECT_EQ(crashed.end.signal, SIGSEGV);
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput missing,
                              transport_->Run({.argv = {"no-such-program-anywhere"}}));
  EXPECT_EQ(missing.end.exit_code, 127);
  EXPECT_EQ(transport_->Describe().target, "R58M30ABCDE");
}

TEST_P(AdbTransportTest, ArgumentsArriveAsTheyAre) {
  const std::string file = dir_ / "arguments";
  // Into a file: the old protocol's terminal would change the output.
  TransportRun run = {.argv = {"sh", "-c", "printf '<%s>' \"$@\" > \"$0\"", file},
                      .environment = {"V=$(id)'"}};
  std::string expected;
  for (const std::string& argument : HostileArguments()) {
    run.argv.push_back(argument);
    expected += "<" + argument + ">";
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, transport_->Run(run));
  EXPECT_TRUE(output.end.ok()) << output.standard_error;
  EXPECT_THAT(ReadFile(file), IsOkAndHolds(expected));
}

TEST_P(AdbTransportTest, PushesOnceByHash) {
  std::string bytes(300000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 3);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, transport_->Push(bytes, "tflite"));
  EXPECT_EQ(path, dir_ / ("data/local/tmp/forall/" + Sha256Hex(bytes) + ".tflite"));
  EXPECT_THAT(transport_->Push(bytes, "tflite"), IsOkAndHolds(path));
  EXPECT_EQ(server_->pushes(), 1);
  EXPECT_TRUE(*transport_->Fetch(path, 1 << 20) == bytes);
  EXPECT_THAT(transport_->Fetch(path, 1000), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(transport_->Fetch(path + ".no", 1000), StatusIs(absl::StatusCode::kNotFound));
  FORALL_ASSERT_OK(WriteFileAtomically(path, "broken"));
  EXPECT_THAT(transport_->Push(bytes, "tflite"), IsOkAndHolds(path));
  EXPECT_EQ(server_->pushes(), 2);
  FORALL_ASSERT_OK(WriteFileAtomically(dir_ / "text", "42\n"));
  EXPECT_THAT(transport_->ReadText(dir_ / "text"), IsOkAndHolds("42"));
}

TEST_P(AdbTransportTest, ALostConnectionIsTriedAgain) {
  server_->DropNext(2);
  const absl::Time start = clock_.Now();
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output,
                              transport_->Run({.argv = {"echo", "fine"}}));
  EXPECT_EQ(output.standard_output, "fine\n");
  EXPECT_GE(clock_.Now() - start, absl::Seconds(1));
  server_->DropNext(1000);
  EXPECT_THAT(transport_->Run({.argv = {"echo", "fine"}}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("R58M30ABCDE")));
  EXPECT_THAT(transport_->Push("x", "onnx"), StatusIs(absl::StatusCode::kUnavailable));
  server_->DropNext(0);
  FORALL_EXPECT_OK(transport_->Push("x", "onnx").status());
}

TEST_P(AdbTransportTest, ADeviceThatIsNotThereIsUnavailable) {
  server_->SayInstead("device offline");
  EXPECT_THAT(transport_->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("offline")));
  server_->SayInstead("device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set");
  EXPECT_THAT(transport_->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("screen")));
  server_->SayInstead("");
  AdbTransport::Options other = Options();
  other.serial = "OTHER";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto absent, AdbTransport::Create(other));
  EXPECT_THAT(absent->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("OTHER")));
}

TEST_P(AdbTransportTest, AnOverrunIsKilledOnTheDevice) {
  const std::string pid_file = dir_ / "pid";
  const auto cancelled = [&] { return access(pid_file.c_str(), F_OK) == 0; };
  EXPECT_THAT(transport_->Run(
                  {.argv = {"sh", "-c", "echo $$ > \"$1.new\"; mv \"$1.new\" \"$1\"; sleep 1000",
                            "sh", pid_file},
                   .cancelled = cancelled}),
              StatusIs(absl::StatusCode::kCancelled));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(pid_file));
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(text, &pid));
  bool gone = false;
  for (int i = 0; i < 3000 && !gone; ++i) {
    const absl::StatusOr<std::string> status = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));
    gone = !status.ok() || status->empty();
    if (!gone) Clock::Real()->SleepFor(absl::Milliseconds(10));
  }
  EXPECT_TRUE(gone);
}

TEST_P(AdbTransportTest, ReadsTemperaturesAndBattery) {
  Install(
      "dumpsys",
      "case $1 in battery) printf '  USB powered: true\\n  level: 87\\n  temperature: 251\\n';;\n"
      "thermalservice) printf 'Thermal Status: 1\\nCurrent temperatures from HAL:\\n"
      "\\tTemperature{mValue=41.5, mType=0, mName=CPU4, mStatus=0}\\n';; esac\n");
  FORALL_ASSERT_OK_AND_ASSIGN(const SensorReadings readings, transport_->ReadSensors());
  EXPECT_THAT(readings,
              UnorderedElementsAre(Pair("thermal_status", 1), Pair("thermal_cpu4_celsius", 41.5),
                                   Pair("battery_level_percent", 87), Pair("battery_charging", 1),
                                   Pair("battery_temperature_celsius", 25.1)));
}

TEST_P(AdbTransportTest, ProgramsRunOnTheChosenCores) {
  Install("taskset", "echo taskset $1; shift; exec \"$@\"\n");
  AdbTransport::Options options = Options();
  options.shell.cpu_mask = "f0";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto pinned, AdbTransport::Create(options));
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, pinned->Run({.argv = {"echo", "run"}}));
  EXPECT_EQ(output.standard_output, "taskset f0\nrun\n");
}

INSTANTIATE_TEST_SUITE_P(Devices, AdbTransportTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "WithShellV2" : "Old"; });

TEST(AdbTransportOptionsTest, WhatCannotBeMeantIsRefused) {
  EXPECT_THAT(AdbTransport::Create({}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("adb devices")));
  EXPECT_THAT(AdbTransport::Create({.serial = "-x"}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(AdbTransport::Create({.serial = "a", .server_port = -1}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto absent,
                              AdbTransport::Create({.serial = "a", .program = "/no/such/adb"}));
  EXPECT_THAT(absent->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("platform tools")));
}

}  // namespace
}  // namespace forall
