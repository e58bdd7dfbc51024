// SPDX-License-Identifier: Apache-2.0
// A machine's /sys and /proc in a folder that is gone when the test is.
#ifndef FORALL_LATENCY_SENSOR_TESTING_RECORDED_TREE_H_
#define FORALL_LATENCY_SENSOR_TESTING_RECORDED_TREE_H_

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/testing/temp_dir.h"
#include "latency/sensor/power_sensor.h"

namespace forall::testing {

class RecordedTree {
 public:
  void Write(const std::string& path, const std::string& content) {
    const std::string full = dir_ / path;
    std::filesystem::create_directories(std::filesystem::path(full).parent_path());
    std::ofstream(full, std::ios::trunc) << content;
  }
  void Remove(const std::string& path) { std::filesystem::remove_all(dir_ / path); }
  const std::string& root() const { return dir_.path(); }
  std::string operator/(const std::string& path) const { return dir_ / path; }

  PowerSensors Discover() const { return DiscoverPowerSensors(root()); }

 private:
  TempDir dir_;
};

// Null when there is none.
inline PowerSensor* FindSensor(const PowerSensors& sensors, const std::string& source,
                               const std::string& domain) {
  for (const auto& sensor : sensors.available) {
    const SensorDescription& description = sensor->description();
    if (description.source == source && description.domain == domain) return sensor.get();
  }
  return nullptr;
}

// OK when it is not listed as unavailable.
inline absl::Status Reason(const PowerSensors& sensors, const std::string& source,
                           const std::string& domain) {
  for (const UnavailableSensor& sensor : sensors.unavailable) {
    if (sensor.source == source && sensor.domain == domain) return sensor.reason;
  }
  return absl::OkStatus();
}

// "source domain" of all that can be read, in order.
inline std::vector<std::string> Available(const PowerSensors& sensors) {
  std::vector<std::string> names;
  for (const auto& sensor : sensors.available) {
    names.push_back(sensor->description().source + " " + sensor->description().domain);
  }
  return names;
}

}  // namespace forall::testing

#endif  // FORALL_LATENCY_SENSOR_TESTING_RECORDED_TREE_H_
