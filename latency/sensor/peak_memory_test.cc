// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/peak_memory.h"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/sensor/testing/recorded_tree.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::RecordedTree;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::Field;
using ::testing::Ge;

constexpr char kStatus[] =
    "Name:\tforall worker\nState:\tR (running)\nVmPeak:\t   99000 kB\nVmHWM:\t   12345 kB\n"
    "VmRSS:\t   10000 kB\n";

auto Is(int64_t bytes, PeakMemory::Since since) {
  return IsOkAndHolds(AllOf(Field(&PeakMemory::bytes, bytes), Field(&PeakMemory::since, since)));
}

PeakMemoryProbe ProbeOf(const RecordedTree& tree, int64_t usage = 0) {
  PeakMemoryProbe::Options options;
  options.root = tree.root();
  if (usage > 0) options.own_usage = [usage] { return usage; };
  return PeakMemoryProbe(options);
}

TEST(PeakMemoryTest, ReadsTheHighWaterMark) {
  EXPECT_THAT(ParsePeakResident(kStatus), IsOkAndHolds(int64_t{12345} * 1024));
  EXPECT_THAT(ParsePeakResident("Name:\tVmHWM:\nVmHWM: 1 kB"), IsOkAndHolds(1024));
}

TEST(PeakMemoryTest, RefusesWhatIsNoSize) {
  for (const char* line : {"VmHWM:", "VmHWM:\tx kB", "VmHWM:\t12", "VmHWM:\t12 MB", "VmHWM:\t-5 kB",
                           "VmHWM:\t0 kB", "VmHWM:\t9223372036854775807 kB", "VmHWM:\t1 2 kB"}) {
    EXPECT_THAT(ParsePeakResident(line), StatusIs(absl::StatusCode::kUnavailable)) << line;
  }
  EXPECT_THAT(ParsePeakResident("Name:\tzombie\nState:\tZ (zombie)\n"),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ParsePeakResident(""), StatusIs(absl::StatusCode::kNotFound));
}

TEST(PeakMemoryTest, SaysSinceWhenItCounts) {
  RecordedTree tree;
  tree.Write("proc/77/status", kStatus);
  PeakMemoryProbe probe = ProbeOf(tree);
  EXPECT_THAT(probe.Read(77), Is(12345 * 1024, PeakMemory::Since::kProgramStart));
  // A kernel without the file: the peak still counts, from the start.
  EXPECT_THAT(probe.Reset(77), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(probe.Read(77), Is(12345 * 1024, PeakMemory::Since::kProgramStart));
  tree.Write("proc/77/clear_refs", "");
  EXPECT_THAT(probe.Reset(77), IsOk());
  EXPECT_THAT(probe.Read(77), Is(12345 * 1024, PeakMemory::Since::kReset));
  std::string written;
  std::ifstream(tree / "proc/77/clear_refs") >> written;
  EXPECT_EQ(written, "5");
}

TEST(PeakMemoryTest, FallsBackToGetrusageForThisProcessAlone) {
  RecordedTree tree;
  const PeakMemoryProbe probe = ProbeOf(tree, 4096);
  EXPECT_THAT(probe.Read(), Is(4096, PeakMemory::Since::kProcessStart));
  EXPECT_THAT(probe.Read(77), StatusIs(absl::StatusCode::kNotFound));
  tree.Write("proc/self/status", "VmHWM:\t1 MB\n");
  EXPECT_THAT(probe.Read(), Is(4096, PeakMemory::Since::kProcessStart));
  EXPECT_THAT(ProbeOf(tree).Read(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(PeakMemoryTest, SeesWhatThisProcessTouches) {
  constexpr size_t kBytes = size_t{32} << 20;
  const PeakMemoryProbe probe;
  FORALL_ASSERT_OK_AND_ASSIGN(const PeakMemory before, probe.Read());
  EXPECT_GT(before.bytes, 0);
  const std::vector<char> touched(kBytes, 1);
  EXPECT_EQ(touched.back(), 1);
  // At least these pages are resident at this moment, less what the kernel has not accounted yet.
  EXPECT_THAT(probe.Read(), IsOkAndHolds(Field(&PeakMemory::bytes, Ge(int64_t{kBytes} * 9 / 10))));
}

TEST(PeakMemoryTest, AChildIsReadWhileItIsThere) {
  int hold[2];
  ASSERT_EQ(pipe(hold), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(hold[1]);
    char byte = 0;
    _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(hold[0]);
  const PeakMemoryProbe probe;
  EXPECT_THAT(probe.Read(child), IsOk());
  close(hold[1]);
  int wait_status = 0;
  ASSERT_EQ(waitpid(child, &wait_status, 0), child);
  EXPECT_EQ(wait_status, 0);
  EXPECT_THAT(probe.Read(child), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace forall
