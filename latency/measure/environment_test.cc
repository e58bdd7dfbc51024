// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/environment.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/measure/emulation.h"

namespace forall {
namespace {

using ::forall::testing::TempDir;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

// A machine's /proc and /sys.
class RecordedTree {
 public:
  void Write(const std::string& path, const std::string& content) {
    const std::string full = dir_ / path;
    std::filesystem::create_directories(std::filesystem::path(full).parent_path());
    std::ofstream(full, std::ios::trunc) << content;
  }
  EnvironmentProbe Probe() const { return EnvironmentProbe(dir_.path()); }

 private:
  TempDir dir_;
};

void WriteWorkstation(RecordedTree* tree) {
  tree->Write("proc/cpuinfo",
              "processor\t: 0\nmodel name\t: Some Processor 3000\nflags\t\t: fpu avx2\n\n"
              "processor\t: 1\nmodel name\t: Some Processor 3000\nflags\t\t: fpu avx2\n");
  tree->Write("proc/meminfo",
              "MemTotal:       16384000 kB\nMemFree:  1 kB\nMemAvailable:   8000000 kB\n");
  tree->Write("proc/loadavg", "0.25 0.10 0.05 1/100 4242\n");
  tree->Write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
  const std::string cpu = "sys/devices/system/cpu/";
  tree->Write(cpu + "online", "0-3,6\n");
  tree->Write(cpu + "cpu0/cpufreq/scaling_governor", "performance\n");
  tree->Write(cpu + "cpu0/cpufreq/scaling_max_freq", "3500000\n");
  tree->Write(cpu + "cpu1/cpufreq/scaling_max_freq", "3000000\n");
  tree->Write(cpu + "cpu0/cpufreq/scaling_cur_freq", "3400000\n");
  tree->Write(cpu + "cpu0/cpufreq/cpuinfo_max_freq", "4200000\n");
  tree->Write(cpu + "intel_pstate/no_turbo", "1\n");
  tree->Write("sys/class/thermal/thermal_zone0/temp", "41000\n");
  tree->Write("sys/class/thermal/thermal_zone2/temp", "56500\n");
  tree->Write("sys/fs/cgroup/cpu.max", "max 100000\n");
}

TEST(EnvironmentProbeTest, ReadsAQuietWorkstation) {
  RecordedTree tree;
  WriteWorkstation(&tree);
  const Environment environment = tree.Probe().Probe();
  EXPECT_EQ(environment.cpu_model, "Some Processor 3000");
  EXPECT_EQ(environment.kernel, "6.1.0-18-amd64");
  EXPECT_EQ(environment.cores, 5);
  EXPECT_FALSE(environment.virtual_machine);
  EXPECT_EQ(environment.governor, "performance");
  EXPECT_EQ(environment.frequency_khz, 3400000);
  EXPECT_EQ(environment.frequency_caps_khz[0], 3500000);
  EXPECT_EQ(environment.frequency_caps_khz[1], 3000000);
  EXPECT_EQ(environment.max_frequency_khz, 4200000);
  EXPECT_EQ(environment.turbo, false);
  EXPECT_EQ(environment.temperature_celsius, 56.5);
  EXPECT_EQ(environment.load_average, 0.25);
  EXPECT_EQ(environment.memory_bytes, int64_t{16384000} * 1024);
  EXPECT_FALSE(environment.cpu_quota.has_value());
  EXPECT_THAT(environment.warnings, IsEmpty());
  EXPECT_THAT(environment.Fields(),
              AllOf(Contains(Pair("governor", "performance")), Contains(Pair("turbo", "off")),
                    Not(Contains(Key("warnings")))));
}

TEST(EnvironmentProbeTest, WarnsAboutWhatMakesNumbersNoisy) {
  RecordedTree tree;
  WriteWorkstation(&tree);
  tree.Write("proc/cpuinfo", "processor : 0\nmodel name : X\nflags : fpu hypervisor\n");
  tree.Write("proc/loadavg", "4.00 0.10 0.05 1/100 4242\n");
  tree.Write("proc/meminfo", "MemTotal: 16384000 kB\nMemAvailable: 100000 kB\n");
  tree.Write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
  tree.Write("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n");
  tree.Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  const Environment environment = tree.Probe().Probe();
  EXPECT_EQ(environment.cpu_quota, 1.5);
  EXPECT_THAT(
      environment.warnings,
      ElementsAre(HasSubstr("powersave"), HasSubstr("turbo"), HasSubstr("virtual machine"),
                  HasSubstr("1.5 of 5 cores"), HasSubstr("load average"), HasSubstr("swapped")));
}

TEST(EnvironmentProbeTest, NamesAnArmBoard) {
  RecordedTree tree;
  tree.Write("proc/cpuinfo",
             "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\nprocessor\t: 1\n");
  tree.Write("proc/device-tree/model", std::string("Some Board 5\0", 13));
  tree.Write("sys/devices/system/cpu/cpufreq/boost", "1\n");
  const Environment environment = tree.Probe().Probe();
  EXPECT_EQ(environment.cpu_model, "Some Board 5, implementer 0x41 part 0xd0b");
  EXPECT_EQ(environment.cores, 2) << "counted, as the list of online cores is absent";
  EXPECT_EQ(environment.turbo, true);
}

TEST(EnvironmentProbeTest, AnEmulatorIsSeenAndSaid) {
  RecordedTree tree;
  WriteWorkstation(&tree);
  const Environment hardware = tree.Probe().Probe();
  const bool on_x86 = ProgramMachine() == "x86_64";
  tree.Write("proc/sys/kernel/arch", on_x86 ? "aarch64\n" : "x86_64\n");
  const Environment emulated = tree.Probe().Probe();
  EXPECT_THAT(emulated.warnings, ElementsAre(HasSubstr("emulated (the kernel is one for ")));
  EXPECT_THAT(emulated.Fields(), Contains(Pair("emulated", "yes")));
  EXPECT_NE(DeviceFingerprint(emulated), DeviceFingerprint(hardware));

  tree.Write("proc/sys/kernel/arch", on_x86 ? "x86_64\n" : "aarch64\n");
  EXPECT_THAT(tree.Probe().Probe().Fields(), Not(Contains(Key("emulated"))));
  const std::string machine = on_x86 ? std::string("\xb7\0", 2) : std::string("\x3e\0", 2);
  tree.Write("proc/thread-self/exe",
             "\x7f"
             "ELF" +
                 std::string(14, '\0') + machine);
  EXPECT_THAT(tree.Probe().Probe().warnings, ElementsAre(HasSubstr("the kernel runs a program")));
}

TEST(EnvironmentProbeTest, AnEmptyTreeIsUnknownNotAnError) {
  const RecordedTree tree;
  const Environment environment = tree.Probe().Probe();
  EXPECT_EQ(environment.cpu_model, "unknown");
  EXPECT_EQ(environment.cores, 1);
  EXPECT_THAT(environment.warnings,
              ElementsAre(HasSubstr("governor unknown"), HasSubstr("temperature unknown")));
  EXPECT_FALSE(tree.Probe().ReadCpuTimes().has_value());
}

TEST(EnvironmentProbeTest, SurvivesGarbage) {
  RecordedTree tree;
  tree.Write("proc/cpuinfo", "\n:::\nprocessor");
  tree.Write("proc/meminfo", "MemTotal: many kB\n");
  tree.Write("proc/loadavg", "\n");
  tree.Write("proc/stat", "cpu 1 2 x\n");
  tree.Write("proc/self/stat", "1 (no end\n");
  tree.Write("sys/devices/system/cpu/online", "3-1\n");
  tree.Write("sys/class/thermal/thermal_zone0/temp", "hot\n");
  tree.Write("sys/fs/cgroup/cpu.max", "1 0\n");
  const Environment environment = tree.Probe().Probe();
  EXPECT_FALSE(environment.memory_bytes.has_value());
  EXPECT_FALSE(environment.temperature_celsius.has_value());
  EXPECT_FALSE(environment.cpu_quota.has_value());
  EXPECT_FALSE(tree.Probe().ReadCpuTimes().has_value());
}

TEST(EnvironmentProbeTest, ReadsProcessorTimes) {
  RecordedTree tree;
  tree.Write("proc/stat", "cpu  100 20 30 1000 50 1 2 7 99 0\ncpu0 1 2 3\n");
  tree.Write("proc/self/stat", "42 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 60 15 0 0 20 0 1\n");
  const auto times = tree.Probe().ReadCpuTimes();
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->total, 1210);
  EXPECT_EQ(times->idle, 1050);
  EXPECT_EQ(times->steal, 7);
  EXPECT_EQ(times->own, 75);
}

TEST(EnvironmentProbeTest, ReadsThisMachine) {
  const EnvironmentProbe probe;
  EXPECT_GE(probe.Probe().cores, 1);
  EXPECT_FALSE(probe.Probe().architecture.empty());
}

TEST(LoadBetweenTest, TellsOthersFromUs) {
  const CpuTimes before{.total = 1000, .idle = 500, .steal = 0, .own = 100};
  // 400 ticks on four cores: 200 idle, 100 ours, 80 others', 20 stolen.
  const CpuTimes after{.total = 1400, .idle = 700, .steal = 20, .own = 200};
  const auto load = LoadBetween(before, after, 4);
  ASSERT_TRUE(load.has_value());
  EXPECT_NEAR(load->other_cores, 0.8, 1e-9);
  EXPECT_NEAR(load->steal_share, 0.05, 1e-9);
  EXPECT_FALSE(LoadBetween(before, before, 4).has_value());
}

TEST(LoadReportTest, HalfOfTheIdleCoresIsTooMuch) {
  EXPECT_FALSE((LoadReport{.other_cores = 0.4}).TooHigh(2, 1));
  EXPECT_TRUE((LoadReport{.other_cores = 0.6}).TooHigh(2, 1));
  EXPECT_FALSE((LoadReport{.other_cores = 20}).TooHigh(64, 1));
  EXPECT_TRUE((LoadReport{.other_cores = 0.3}).TooHigh(1, 1));
  EXPECT_TRUE((LoadReport{.steal_share = 0.1}).TooHigh(64, 1));
}

TEST(FingerprintTest, ChangesWithTheBoardButNotWithItsMood) {
  RecordedTree tree;
  WriteWorkstation(&tree);
  const Environment base = tree.Probe().Probe();
  Environment mood = base;
  mood.load_average = 9;
  mood.temperature_celsius = 90;
  mood.memory_bytes = *mood.memory_bytes - 1000000;
  EXPECT_EQ(DeviceFingerprint(base), DeviceFingerprint(mood));
  Environment board = base;
  board.cpu_model = "Another";
  EXPECT_NE(DeviceFingerprint(base), DeviceFingerprint(board));
  board = base;
  board.cores = 4;
  EXPECT_NE(DeviceFingerprint(base), DeviceFingerprint(board));
}

TEST(ProfileHashTest, ChangesWithEverySetting) {
  Environment environment;
  const BackendDescription backend{.runtime = "onnxruntime", .runtime_version = "1.2.3"};
  const std::string base = ProfileHash(environment, backend);
  EXPECT_EQ(base.size(), 64u);
  BackendDescription threads = backend;
  threads.threads = 2;
  BackendDescription version = backend;
  version.runtime_version = "1.2.4";
  EXPECT_NE(ProfileHash(environment, threads), base);
  EXPECT_NE(ProfileHash(environment, version), base);
  BackendDescription precision = backend;
  precision.precision = "int8";
  BackendDescription settings = backend;
  settings.settings["cold_cache"] = "yes";
  EXPECT_NE(ProfileHash(environment, precision), base);
  EXPECT_NE(ProfileHash(environment, settings), base);
  environment.governor = "powersave";
  EXPECT_NE(ProfileHash(environment, backend), base);
}

}  // namespace
}  // namespace forall
