// SPDX-License-Identifier: Apache-2.0
// The way to a device: runs programs there, takes files there and back. One implementation per way:
// local_transport.h, ssh_transport.h, adb_transport.h.
#ifndef FORALL_LATENCY_TRANSPORT_TRANSPORT_H_
#define FORALL_LATENCY_TRANSPORT_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/child_process.h"

namespace forall {

struct TransportRun {
  // The program on the device, looked up in its PATH unless it has a slash, and its arguments.
  std::vector<std::string> argv = {};
  // "NAME=value", added to the device's.
  std::vector<std::string> environment = {};
  absl::Duration timeout = absl::InfiniteDuration();
  // Asked every tenth of a second; may be empty.
  std::function<bool()> cancelled = {};
};

struct TransportDescription {
  std::string kind = {};    // "local", "ssh", "adb"
  std::string target = {};  // "user@host:22", a serial number; "" for local
};

// Name to value, in the unit that the name ends in: "thermal_cpu0_celsius",
// "battery_level_percent". What a device does not tell is absent, never zero.
using SensorReadings = std::map<std::string, double>;

// Thread-safe.
class Transport {
 public:
  virtual ~Transport() = default;

  // Runs a program to its end; its standard input is empty. An exit code other than 0 is no error
  // of this function; 127 says that the program is not there, 126 that it may not run. Errors:
  // Unavailable when the device cannot be reached, after retries; PermissionDenied or
  // FailedPrecondition when it never will be as things are; DeadlineExceeded and Cancelled, after
  // which the program was killed on the device too if that could be reached; ResourceExhausted for
  // too much output.
  virtual absl::StatusOr<ProgramOutput> Run(const TransportRun& run) = 0;

  // The path on the device of a file with these bytes: directory()/SHA256.EXTENSION. Sent only when
  // it is not there yet, under a temporary name that is renamed once size and hash were checked, so
  // that whoever sees the path sees the whole file. `extension` is letters, digits and dots.
  virtual absl::StatusOr<std::string> Push(absl::string_view bytes,
                                           absl::string_view extension) = 0;

  // A file's bytes. NotFound when it is not there, ResourceExhausted above `max_bytes`.
  virtual absl::StatusOr<std::string> Fetch(const std::string& path, int64_t max_bytes) = 0;

  // The text of a small file such as those in sysfs, without the white space at its end.
  virtual absl::StatusOr<std::string> ReadText(const std::string& path) = 0;

  // Temperatures, and the battery where the device tells of one. Unavailable as in Run.
  virtual absl::StatusOr<SensorReadings> ReadSensors() = 0;

  // The folder on the device that is forall's own. Files there may be removed at any time once
  // they have not been touched for long.
  virtual const std::string& directory() const = 0;

  virtual TransportDescription Describe() const = 0;
};

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_TRANSPORT_H_
