// SPDX-License-Identifier: Apache-2.0
// What a machine can say about the energy it uses, and why it cannot (docs/energy-and-memory.md).
//
//   PowerSensors sensors = DiscoverPowerSensors();
//   for (const auto& sensor : sensors.available) ...   // measured with an EnergyMeter
//   for (const auto& missing : sensors.unavailable) ...  // shown with its reason
#ifndef FORALL_LATENCY_SENSOR_POWER_SENSOR_H_
#define FORALL_LATENCY_SENSOR_POWER_SENSOR_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "latency/sensor/nvml.h"
#include "latency/sensor/sysfs.h"

namespace forall {

enum class SensorKind {
  kCounter,  // Counts joules by itself: two readings are exact.
  kSampled,  // Shows watts: what lies between two readings is interpolated.
};
// "counter", "sampled".
std::string ToString(SensorKind kind);

struct SensorDescription {
  std::string source;  // "rapl", "ina3221", "battery", "nvml"
  std::string domain;  // "package", "VDD_IN", "BAT0", "gpu-0"
  // What the numbers include, for people: never the process alone.
  std::string covers;
  SensorKind kind = SensorKind::kCounter;
  // How often the hardware gives a new value.
  absl::Duration update_period;
  // Readings further apart may miss that the counter wrapped around.
  absl::Duration longest_gap = absl::InfiniteDuration();
  // More than any such device draws: a higher average is a fault of the reading.
  double most_watts = 0;
  // Joules of additive sensors may be added up: no two of them count the same energy. Others are a
  // part of an additive one, or all of the machine.
  bool additive = false;
};

// Thread-compatible.
class PowerSensor {
 public:
  virtual ~PowerSensor() = default;

  virtual const SensorDescription& description() const = 0;
  // kCounter: joules since some moment before the first reading, wrap-around resolved. kSampled:
  // watts now. Errors say why; FailedPrecondition (the state forbids it, e.g. a battery that is
  // being charged) and DataLoss (energy was missed) spoil the whole measurement, others (NotFound,
  // PermissionDenied, Unavailable) this reading only.
  virtual absl::StatusOr<double> Read() = 0;
};

struct UnavailableSensor {
  std::string source;
  std::string domain;  // "" when nothing of this source was found.
  // NotFound: the machine has none. PermissionDenied: it has, and the message says what to do.
  // Unavailable, FailedPrecondition: it has, and cannot use it now.
  absl::Status reason;
};

struct PowerSensors {
  std::vector<std::unique_ptr<PowerSensor>> available;
  // Each source that is not under `available` is here at least once.
  std::vector<UnavailableSensor> unavailable;

  // Reads `sensor` once and puts it where it belongs.
  void Add(std::unique_ptr<PowerSensor> sensor);
  void AddUnavailable(std::string source, std::string domain, absl::Status reason);
};

// Looks for all sources, and reads each sensor once. `root` holds sys/; "" is the machine itself,
// where NVIDIA's library is looked for too.
PowerSensors DiscoverPowerSensors(const std::string& root = "");

// As above, through what the caller has: the files of a device that is reached some other way, and
// NVIDIA's library or why there is none. The sensors share `files`.
PowerSensors DiscoverPowerSensors(std::shared_ptr<const Sysfs> files,
                                  const absl::StatusOr<NvmlApi>& nvml);

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_POWER_SENSOR_H_
