// SPDX-License-Identifier: Apache-2.0
// Which devices a worker process is to serve, from its command line and the files that it names.
#ifndef FORALL_EVALUATOR_WORKER_DEVICE_PLAN_H_
#define FORALL_EVALUATOR_WORKER_DEVICE_PLAN_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "evaluator/worker/worker_flags.h"
#include "latency/child/confinement.h"
#include "latency/device/device_file.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// What is to be served, and what it is called.
struct DevicePlan {
  std::string worker_id;
  std::string device;
  std::string device_class;  // "": by the processor's architecture
  std::vector<v1::Task::Kind> kinds;
  std::string path;  // of the file
  // Nothing: this machine by default settings, with its datasets.
  std::optional<DeviceFile> file;
  // What a model of this machine is loaded in.
  Confinement confinement;
  // Which process serves it (WorkerInstance); filled in by that process.
  std::string instance;

  // Whether it is another piece of hardware than this machine.
  bool elsewhere() const { return file.has_value() && !file->command.empty(); }
};

// Reads the files of --timing. InvalidArgument naming flag and file for one that is wrong, for a
// device without a name, for two workers with one name, for a --measure-as that cannot be, and for
// a folder of engines that it may not write to.
absl::StatusOr<std::vector<DevicePlan>> PlanDevices(const WorkerFlags& flags);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_DEVICE_PLAN_H_
