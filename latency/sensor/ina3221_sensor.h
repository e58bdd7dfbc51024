// SPDX-License-Identifier: Apache-2.0
// The power monitors of NVIDIA's Jetson boards: INA3221 chips with three rails each.
//
// Where the rules come from:
// - Linux Documentation/hwmon/ina3221.rst and drivers/hwmon/ina3221.c (JetPack 5 and 6):
//   sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/ with in[123]_label, in[123]_input in mV,
//   curr[123]_input in mA, in[123]_enable, update_interval in ms; in7 and curr4 are sums of what
//   belongs to different voltages and are left out.
// - jetson_stats jtop/core/power.py: the older driver of JetPack 4 (Nano, TX2, Xavier) has
//   sys/bus/i2c/drivers/ina3221x/*/iio:device*/ with rail_name_N and in_powerN_input in mW, N from
//   0; rails labelled "NC" are not connected; VDD_IN and POM_5V_IN are the module's input and the
//   others parts of it (its issue 51); AGX Xavier has no such rail, and the sum of its six is
//   meant.
// - Jetson Linux Developer Guide r36, "Software-Based Power Consumption Modeling": on AGX Orin
//   VDDQ_VDD2_1V8AO is a part of VIN_SYS_5V0, so the module is VDD_GPU_SOC + VDD_CPU_CV +
//   VIN_SYS_5V0. Linux arch/arm64/boot/dts/nvidia/tegra234-p3701.dtsi has the labels.
#ifndef FORALL_LATENCY_SENSOR_INA3221_SENSOR_H_
#define FORALL_LATENCY_SENSOR_INA3221_SENSOR_H_

#include <memory>

#include "latency/sensor/power_sensor.h"
#include "latency/sensor/sysfs.h"

namespace forall {

// Adds the module's input (additive; its domain is the rail's name, or "module" where it is a sum)
// and every rail for itself. Boards whose rails are not known have no additive sensor, and a reason
// in its place.
void DiscoverIna3221(std::shared_ptr<const Sysfs> files, PowerSensors* sensors);

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_INA3221_SENSOR_H_
