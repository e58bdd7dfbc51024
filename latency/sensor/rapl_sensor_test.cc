// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/rapl_sensor.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

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
using ::forall::testing::Reason;
using ::forall::testing::RecordedTree;
using ::forall::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPowercap[] = "sys/class/powercap/";

void WriteZone(const std::string& zone, const std::string& name, int64_t energy_uj,
               RecordedTree* tree) {
  const std::string path = kPowercap + zone + "/";
  tree->Write(path + "name", name + "\n");
  tree->Write(path + "energy_uj", absl::StrCat(energy_uj, "\n"));
  tree->Write(path + "max_energy_range_uj", "262143328850\n");
}

void SetEnergy(const std::string& zone, int64_t energy_uj, RecordedTree* tree) {
  tree->Write(kPowercap + zone + "/energy_uj", absl::StrCat(energy_uj, "\n"));
}

// A server of two packages, as Linux lists it: all zones flat in one folder, with the control type.
void WriteServer(RecordedTree* tree) {
  tree->Write(std::string(kPowercap) + "intel-rapl/enabled", "1\n");
  for (const std::string package : {"0", "1"}) {
    WriteZone("intel-rapl:" + package, "package-" + package, 1000000, tree);
    WriteZone("intel-rapl:" + package + ":0", "core", 500000, tree);
    WriteZone("intel-rapl:" + package + ":1", "dram", 2000000, tree);
  }
}

double ReadOrDie(const PowerSensors& sensors, const std::string& domain) {
  PowerSensor* const sensor = FindSensor(sensors, "rapl", domain);
  EXPECT_NE(sensor, nullptr) << domain;
  return sensor == nullptr ? -1 : sensor->Read().value_or(-1);
}

TEST(RaplSensorTest, SumsPackagesAndKeepsTheirPartsApart) {
  RecordedTree tree;
  WriteServer(&tree);
  const PowerSensors sensors = tree.Discover();
  ASSERT_THAT(Available(sensors), ElementsAre("rapl package", "rapl dram", "rapl core"));
  EXPECT_TRUE(sensors.available[0]->description().additive);
  EXPECT_TRUE(sensors.available[1]->description().additive);
  EXPECT_FALSE(sensors.available[2]->description().additive);
  EXPECT_EQ(sensors.available[0]->description().kind, SensorKind::kCounter);
  EXPECT_EQ(sensors.available[0]->description().update_period, absl::Milliseconds(1));

  SetEnergy("intel-rapl:0", 4000000, &tree);    // 3 J
  SetEnergy("intel-rapl:1", 2000000, &tree);    // 1 J
  SetEnergy("intel-rapl:0:0", 3000000, &tree);  // 2.5 J of the 3
  SetEnergy("intel-rapl:1:1", 2250000, &tree);  // 0.25 J
  EXPECT_DOUBLE_EQ(ReadOrDie(sensors, "package"), 4);
  EXPECT_DOUBLE_EQ(ReadOrDie(sensors, "dram"), 0.25);
  EXPECT_DOUBLE_EQ(ReadOrDie(sensors, "core"), 2.5);
}

TEST(RaplSensorTest, GoesOnWhereACounterWrapsAround) {
  RecordedTree tree;
  WriteServer(&tree);
  SetEnergy("intel-rapl:0", 262143328000, &tree);
  const PowerSensors sensors = tree.Discover();
  SetEnergy("intel-rapl:0", 4999150, &tree);
  EXPECT_THAT(ReadOrDie(sensors, "package"), DoubleNear(5, 1e-4));
  SetEnergy("intel-rapl:0", 262143328850, &tree);
  EXPECT_THAT(ReadOrDie(sensors, "package"), DoubleNear(262143.32885, 1e-3));
  SetEnergy("intel-rapl:0", 0, &tree);
  EXPECT_THAT(ReadOrDie(sensors, "package"), DoubleNear(262143.32885, 1e-3));
  // Read often enough that it cannot wrap around twice unseen: 262 kJ at 2 kW.
  EXPECT_THAT(absl::ToDoubleSeconds(sensors.available[0]->description().longest_gap),
              DoubleNear(131, 1));
}

TEST(RaplSensorTest, AFallWithoutAKnownRangeIsALossAndNotAReading) {
  RecordedTree tree;
  WriteServer(&tree);
  tree.Remove(std::string(kPowercap) + "intel-rapl:1/max_energy_range_uj");
  const PowerSensors sensors = tree.Discover();
  SetEnergy("intel-rapl:1", 999999, &tree);
  EXPECT_THAT(FindSensor(sensors, "rapl", "package")->Read(),
              StatusIs(absl::StatusCode::kDataLoss));
  // It is over: the next interval counts from here.
  const double before = ReadOrDie(sensors, "package");
  SetEnergy("intel-rapl:1", 1999999, &tree);
  EXPECT_DOUBLE_EQ(ReadOrDie(sensors, "package") - before, 1);
}

