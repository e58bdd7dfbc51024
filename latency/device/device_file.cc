// SPDX-License-Identifier: Apache-2.0
#include "latency/device/device_file.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/json_members.h"
#include "base/status_macros.h"
#include "runtime/execution_provider.h"

namespace forall {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kLongestSeconds = 24 * 3600;
constexpr int kHottest = 150;
constexpr int kMostMebibytes = 1 << 24;

absl::StatusOr<RuntimeDevice> ParseRuntime(const JsonMembers::Json& json) {
  JsonMembers members(json, "");
  RuntimeDevice device;
  if (members.Text("runtime") != "onnxruntime") {
    members.Complain("runtime",
                     "must be onnxruntime; a device's own program is a transport and a recipe");
  }
  OnnxRuntimeBackend::Options& backend = device.backend;
  backend.threads = members.Number("threads", kMostThreads, backend.threads);
  backend.provider = members.Text("provider", backend.provider);
  backend.precision = members.Text("precision", backend.precision);
  backend.provider_options = members.Texts("provider_options");
  backend.session_config = members.Texts("session_options");
  backend.allow_cpu_fallback = members.Flag("cpu_fallback", backend.allow_cpu_fallback);
  backend.engine_cache = members.Text("engine_cache");
  device.cold_cache = members.Flag("cold_cache", false);
  device.build_limit = absl::Seconds(members.Number(
      "build_timeout_seconds", kLongestSeconds,
      static_cast<int>(absl::ToInt64Seconds(backend.engine_cache.empty() ? device.build_limit
                                                                         : absl::Minutes(20)))));
  device.run_limit =
      absl::Seconds(members.Number("run_timeout_seconds", kLongestSeconds,
                                   static_cast<int>(absl::ToInt64Seconds(device.run_limit))));
  device.memory_bytes = int64_t{members.Number("memory_mib", kMostMebibytes, 0)} << 20;
  FORALL_RETURN_IF_ERROR(members.Finish());
  FORALL_RETURN_IF_ERROR(WithContext(CheckProviderName(backend.provider), "provider"));
  FORALL_RETURN_IF_ERROR(PrecisionOptions(backend.provider, backend.precision).status());
  if (!backend.engine_cache.empty()) {
    FORALL_RETURN_IF_ERROR(EngineCacheOptions(backend.provider, backend.engine_cache).status());
  }
  if (backend.provider == "cpu" && !backend.provider_options.empty()) {
    return absl::InvalidArgumentError("provider_options: cpu has none");
  }
  return device;
}

absl::StatusOr<GateLimits> ParseGate(const JsonMembers::Json& json) {
  JsonMembers members(json, "gate.");
  GateLimits gate;
  gate.max_celsius = members.Number("max_celsius", kHottest, 0);
  gate.patience = absl::Seconds(
      members.Number("patience_seconds", kLongestSeconds,
                     static_cast<int>(absl::ToInt64Seconds(gate.patience)), /*least=*/0));
  FORALL_RETURN_IF_ERROR(members.Finish());
  return gate;
}

}  // namespace

absl::StatusOr<DeviceFile> ParseDeviceFile(absl::string_view text) {
  FORALL_ASSIGN_OR_RETURN(JsonMembers::Json json, JsonMembers::ParseObject(text, "a device file"));
  DeviceFile file;
  {
    JsonMembers members(json, "");
    file.device = members.Text("device");
    file.device_class = members.Text("device_class");
    file.worker = members.Text("worker");
    if (const JsonMembers::Json* const gate = members.Find("gate"); gate != nullptr) {
      FORALL_ASSIGN_OR_RETURN(file.gate, ParseGate(*gate));
    }
    for (const auto& [name, value] : json.items()) members.Find(name.c_str());
    FORALL_RETURN_IF_ERROR(members.Finish());
  }
  json.erase("device");
  json.erase("device_class");
  json.erase("worker");
  json.erase("gate");
  if (json.contains("runtime")) {
    FORALL_ASSIGN_OR_RETURN(file.runtime, ParseRuntime(json));
  } else {
    file.command = json.dump(-1, ' ', false, JsonMembers::Json::error_handler_t::replace);
  }
  return file;
}

}  // namespace forall
