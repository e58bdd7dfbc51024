// SPDX-License-Identifier: Apache-2.0
// A device that measures with a program of its own, as a file describes it: how to get there
// (latency/transport/), and what to run (latency/backend/recipe.h).
#ifndef FORALL_LATENCY_DEVICE_COMMAND_DEVICE_H_
#define FORALL_LATENCY_DEVICE_COMMAND_DEVICE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "latency/backend/command_backend.h"
#include "latency/measure/environment.h"
#include "latency/transport/transport.h"

namespace forall {

// What a device file describes, as far as it can be told without going to the device.
struct CommandOutline {
  std::string way;     // "ssh me@orin:22"
  std::string recipe;  // its name
  std::string provider;
  std::string precision;
  int threads = 1;
  int runs_per_call = 0;
  // What it needs on this machine, by the key that asks for it: programs, looked up in PATH unless
  // they have a slash, and files.
  std::vector<std::pair<std::string, std::string>> programs;
  std::vector<std::pair<std::string, std::string>> files;
  // What it needs on the device; empty where the device is this machine.
  std::vector<std::string> programs_there;
};

// Thread-safe.
class CommandDevice {
 public:
  // The file is JSON: {"transport": {"kind": "ssh", "host": "orin", "directory": "/tmp"}, "recipe":
  // "trtexec"}. Required: transport with its kind ("local", "ssh" or "adb") and directory (adb has
  // a usual one), of ssh also host, of adb also serial; recipe, as MakeRecipe takes it. Optional:
  // precision, threads, runs_per_call, build_timeout_seconds, run_timeout_seconds; of ssh user,
  // port, known_hosts, identity; of ssh and adb cpu_mask. docs/device-recipes.md has an example of
  // each.
  //
  // Whether Open would understand it, without going anywhere. InvalidArgument names the key that is
  // wrong.
  static absl::Status Check(absl::string_view json);
  // The same, and what it would be.
  static absl::StatusOr<CommandOutline> Outline(absl::string_view json);
  // Goes to the device and asks its program for the version. InvalidArgument names the key that is
  // wrong; the errors of CommandBackend::Create. `cancelled` (may be empty) is asked while programs
  // run, by whichever thread waits for them, for as long as the device lives.
  static absl::StatusOr<std::unique_ptr<CommandDevice>> Open(absl::string_view json,
                                                             std::function<bool()> cancelled = {});

  CommandBackend* backend() { return backend_.get(); }
  // "ssh me@orin:22".
  std::string way() const;

  // What the device's procfs and sysfs say of it, as far as a shell there can read them.
  // Unavailable when it cannot be reached, FailedPrecondition when its shell does not even tell
  // architecture and cores.
  absl::StatusOr<Environment> Probe();
  // Temperatures and battery, for the notes of a measurement; none when they cannot be read.
  std::map<std::string, std::string> ReadSensors();

 private:
  CommandDevice(std::unique_ptr<Transport> transport, std::unique_ptr<CommandBackend> backend)
      : transport_(std::move(transport)), backend_(std::move(backend)) {}

  const std::unique_ptr<Transport> transport_;
  const std::unique_ptr<CommandBackend> backend_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_DEVICE_COMMAND_DEVICE_H_
