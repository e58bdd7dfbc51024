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

PowerSensors DiscoverPowerSensors(std::shared_ptr<const Sysfs> files,
                                  const absl::StatusOr<NvmlApi>& nvml) {
  PowerSensors sensors;
  DiscoverRapl(files, &sensors);
  DiscoverIna3221(files, &sensors);
  DiscoverBatteries(files, &sensors);
  if (nvml.ok()) {
    DiscoverNvml(*nvml, &sensors);
  } else {
    sensors.AddUnavailable("nvml", "", nvml.status());
  }
  return sensors;
}

PowerSensors DiscoverPowerSensors(const std::string& root) {
  return DiscoverPowerSensors(
      std::make_shared<LocalSysfs>(root),
      root.empty() ? LoadNvml()
                   : absl::NotFoundError("NVIDIA's library is looked for on the machine itself"));
}

}  // namespace forall
