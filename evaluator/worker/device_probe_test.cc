// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/device_probe.h"

#include <string>

#include "base/testing/matchers.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;

TEST(DeviceProbeTest, NamesBecomeIds) {
  EXPECT_EQ(IdFromName("pi5-lab"), "pi5-lab");
  EXPECT_EQ(IdFromName("Anna's PC.local"), "anna-s-pc.local");
  EXPECT_EQ(IdFromName("-_x"), "x");
  EXPECT_EQ(IdFromName("???"), "localhost");
  EXPECT_EQ(IdFromName(std::string(100, 'a')), std::string(63, 'a'));
  EXPECT_THAT(CheckWorkerId("--id", IdFromHostname()), IsOk());
}

TEST(DeviceProbeTest, RefusesBadIds) {
  for (const std::string& id : {std::string(), std::string("A"), std::string("a b"),
                                std::string(".a"), std::string(64, 'a')}) {
    EXPECT_THAT(CheckWorkerId("--id", id), StatusIs(absl::StatusCode::kInvalidArgument)) << id;
  }
}

TEST(DeviceProbeTest, DescribesWhatLasts) {
  Environment environment;
  environment.cpu_model = "Fast CPU";
  environment.architecture = "x86_64";
  environment.cores = 2;
  environment.governor = "performance";
  environment.temperature_celsius = 55;
  environment.load_average = 1.5;
  const v1::Device device = DescribeDevice(environment, "pc", DefaultDeviceClass(environment));
  EXPECT_EQ(device.name(), "devices/pc");
  EXPECT_EQ(device.device_class(), "x86-64");
  EXPECT_EQ(device.description(), "Fast CPU, 2 cores");
  EXPECT_EQ(device.properties().at("governor"), "performance");
  EXPECT_EQ(device.properties().count("temperature_celsius"), 0u);
  EXPECT_EQ(device.properties().count("load_average"), 0u);

  environment.temperature_celsius = 70;
  EXPECT_EQ(DescribeDevice(environment, "pc", "x").fingerprint(), device.fingerprint());
  environment.cores = 4;
  EXPECT_NE(DescribeDevice(environment, "pc", "x").fingerprint(), device.fingerprint());
}

TEST(DeviceProbeTest, AnEmulatedDeviceSaysSo) {
  Environment environment;
  environment.cpu_model = "Fast CPU";
  environment.cores = 1;
  environment.emulation_evidence = "the kernel is another's";
  const v1::Device device = DescribeDevice(environment, "board", "aarch64");
  EXPECT_EQ(device.description(), "Fast CPU, 1 core, emulated");
  EXPECT_EQ(device.properties().at("emulated"), "yes");
}

TEST(DeviceProbeTest, ProfileChangesWithWhatASpeedDependsOn) {
  Environment environment;
  environment.governor = "powersave";
  const BackendDescription backend = {"onnxruntime", "1.30.0", "cpu", 1, 1};
  const v1::RuntimeProfile profile = DescribeProfile(environment, backend);
  EXPECT_EQ(profile.runtime_version(), "1.30.0");
  EXPECT_EQ(profile.power_mode(), "powersave");
  EXPECT_EQ(DescribeProfile(environment, backend).hash(), profile.hash());
  environment.governor = "performance";
  EXPECT_NE(DescribeProfile(environment, backend).hash(), profile.hash());
}

}  // namespace
}  // namespace forall
