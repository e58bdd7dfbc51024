// SPDX-License-Identifier: Apache-2.0
// What devices say of their temperature and battery, read into names and values. Pure functions
// over the text; whatever is not understood or not believable is left out.
#ifndef FORALL_LATENCY_TRANSPORT_SENSORS_H_
#define FORALL_LATENCY_TRANSPORT_SENSORS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "latency/transport/transport.h"

namespace forall {

// A script for a POSIX shell that prints "TYPE|VALUE" for each zone of /sys/class/thermal. `root`
// takes the place of /sys.
std::string ThermalZonesScript(const std::string& quoted_root);

// Its output: "thermal_TYPE_celsius". Values are in thousandths of a degree, as Linux documents
// (Documentation/ABI/testing/sysfs-class-thermal), or in degrees below 1000 as some kernels of
// phones have it.
void AddThermalZones(absl::string_view text, SensorReadings* readings);

// `dumpsys thermalservice`: "Temperature{mValue=34.6, mType=0, mName=CPU0, mStatus=0}" (Android
// 10 and later, android.os.Temperature.toString), current values over cached ones; and
// "thermal_status", its overall status from 0 (none) to 6 (shutdown).
void AddThermalService(absl::string_view text, SensorReadings* readings);

// `dumpsys battery`: level, temperature (in tenths of a degree), voltage (in mV) and which power
// is plugged in ("battery_charging", 0 or 1), as BatteryService.dump prints them.
void AddBattery(absl::string_view text, SensorReadings* readings);

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_SENSORS_H_
