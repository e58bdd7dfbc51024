// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/local_transport.h"

#include <sys/stat.h>
#include <sys/time.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(LocalTransportTest, RunsAndTellsTheEnd) {
  const TempDir dir;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto transport,
                              LocalTransport::Create({.directory = dir.path()}));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const ProgramOutput output,
      transport->Run({.argv = {"sh", "-c", "cat; echo $A; echo words >&2; exit 3"},
                      .environment = {"A=b c"}}));
  EXPECT_EQ(output.standard_output, "b c\n");
  EXPECT_EQ(output.standard_error, "words\n");
  EXPECT_EQ(output.end.exit_code, 3);
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput missing,
                              transport->Run({.argv = {"/no/such/program"}}));
  EXPECT_EQ(missing.end.exit_code, 127);
  EXPECT_THAT(transport->Run({.argv = {"sleep", "100"}, .timeout = absl::Milliseconds(100)}),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST(LocalTransportTest, PushesOnceByHashAndMendsWhatIsBroken) {
  const TempDir dir;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto transport,
                              LocalTransport::Create({.directory = dir.path()}));
  const std::string bytes("a\0b\n", 4);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, transport->Push(bytes, "onnx"));
  EXPECT_EQ(path, dir / ("forall/" + Sha256Hex(bytes) + ".onnx"));
  struct stat first = {};
  ASSERT_EQ(stat(path.c_str(), &first), 0);
  EXPECT_THAT(transport->Push(bytes, "onnx"), IsOkAndHolds(path));
  struct stat second = {};
  ASSERT_EQ(stat(path.c_str(), &second), 0);
  EXPECT_EQ(first.st_ino, second.st_ino) << "written anew";
  FORALL_ASSERT_OK(WriteFileAtomically(path, "half"));
  EXPECT_THAT(transport->Push(bytes, "onnx"), IsOkAndHolds(path));
  EXPECT_THAT(transport->Fetch(path, 100), IsOkAndHolds(bytes));
  EXPECT_THAT(transport->Fetch(path, 3), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(transport->Fetch(path + "x", 100), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(transport->Push(bytes, "../x"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(LocalTransportTest, ForgetsWhatWasNotUsedForLongest) {
  const TempDir dir;
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto transport, LocalTransport::Create({.directory = dir.path(), .cache_bytes = 2500}));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string a, transport->Push(std::string(1000, 'a'), "x"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string b, transport->Push(std::string(1000, 'b'), "x"));
  namespace fs = std::filesystem;
  const struct timeval long_ago[2] = {};
  ASSERT_EQ(utimes(a.c_str(), long_ago), 0);
  ASSERT_EQ(utimes(b.c_str(), long_ago), 0);
  FORALL_ASSERT_OK(transport->Push(std::string(1000, 'a'), "x").status());  // Used again.
  FORALL_ASSERT_OK(transport->Push(std::string(1000, 'c'), "x").status());
  EXPECT_TRUE(fs::exists(a));
  EXPECT_FALSE(fs::exists(b));
}

TEST(LocalTransportTest, ReadsSysfs) {
  const TempDir dir;
  const std::string zone = dir / "sys/class/thermal/thermal_zone0";
  FORALL_ASSERT_OK(CreateDirectories(zone));
  FORALL_ASSERT_OK(WriteFileAtomically(zone + "/type", "cpu-thermal\n"));
  FORALL_ASSERT_OK(WriteFileAtomically(zone + "/temp", "48312\n"));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto transport, LocalTransport::Create({.directory = dir.path(),
                                                                            .sysfs = dir / "sys"}));
  EXPECT_THAT(transport->ReadText(zone + "/type"), IsOkAndHolds("cpu-thermal"));
  FORALL_ASSERT_OK_AND_ASSIGN(const SensorReadings readings, transport->ReadSensors());
  EXPECT_THAT(readings, ElementsAre(Pair("thermal_cpu_thermal_celsius", 48.312)));
}

TEST(LocalTransportTest, NeedsADirectory) {
  EXPECT_THAT(LocalTransport::Create({}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("directory")));
}

}  // namespace
}  // namespace forall