TEST(RaplSensorTest, KnowsDiesAndThePlatformAndLeavesOutWhatIsShownTwice) {
  RecordedTree tree;
  WriteZone("intel-rapl:0", "package-0-die-0", 0, &tree);
  WriteZone("intel-rapl:1", "package-0-die-1", 0, &tree);
  WriteZone("intel-rapl:2", "psys", 0, &tree);
  WriteZone("intel-rapl:0:0", "uncore", 0, &tree);
  WriteZone("intel-rapl:0:1", "something new", 0, &tree);
  WriteZone("intel-rapl:10", "package-0-die-1", 0, &tree);      // The same name again.
  WriteZone("intel-rapl-mmio:0", "package-0-die-0", 0, &tree);  // The same counter again.
  WriteZone("intel-rapl:x", "package-9", 0, &tree);
  WriteZone("intel-rapl:0:0:0", "core", 0, &tree);
  const PowerSensors sensors = tree.Discover();
  ASSERT_THAT(Available(sensors), ElementsAre("rapl package", "rapl uncore", "rapl psys"));
  EXPECT_FALSE(sensors.available[2]->description().additive);
  for (const std::string zone : {"intel-rapl:0", "intel-rapl:1", "intel-rapl:10",
                                 "intel-rapl-mmio:0", "intel-rapl:x", "intel-rapl:2"}) {
    SetEnergy(zone, 1000000, &tree);
  }
  EXPECT_DOUBLE_EQ(ReadOrDie(sensors, "package"), 2);
  EXPECT_DOUBLE_EQ(ReadOrDie(sensors, "psys"), 1);
}

TEST(RaplSensorTest, NoZoneIsAbsence) {
  RecordedTree tree;
  const PowerSensors sensors = tree.Discover();
  EXPECT_THAT(sensors.available, IsEmpty());
  EXPECT_THAT(Reason(sensors, "rapl", ""), StatusIs(absl::StatusCode::kNotFound));
}

// As any other user than root, for whom permissions hold.
class OtherUser {
 public:
  OtherUser() : was_root_(geteuid() == 0) {
    if (was_root_) EXPECT_EQ(seteuid(65534), 0);
  }
  ~OtherUser() {
    if (was_root_) EXPECT_EQ(seteuid(0), 0);
  }

 private:
  const bool was_root_;
};

TEST(RaplSensorTest, WhatOnlyRootMayReadIsDeniedAndNotAbsent) {
  RecordedTree tree;
  WriteServer(&tree);
  // One of two: half a sum would be worse than none.
  ASSERT_EQ(chmod((tree / (std::string(kPowercap) + "intel-rapl:1/energy_uj")).c_str(), 0), 0);
  ASSERT_EQ(chmod(tree.root().c_str(), 0755), 0);
  const OtherUser user;
  const PowerSensors sensors = tree.Discover();
  EXPECT_THAT(Available(sensors), ElementsAre("rapl dram", "rapl core"));
  EXPECT_THAT(Reason(sensors, "rapl", "package"),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("root")));
  EXPECT_THAT(Reason(sensors, "rapl", ""), IsOk());
}

TEST(RaplSensorTest, NonsenseIsUnavailable) {
  for (const std::string text :
       {"", "-1\n", "twelve\n", "1.5\n", "262143328851\n", "99999999999999999999\n"}) {
    RecordedTree tree;
    WriteServer(&tree);
    tree.Write(std::string(kPowercap) + "intel-rapl:0/energy_uj", text);
    const PowerSensors sensors = tree.Discover();
    EXPECT_THAT(Available(sensors), ElementsAre("rapl dram", "rapl core")) << text;
    EXPECT_THAT(Reason(sensors, "rapl", "package"), StatusIs(absl::StatusCode::kUnavailable))
        << text;
  }
}

TEST(RaplSensorTest, AZoneThatFailsOnceLosesNothingOfTheOthers) {
  RecordedTree tree;
  WriteServer(&tree);
  const PowerSensors sensors = tree.Discover();
  SetEnergy("intel-rapl:0", 2000000, &tree);
  tree.Write(std::string(kPowercap) + "intel-rapl:1/energy_uj", "");
  EXPECT_THAT(FindSensor(sensors, "rapl", "package")->Read(),
              StatusIs(absl::StatusCode::kUnavailable));
  SetEnergy("intel-rapl:1", 1500000, &tree);
  EXPECT_DOUBLE_EQ(ReadOrDie(sensors, "package"), 1.5);
}

}  // namespace
}  // namespace forall
