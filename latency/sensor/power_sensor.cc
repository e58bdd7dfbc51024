// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/power_sensor.h"

#include <utility>

#include "latency/sensor/battery_sensor.h"
#include "latency/sensor/ina3221_sensor.h"
#include "latency/sensor/nvml_sensor.h"
#include "latency/sensor/rapl_sensor.h"
#include "latency/sensor/sysfs.h"

namespace forall {

std::string ToString(SensorKind kind) {
  return kind == SensorKind::kCounter ? "counter" : "sampled";
}

void PowerSensors::Add(std::unique_ptr<PowerSensor> sensor) {
  if (const absl::StatusOr<double> reading = sensor->Read(); reading.ok()) {
    available.push_back(std::move(sensor));
  } else {
    AddUnavailable(sensor->description().source, sensor->description().domain, reading.status());
  }
}

void PowerSensors::AddUnavailable(std::string source, std::string domain, absl::Status reason) {
  unavailable.push_back({std::move(source), std::move(domain), std::move(reason)});
}

PowerSensors DiscoverPowerSensors(const std::string& root, const NvmlApi* nvml) {
  const Sysfs files(root);
  PowerSensors sensors;
  DiscoverRapl(files, &sensors);
  DiscoverIna3221(files, &sensors);
  DiscoverBatteries(files, &sensors);
  if (nvml != nullptr) {
    DiscoverNvml(*nvml, &sensors);
  } else if (!root.empty()) {
    sensors.AddUnavailable("nvml", "", absl::NotFoundError("a recorded tree has no NVIDIA driver"));
  } else if (const absl::StatusOr<NvmlApi> library = LoadNvml(); library.ok()) {
    DiscoverNvml(*library, &sensors);
  } else {
    sensors.AddUnavailable("nvml", "", library.status());
  }
  return sensors;
}

}  // namespace forall
