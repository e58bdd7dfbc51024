// SPDX-License-Identifier: Apache-2.0
// The command line of forall-worker.
#ifndef FORALL_EVALUATOR_WORKER_WORKER_FLAGS_H_
#define FORALL_EVALUATOR_WORKER_WORKER_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "net/controller_access.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

struct WorkerFlags {
  ControllerAccess access;
  // "" for what the machine's name gives.
  std::string id;
  std::string device;
  // "" for the processor's architecture.
  std::string device_class;
  std::string data;
  bool data_named = false;  // by --data or FORALL_DATA
  std::string cache;
  int64_t cache_mib = 4096;
  // Device files (latency/device/device_file.h): latencies are taken as each says, one worker at
  // the controller for each. Empty: this machine's, by default settings.
  std::vector<std::string> timing;
  // Serves this machine as well as the devices of `timing`.
  bool local = false;
  // Holds sys/ with power sensors; "": the machine's own.
  std::string sysfs;
  // 0: one per usable core.
  int threads = 0;
  // As ConfinementAs (latency/child/confinement.h).
  std::string measure_as;
  // Largest private memory of a measuring process where its --timing file says nothing; 0: what the
  // machine has.
  int64_t model_memory_mib = 0;
  // All when empty.
  std::vector<v1::Task::Kind> kinds;
  // Which execution providers work here.
  bool providers = false;
  // Whether the device files are right, without serving anything.
  bool check = false;
  bool verbose = false;
  bool help = false;
  bool version = false;
};

// What --help prints.
std::string WorkerUsage();

// --name=value or --name value. `getenv` looks up FORALL_CONTROLLER, FORALL_DATA, XDG_CACHE_HOME,
// HOME and the variables of net/controller_access.h for defaults; it may return nullptr.
// InvalidArgument names the flag and what it takes.
absl::StatusOr<WorkerFlags> ParseWorkerFlags(const std::vector<std::string>& arguments,
                                             const char* (*getenv)(const char*));

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_WORKER_FLAGS_H_
