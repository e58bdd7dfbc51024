// SPDX-License-Identifier: Apache-2.0
// Batteries of phones and laptops, in sys/class/power_supply.
//
// Where the rules come from:
// - Linux Documentation/ABI/testing/sysfs-class-power and
// Documentation/power/power_supply_class.rst:
//   `type`, `status`, `present`, `online`, `scope`; current_now in microamperes, voltage_now in
//   microvolts, power_now in microwatts, charge_counter in microampere-hours.
// - The same document has negative currents for discharging, Android's BatteryManager too, but
//   drivers of laptops and of some phones show them positive. The sign is therefore not looked at:
//   `status` says which way the current flows.
// - source.android.com, "Measuring device power": fuel gauges differ in rate and accuracy, and
//   compare only on one device.
//
// A battery tells what a device uses only while it is the one thing that feeds it. So a reading is
// refused (FailedPrecondition) unless `status` is "Discharging", no charger (type other than
// Battery) is `online`, and no second battery is discharging: a phone at a USB cable is measured
// over the network.
#ifndef FORALL_LATENCY_SENSOR_BATTERY_SENSOR_H_
#define FORALL_LATENCY_SENSOR_BATTERY_SENSOR_H_

#include <memory>

#include "latency/sensor/power_sensor.h"
#include "latency/sensor/sysfs.h"

namespace forall {

// Adds a sensor per battery of the machine, none for those of its mice and pens. power_now is
// preferred, then current_now with voltage_now; with charge_counter alone it is a coarse counter.
void DiscoverBatteries(std::shared_ptr<const Sysfs> files, PowerSensors* sensors);

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_BATTERY_SENSOR_H_
