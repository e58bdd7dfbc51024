// SPDX-License-Identifier: Apache-2.0
// What a worker times with, as a file describes it: ONNX Runtime on this machine with the settings
// that its owner wants, or a device elsewhere with a program of its own (command_device.h).
#ifndef FORALL_LATENCY_DEVICE_DEVICE_FILE_H_
#define FORALL_LATENCY_DEVICE_DEVICE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "latency/backend/onnxruntime_backend.h"
#include "latency/measure/gate.h"

namespace forall {

// ONNX Runtime in a process of its own on this machine.
struct RuntimeDevice {
  OnnxRuntimeBackend::Options backend;
  // Latencies as after other work: Profile::cold_cache.
  bool cold_cache = false;
  // To load a model, which includes building an engine, and to run a session beyond what its
  // profile allows for. A model that takes longer is stopped, and that is its result.
  absl::Duration build_limit = absl::Minutes(1);
  absl::Duration run_limit = absl::Seconds(30);
  // Largest private memory of the measuring process; 0: what the machine has.
  int64_t memory_bytes = 0;
};

struct DeviceFile {
  // "" where the file does not say.
  std::string device;
  std::string device_class;
  std::string worker;  // what the worker that serves it is called
  GateLimits gate;
  // A device elsewhere, for CommandDevice::Open; "" when it is `runtime`.
  std::string command;
  RuntimeDevice runtime;
};

// The file is JSON. One with "runtime" is this machine's: {"runtime": "onnxruntime", "provider":
// "TensorRT", "precision": "fp16", "engine_cache": "/var/cache/engines"}; optional are threads,
// provider, precision, provider_options and session_options (texts by name), cpu_fallback,
// engine_cache, cold_cache, build_timeout_seconds, run_timeout_seconds, memory_mib. Any other is
// CommandDevice::Open's business, and checked there. Both may have device,
// device_class, worker, and gate: {"max_celsius": 60, "patience_seconds": 120}.
// docs/device-recipes.md has examples.
//
// InvalidArgument names the key that is wrong. Whether the provider can be had is not tried.
absl::StatusOr<DeviceFile> ParseDeviceFile(absl::string_view json);

}  // namespace forall

#endif  // FORALL_LATENCY_DEVICE_DEVICE_FILE_H_
