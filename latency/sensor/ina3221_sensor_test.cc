// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/ina3221_sensor.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/sensor/testing/recorded_tree.h"

namespace forall {
namespace {

using ::forall::testing::Available;
using ::forall::testing::FindSensor;
using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::Reason;
using ::forall::testing::RecordedTree;
using ::forall::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kChip40[] = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/";
constexpr char kChip41[] = "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/";

void WriteRail(const std::string& chip, int channel, const std::string& label, int millivolts,
               int milliamperes, RecordedTree* tree) {
  tree->Write(absl::StrCat(chip, "in", channel, "_label"), label + "\n");
  tree->Write(absl::StrCat(chip, "in", channel, "_input"), absl::StrCat(millivolts, "\n"));
  tree->Write(absl::StrCat(chip, "in", channel, "_enable"), "1\n");
  tree->Write(absl::StrCat(chip, "curr", channel, "_input"), absl::StrCat(milliamperes, "\n"));
}

// What the chip adds up by itself, at whatever voltages.
void WriteChipSums(const std::string& chip, RecordedTree* tree) {
  tree->Write(chip + "in7_label", "sum of shunt voltages\n");
  tree->Write(chip + "in7_input", "760\n");
  tree->Write(chip + "curr4_input", "360\n");
}

// JetPack 5: Orin NX and Nano.
void WriteOrinNx(RecordedTree* tree) {
  WriteRail(kChip40, 1, "VDD_IN", 5000, 1200, tree);
  WriteRail(kChip40, 2, "VDD_CPU_GPU_CV", 4984, 400, tree);
  WriteRail(kChip40, 3, "VDD_SOC", 4984, 250, tree);
  WriteChipSums(kChip40, tree);
  tree->Write(std::string(kChip40) + "update_interval", "35\n");
  // The driver's own files beside the devices.
  tree->Write("sys/bus/i2c/drivers/ina3221/uevent", "");
}

// JetPack 5: AGX Orin.
void WriteAgxOrin(RecordedTree* tree) {
  WriteRail(kChip40, 1, "VDD_GPU_SOC", 19848, 200, tree);
  WriteRail(kChip40, 2, "VDD_CPU_CV", 19848, 100, tree);
  WriteRail(kChip40, 3, "VIN_SYS_5V0", 4968, 900, tree);
  WriteChipSums(kChip40, tree);
  WriteRail(kChip41, 1, "NC", 0, 0, tree);
  WriteRail(kChip41, 2, "VDDQ_VDD2_1V8AO", 4968, 200, tree);
  WriteRail(kChip41, 3, "VDD_OFF", 4968, 200, tree);
  tree->Write(std::string(kChip41) + "in3_enable", "0\n");
}

void WriteOlder(const std::string& device, const std::vector<std::string>& labels, int milliwatts,
                RecordedTree* tree) {
  const std::string path = "sys/bus/i2c/drivers/ina3221x/" + device + "/";
  for (size_t i = 0; i < labels.size(); ++i) {
    tree->Write(absl::StrCat(path, "rail_name_", i), labels[i] + "\n");
    tree->Write(absl::StrCat(path, "in_power", i, "_input"), absl::StrCat(milliwatts, "\n"));
    tree->Write(absl::StrCat(path, "in_voltage", i, "_input"), "5000\n");
    tree->Write(absl::StrCat(path, "in_current", i, "_input"), "1\n");
    tree->Write(absl::StrCat(path, "crit_current_limit_", i), "32760 ma\n");
  }
}

TEST(Ina3221SensorTest, TakesTheModulesInputWhereItIsMeasured) {
  RecordedTree tree;
  WriteOrinNx(&tree);
  const PowerSensors sensors = tree.Discover();
  ASSERT_THAT(Available(sensors),
              ElementsAre("ina3221 VDD_IN", "ina3221 VDD_CPU_GPU_CV", "ina3221 VDD_SOC"));
  const SensorDescription& whole = sensors.available[0]->description();
  EXPECT_TRUE(whole.additive);
  EXPECT_EQ(whole.kind, SensorKind::kSampled);
  EXPECT_EQ(whole.update_period, absl::Milliseconds(35));
  EXPECT_FALSE(sensors.available[1]->description().additive);
  EXPECT_THAT(sensors.available[0]->Read(), IsOkAndHolds(DoubleNear(6, 1e-9)));
  EXPECT_THAT(sensors.available[1]->Read(), IsOkAndHolds(DoubleNear(1.9936, 1e-9)));
}

TEST(Ina3221SensorTest, AddsUpAgxOrinWithoutCountingMemoryTwice) {
  RecordedTree tree;
  WriteAgxOrin(&tree);
  const PowerSensors sensors = tree.Discover();
  ASSERT_THAT(Available(sensors),
              ElementsAre("ina3221 module", "ina3221 VDDQ_VDD2_1V8AO", "ina3221 VDD_CPU_CV",
                          "ina3221 VDD_GPU_SOC", "ina3221 VIN_SYS_5V0"));
  EXPECT_TRUE(sensors.available[0]->description().additive);
  EXPECT_THAT(sensors.available[0]->description().covers,
              HasSubstr("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"));
  EXPECT_THAT(sensors.available[0]->Read(),
              IsOkAndHolds(DoubleNear(19.848 * 0.3 + 4.968 * 0.9, 1e-9)));
}

TEST(Ina3221SensorTest, ReadsTheOlderLayoutOfTx2) {
  RecordedTree tree;
  WriteOlder("0-0040/iio:device0", {"VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI"}, 500, &tree);
  WriteOlder("0-0041/iio:device1", {"VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR"}, 4250, &tree);
  WriteOlder("0-0041/iio_device", {"VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR"}, 4250, &tree);
  const PowerSensors sensors = tree.Discover();
  ASSERT_NE(FindSensor(sensors, "ina3221", "VDD_IN"), nullptr);
  EXPECT_TRUE(FindSensor(sensors, "ina3221", "VDD_IN")->description().additive);
  EXPECT_EQ(sensors.available.size(), 6u);
  EXPECT_THAT(FindSensor(sensors, "ina3221", "VDD_IN")->Read(),
              IsOkAndHolds(DoubleNear(4.25, 1e-9)));
}

TEST(Ina3221SensorTest, AddsUpAgxXavier) {
  RecordedTree tree;
  WriteOlder("1-0040/iio:device0", {"GPU", "CPU", "SOC"}, 1000, &tree);
  WriteOlder("1-0041/iio:device1", {"CV", "VDDRQ", "SYS5V"}, 250, &tree);
  const PowerSensors sensors = tree.Discover();
  ASSERT_NE(FindSensor(sensors, "ina3221", "module"), nullptr);
  EXPECT_THAT(FindSensor(sensors, "ina3221", "module")->Read(),
              IsOkAndHolds(DoubleNear(3.75, 1e-9)));
}

TEST(Ina3221SensorTest, ReadsNanosBoardInput) {
  RecordedTree tree;
  WriteOlder("6-0040/iio:device0", {"POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"}, 2000, &tree);
  const PowerSensors sensors = tree.Discover();
  EXPECT_THAT(Available(sensors),
              ElementsAre("ina3221 POM_5V_IN", "ina3221 POM_5V_CPU", "ina3221 POM_5V_GPU"));
}

TEST(Ina3221SensorTest, AnUnknownBoardHasRailsAndNoTotal) {
  RecordedTree tree;
  WriteRail(kChip40, 1, "VDD_GPU_SOC", 19848, 200, &tree);
  WriteRail(kChip40, 2, "VDD_SOMETHING", 5000, 100, &tree);
  const PowerSensors sensors = tree.Discover();
  EXPECT_THAT(Available(sensors), ElementsAre("ina3221 VDD_GPU_SOC", "ina3221 VDD_SOMETHING"));
  for (const auto& sensor : sensors.available) EXPECT_FALSE(sensor->description().additive);
  EXPECT_THAT(Reason(sensors, "ina3221", "module"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("VDD_SOMETHING")));
}

TEST(Ina3221SensorTest, TwoRailsOfOneNameAreNoTotal) {
  RecordedTree tree;
  WriteRail(kChip40, 1, "VDD_IN", 5000, 100, &tree);
  WriteRail(kChip41, 1, "VDD_IN", 5000, 100, &tree);
  EXPECT_THAT(Reason(tree.Discover(), "ina3221", "module"),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST(Ina3221SensorTest, NoneIsAbsence) {
  RecordedTree tree;
  WriteRail(kChip40, 1, "NC", 0, 0, &tree);
  EXPECT_THAT(Reason(tree.Discover(), "ina3221", ""), StatusIs(absl::StatusCode::kNotFound));
}

TEST(Ina3221SensorTest, NonsenseAndAVanishedRailAreErrors) {
  RecordedTree tree;
  WriteOrinNx(&tree);
  const PowerSensors sensors = tree.Discover();
  PowerSensor* const whole = FindSensor(sensors, "ina3221", "VDD_IN");
  ASSERT_NE(whole, nullptr);
  tree.Write(std::string(kChip40) + "curr1_input", "12oo\n");
  EXPECT_THAT(whole->Read(), StatusIs(absl::StatusCode::kUnavailable));
  tree.Write(std::string(kChip40) + "curr1_input", "-8\n");
  EXPECT_THAT(whole->Read(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("-0.04 W")));
  tree.Write(std::string(kChip40) + "curr1_input", "9223372036854775807\n");
  EXPECT_THAT(whole->Read(), IsOk());  // The meter knows that no board draws this.
  tree.Remove(std::string(kChip40) + "curr1_input");
  EXPECT_THAT(whole->Read(), StatusIs(absl::StatusCode::kNotFound));
}

TEST(Ina3221SensorTest, ARailAtRestMayReadAStepBelowZero) {
  RecordedTree tree;
  WriteAgxOrin(&tree);
  tree.Write(std::string(kChip40) + "curr2_input", "-20\n");
  EXPECT_THAT(FindSensor(tree.Discover(), "ina3221", "module")->Read(),
              IsOkAndHolds(DoubleNear(19.848 * 0.18 + 4.968 * 0.9, 1e-9)));
}

}  // namespace
}  // namespace forall
