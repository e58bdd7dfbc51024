// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/battery_sensor.h"

#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/sensor/testing/recorded_tree.h"

namespace forall {
namespace {

using ::forall::testing::Available;
using ::forall::testing::FindSensor;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::Reason;
using ::forall::testing::RecordedTree;
using ::forall::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char kSupply[] = "sys/class/power_supply/";

void WritePhone(RecordedTree* tree) {
  const std::string battery = std::string(kSupply) + "battery/";
  tree->Write(battery + "type", "Battery\n");
  tree->Write(battery + "status", "Discharging\n");
  tree->Write(battery + "present", "1\n");
  tree->Write(battery + "current_now", "-450000\n");
  tree->Write(battery + "voltage_now", "4000000\n");
  tree->Write(battery + "charge_counter", "2500000\n");
  tree->Write(std::string(kSupply) + "usb/type", "USB\n");
  tree->Write(std::string(kSupply) + "usb/online", "0\n");
}

void WriteLaptop(RecordedTree* tree) {
  const std::string battery = std::string(kSupply) + "BAT0/";
  tree->Write(battery + "type", "Battery\n");
  tree->Write(battery + "status", "Discharging\n");
  tree->Write(battery + "power_now", "8200000\n");
  tree->Write(battery + "voltage_now", "12000000\n");
  tree->Write(std::string(kSupply) + "AC/type", "Mains\n");
  tree->Write(std::string(kSupply) + "AC/online", "0\n");
  tree->Write(std::string(kSupply) + "hidpp_battery_0/type", "Battery\n");
  tree->Write(std::string(kSupply) + "hidpp_battery_0/scope", "Device\n");
  tree->Write(std::string(kSupply) + "hidpp_battery_0/status", "Discharging\n");
}

TEST(BatterySensorTest, MultipliesCurrentAndVoltageWhateverTheSign) {
  for (const std::string current : {"-450000\n", "450000\n"}) {
    RecordedTree tree;
    WritePhone(&tree);
    tree.Write(std::string(kSupply) + "battery/current_now", current);
    const PowerSensors sensors = tree.Discover();
    ASSERT_THAT(Available(sensors), ElementsAre("battery battery")) << current;
    EXPECT_THAT(sensors.available[0]->Read(), IsOkAndHolds(DoubleNear(1.8, 1e-9)));
    EXPECT_EQ(sensors.available[0]->description().kind, SensorKind::kSampled);
    EXPECT_EQ(sensors.available[0]->description().update_period, absl::Seconds(1));
    EXPECT_FALSE(sensors.available[0]->description().additive);
  }
}

TEST(BatterySensorTest, TakesPowerWhereItIsMeasuredAndLeavesOutPeripherals) {
  RecordedTree tree;
  WriteLaptop(&tree);
  const PowerSensors sensors = tree.Discover();
  ASSERT_THAT(Available(sensors), ElementsAre("battery BAT0"));
  EXPECT_THAT(sensors.available[0]->Read(), IsOkAndHolds(DoubleNear(8.2, 1e-9)));
}

TEST(BatterySensorTest, OnlyADischargingBatteryTells) {
  for (const std::string status :
       {"Charging", "Full", "Not charging", "Unknown", "", "discharging"}) {
    RecordedTree tree;
    WritePhone(&tree);
    tree.Write(std::string(kSupply) + "battery/status", status + "\n");
    EXPECT_THAT(Reason(tree.Discover(), "battery", "battery"),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("unplug")))
        << status;
  }
}

TEST(BatterySensorTest, AChargerThatComesSpoilsTheReading) {
  RecordedTree tree;
  WritePhone(&tree);
  const PowerSensors sensors = tree.Discover();
  PowerSensor* const sensor = FindSensor(sensors, "battery", "battery");
  ASSERT_NE(sensor, nullptr);
  // Too weak a port: the battery still discharges, but is not all.
  tree.Write(std::string(kSupply) + "usb/online", "1\n");
  EXPECT_THAT(sensor->Read(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("USB supply usb")));
  tree.Write(std::string(kSupply) + "usb/online", "0\n");
  tree.Write(std::string(kSupply) + "battery/status", "Charging\n");
  EXPECT_THAT(sensor->Read(), StatusIs(absl::StatusCode::kFailedPrecondition));
  tree.Remove(std::string(kSupply) + "battery");
  EXPECT_THAT(sensor->Read(), StatusIs(absl::StatusCode::kNotFound));
}

TEST(BatterySensorTest, OneOfTwoBatteriesTellsWhileTheOtherRests) {
  RecordedTree tree;
  WriteLaptop(&tree);
  const std::string second = std::string(kSupply) + "BAT1/";
  tree.Write(second + "type", "Battery\n");
  tree.Write(second + "status", "Not charging\n");
  tree.Write(second + "power_now", "0\n");
  EXPECT_THAT(Available(tree.Discover()), ElementsAre("battery BAT0"));
  tree.Write(second + "status", "Discharging\n");
  EXPECT_THAT(Reason(tree.Discover(), "battery", "BAT0"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("BAT1")));
}

TEST(BatterySensorTest, OtherUnitsAndNonsenseAreRefused) {
  // Milliamperes, nothing, and no number; millivolts.
  for (const std::string current : {"-450\n", "0\n", "4999\n", "some\n"}) {
    RecordedTree tree;
    WritePhone(&tree);
    tree.Remove(std::string(kSupply) + "battery/charge_counter");
    tree.Write(std::string(kSupply) + "battery/current_now", current);
    EXPECT_THAT(Reason(tree.Discover(), "battery", "battery"),
                StatusIs(absl::StatusCode::kUnavailable))
        << current;
  }
  RecordedTree tree;
  WritePhone(&tree);
  tree.Write(std::string(kSupply) + "battery/voltage_now", "4000\n");
  EXPECT_THAT(Reason(tree.Discover(), "battery", "battery"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("unit")));
  tree.Write(std::string(kSupply) + "battery/voltage_now", "4000000\n");
  tree.Write(std::string(kSupply) + "battery/current_now", "-9223372036854775808\n");
  EXPECT_THAT(Available(tree.Discover()), ElementsAre("battery battery"));
}

TEST(BatterySensorTest, CountsChargeWhereThereIsNoCurrent) {
  RecordedTree tree;
  WritePhone(&tree);
  tree.Remove(std::string(kSupply) + "battery/current_now");
  const PowerSensors sensors = tree.Discover();
  PowerSensor* const sensor = FindSensor(sensors, "battery", "battery");
  ASSERT_NE(sensor, nullptr);
  EXPECT_EQ(sensor->description().kind, SensorKind::kCounter);
  EXPECT_GE(sensor->description().update_period, absl::Seconds(10));
  tree.Write(std::string(kSupply) + "battery/charge_counter", "2490000\n");  // 10 mAh at 4 V
  EXPECT_THAT(sensor->Read(), IsOkAndHolds(DoubleNear(144, 1e-9)));
  tree.Write(std::string(kSupply) + "battery/charge_counter", "2490001\n");
  EXPECT_THAT(sensor->Read(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(BatterySensorTest, AbsentBatteriesAreAbsent) {
  RecordedTree tree;
  EXPECT_THAT(Reason(tree.Discover(), "battery", ""), StatusIs(absl::StatusCode::kNotFound));
  WritePhone(&tree);
  tree.Write(std::string(kSupply) + "battery/present", "0\n");
  EXPECT_THAT(Reason(tree.Discover(), "battery", ""), StatusIs(absl::StatusCode::kNotFound));
}

TEST(BatterySensorTest, ABatteryThatMeasuresNothingSaysSo) {
  RecordedTree tree;
  tree.Write(std::string(kSupply) + "BAT1/type", "Battery\n");
  tree.Write(std::string(kSupply) + "BAT1/status", "Discharging\n");
  EXPECT_THAT(Reason(tree.Discover(), "battery", "BAT1"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("power_now")));
}

}  // namespace
}  // namespace forall
