// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/power_sensor.h"

#include <set>
#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/sensor/testing/recorded_tree.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::RecordedTree;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

std::set<std::string> Sources(const PowerSensors& sensors) {
  std::set<std::string> sources;
  for (const auto& sensor : sensors.available) sources.insert(sensor->description().source);
  for (const UnavailableSensor& sensor : sensors.unavailable) {
    sources.insert(sensor.source);
    EXPECT_THAT(sensor.reason, Not(IsOk())) << sensor.source;
    EXPECT_FALSE(sensor.reason.message().empty()) << sensor.source;
  }
  return sources;
}

TEST(PowerSensorTest, ARecordedTreeHasNothingOfThisMachine) {
  const PowerSensors sensors = RecordedTree().Discover();
  EXPECT_THAT(sensors.available, IsEmpty());
  EXPECT_THAT(Sources(sensors), UnorderedElementsAre("rapl", "ina3221", "battery", "nvml"));
}

// Whatever machine this is: every source is there, or says why not.
TEST(PowerSensorTest, ThisMachineAnswersForEachSource) {
  const PowerSensors sensors = DiscoverPowerSensors();
  EXPECT_THAT(Sources(sensors), UnorderedElementsAre("rapl", "ina3221", "battery", "nvml"));
  for (const auto& sensor : sensors.available) {
    const SensorDescription& description = sensor->description();
    EXPECT_GT(description.update_period, absl::ZeroDuration()) << description.domain;
    EXPECT_GT(description.most_watts, 0) << description.domain;
    EXPECT_THAT(description.covers, Not(IsEmpty())) << description.domain;
  }
}

}  // namespace
}  // namespace forall
