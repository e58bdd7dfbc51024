// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/nvml.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

// False when the library has no such function.
template <typename Function>
bool Find(void* library, const char* name, std::function<Function>* function) {
  void* const symbol = dlsym(library, name);
  if (symbol != nullptr) *function = reinterpret_cast<Function*>(symbol);
  return symbol != nullptr;
}

}  // namespace

absl::StatusOr<NvmlApi> LoadNvml(const std::string& library) {
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = dlerror();
    return absl::NotFoundError(
        absl::StrCat("no NVIDIA driver with ", library, ": ", why == nullptr ? "unknown" : why));
  }
  NvmlApi api;
  const bool complete = Find(handle, "nvmlInit_v2", &api.init) &&
                        Find(handle, "nvmlShutdown", &api.shutdown) &&
                        Find(handle, "nvmlDeviceGetCount_v2", &api.device_count) &&
                        Find(handle, "nvmlDeviceGetHandleByIndex_v2", &api.device_by_index) &&
                        Find(handle, "nvmlDeviceGetPowerUsage", &api.power_usage) &&
                        Find(handle, "nvmlErrorString", &api.error_string);
  if (!complete) {
    return absl::UnavailableError(
        absl::StrCat(library, " lacks functions of NVML: update the NVIDIA driver"));
  }
  Find(handle, "nvmlDeviceGetTotalEnergyConsumption", &api.total_energy);
  return api;
}

}  // namespace forall
