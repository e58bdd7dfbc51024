// SPDX-License-Identifier: Apache-2.0
// The few functions of NVIDIA's management library that are used here, found at run time.
#ifndef FORALL_LATENCY_SENSOR_NVML_H_
#define FORALL_LATENCY_SENSOR_NVML_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace forall {

// nvmlReturn_t's values (nvml.h) that are told apart here.
inline constexpr int kNvmlSuccess = 0;
inline constexpr int kNvmlNotSupported = 3;
inline constexpr int kNvmlNoPermission = 4;

// A table of the functions of the same names, so that tests can have their own. A result is an
// nvmlReturn_t, a device an nvmlDevice_t.
struct NvmlApi {
  std::function<int()> init;      // nvmlInit_v2
  std::function<int()> shutdown;  // nvmlShutdown
  std::function<int(unsigned*)> device_count;
  std::function<int(unsigned, void**)> device_by_index;
  // Millijoules since the driver was loaded. Empty where the library is too old to have it.
  std::function<int(void*, unsigned long long*)> total_energy;  // NOLINT(google-runtime-int)
  std::function<int(void*, unsigned*)> power_usage;             // Milliwatts.
  std::function<const char*(int)> error_string;
};

// NotFound when there is no such library, Unavailable when it lacks a function. The library stays
// loaded.
absl::StatusOr<NvmlApi> LoadNvml(const std::string& library = "libnvidia-ml.so.1");

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_NVML_H_
