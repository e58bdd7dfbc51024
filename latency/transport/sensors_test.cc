// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/sensors.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// As `dumpsys thermalservice` of Android 10 prints it.
constexpr char kThermalService[] = R"(IsStatusOverride: false
ThermalEventListeners:
	callbacks: 1
Thermal Status: 2
Cached temperatures:
 Temperature{mValue=99.9, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=34.6, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=NaN, mType=1, mName=GPU0, mStatus=0}
	Temperature{mValue=31.25, mType=3, mName=skin-therm, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
)";

// As `dumpsys battery` of Android 11 prints it.
constexpr char kBattery[] = R"(Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Charge counter: 2961000
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4295
  temperature: 251
  technology: Li-ion
)";

TEST(SensorsTest, ReadsTheThermalService) {
  SensorReadings readings;
  AddThermalService(kThermalService, &readings);
  EXPECT_THAT(readings,
              UnorderedElementsAre(Pair("thermal_status", 2), Pair("thermal_cpu0_celsius", 34.6),
                                   Pair("thermal_skin_therm_celsius", 31.25)))
      << "names keep to letters, digits and underscores";
}

TEST(SensorsTest, ReadsTheBattery) {
  SensorReadings readings;
  AddBattery(kBattery, &readings);
  EXPECT_THAT(readings,
              UnorderedElementsAre(Pair("battery_level_percent", 87), Pair("battery_charging", 1),
                                   Pair("battery_temperature_celsius", 25.1),
                                   Pair("battery_voltage_millivolts", 4295)));
}

TEST(SensorsTest, ReadsThermalZonesInEitherUnit) {
  SensorReadings readings;
  AddThermalZones(
      "x86_pkg_temp|45000\ncpu-0-0|41\ncpu-0-0|52000\noff|-273000\nbroken|\n|5000\nnone\nhot|nan\n",
      &readings);
  EXPECT_THAT(readings, UnorderedElementsAre(Pair("thermal_x86_pkg_temp_celsius", 45),
                                             Pair("thermal_cpu_0_0_celsius", 52)));
}

TEST(SensorsTest, WhatIsNotUnderstoodIsLeftOut) {
  SensorReadings readings;
  for (const char* text : {"", "Can't find service: thermalservice\n",
                           "Temperature{mValue=", "Temperature{mName=,mValue=3}",
                           "level: 1000\ntemperature: inf\nvoltage: -3", "level:", "|"}) {
    AddThermalService(text, &readings);
    AddThermalZones(text, &readings);
    AddBattery(text, &readings);
  }
  EXPECT_THAT(readings, IsEmpty());
}

}  // namespace
}  // namespace forall
