// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/controls.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::TempDir;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(DeniedControlsTest, AMachineWithoutFrequencyControlSaysSo) {
  const TempDir dir;
  EXPECT_THAT(DeniedControls(dir.path()), Contains(HasSubstr("shows no frequency control")));
}

TEST(DeniedControlsTest, AWritableGovernorIsNotDenied) {
  const TempDir dir;
  const std::string folder = dir / "sys/devices/system/cpu/cpu0/cpufreq";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/scaling_governor") << "powersave\n";
  EXPECT_THAT(DeniedControls(dir.path()), Not(Contains(StartsWith("governor"))));
  if (geteuid() == 0) return;  // Root may write whatever the mode says.
  std::filesystem::permissions(folder + "/scaling_governor", std::filesystem::perms::owner_read);
  EXPECT_THAT(DeniedControls(dir.path()), Contains(HasSubstr("cpupower")));
}

TEST(DeniedControlsTest, NothingIsChangedByTrying) {
  const int before = getpriority(PRIO_PROCESS, 0);
  DeniedControls();
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
}

}  // namespace
}  // namespace forall
