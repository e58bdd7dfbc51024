// SPDX-License-Identifier: Apache-2.0
// RAPL: energy counters of x86 processors (Intel's, and AMD's since Linux 5.8), in
// sys/class/powercap.
//
// Where the rules come from:
// - Linux Documentation/power/powercap/powercap.rst: `energy_uj` is a counter in microjoules whose
//   range is `max_energy_range_uj`; zones "intel-rapl:N" are packages (or the platform), zones
//   "intel-rapl:N:M" their subzones; `name` says which part it is.
// - Linux drivers/powercap/intel_rapl_common.c: names are "package-N" or "package-N-die-M", "core",
//   "uncore", "dram" and "psys"; the range is the 32 bits of the hardware counter times its unit.
// - Intel's Software Developer's Manual, volume 3, "RAPL Domains": core (PP0) and uncore (PP1) are
//   parts of the package; DRAM is not, although sysfs hangs it below the package; psys is the whole
//   platform. Counters are updated about every millisecond.
// - Linux commit 949dd0104c49 (CVE-2020-8694): `energy_uj` is readable by root only.
//
// Therefore packages are one additive domain, dram another; core, uncore and psys are shown for
// themselves and never added. Zones of other control types (intel-rapl-mmio) show the same packages
// again and are left out.
#ifndef FORALL_LATENCY_SENSOR_RAPL_SENSOR_H_
#define FORALL_LATENCY_SENSOR_RAPL_SENSOR_H_

#include <memory>

#include "latency/sensor/power_sensor.h"
#include "latency/sensor/sysfs.h"

namespace forall {

// Adds a sensor per domain, each the sum of that domain in all packages. A domain of which one zone
// cannot be read is unavailable: a part of a sum would look like a saving.
void DiscoverRapl(std::shared_ptr<const Sysfs> files, PowerSensors* sensors);

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_RAPL_SENSOR_H_
