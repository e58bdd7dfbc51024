// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/device_plan.h"

#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/status_macros.h"
#include "evaluator/worker/device_probe.h"
#include "latency/device/command_device.h"

namespace forall {
namespace {

absl::StatusOr<DeviceFile> ReadDeviceFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok())
    return absl::InvalidArgumentError(absl::StrCat("--timing: ", text.status().message()));
  absl::StatusOr<DeviceFile> file = ParseDeviceFile(*text);
  if (!file.ok()) return WithContext(file.status(), absl::StrCat("--timing: ", path));
  return file;
}

absl::StatusOr<DevicePlan> PlanFile(const WorkerFlags& flags, const std::string& path) {
  DevicePlan plan;
  plan.path = path;
  FORALL_ASSIGN_OR_RETURN(plan.file, ReadDeviceFile(path));
  const bool only = flags.timing.size() == 1 && !flags.local;
  plan.device = plan.file->device;
  plan.device_class = plan.file->device_class;
  if (only && !flags.device.empty()) plan.device = flags.device;
  if (only && !flags.device_class.empty()) plan.device_class = flags.device_class;
  if (plan.elsewhere()) {
    FORALL_RETURN_IF_ERROR(
        WithContext(CommandDevice::Check(plan.file->command), absl::StrCat("--timing: ", path)));
    for (const auto& [name, value] :
         {std::pair("device", plan.device), std::pair("device_class", plan.device_class)}) {
      if (!value.empty()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "--timing: ", path, ": ", name, ": required of a device that is not this machine",
          only ? absl::StrCat(" (here, or as --", absl::StrReplaceAll(name, {{"_", "-"}}), ")")
               : ""));
    }
  } else if (const int cores = UsableCores(); plan.file->runtime.backend.threads > cores) {
    return absl::InvalidArgumentError(
        absl::StrCat("--timing: ", path, ": threads: ", plan.file->runtime.backend.threads,
                     ", but this machine has ", cores, cores == 1 ? " core" : " cores"));
  }
  if (plan.device.empty()) plan.device = IdFromHostname();
  plan.worker_id = plan.file->worker;
  if (plan.worker_id.empty() && only) plan.worker_id = flags.id;
  if (plan.worker_id.empty()) {
    // Beside the worker that this machine has already.
    plan.worker_id = plan.elsewhere()
                         ? plan.device
                         : absl::StrCat(plan.device, "-",
                                        absl::AsciiStrToLower(plan.file->runtime.backend.provider));
  }
  FORALL_RETURN_IF_ERROR(CheckWorkerId(absl::StrCat("--timing: ", path, ": device"), plan.device));
  FORALL_RETURN_IF_ERROR(
      CheckWorkerId(absl::StrCat("--timing: ", path, ": worker"), plan.worker_id));
  plan.kinds = {v1::Task::LATENCY};
  return plan;
}

absl::Status PlanConfinement(const WorkerFlags& flags, std::vector<DevicePlan>* plans) {
  const absl::StatusOr<Confinement> asked = ConfinementAs(flags.measure_as);
  if (!asked.ok()) return WithContext(asked.status(), "--measure-as");
  const Confinement& confinement = *asked;
  for (DevicePlan& plan : *plans) {
    if (plan.elsewhere()) continue;
    plan.confinement = confinement;
    // Those of accelerators talk to parts of themselves that way.
    const std::string provider =
        plan.file.has_value() ? plan.file->runtime.backend.provider : "cpu";
    plan.confinement.local_sockets = provider != "cpu" && provider != "XNNPACK";
    if (!plan.file.has_value() || !confinement.user.has_value()) continue;
    const std::string& engines = plan.file->runtime.backend.engine_cache;
    if (engines.empty() || MayWriteIn(engines, *confinement.user).value_or(true)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--timing: ", plan.path, ": engine_cache: \"", engines,
                     "\" must be a folder in which user ", confinement.user->uid,
                     ", as whom models are measured, can make files: chown it, or choose "
                     "another with --measure-as"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<DevicePlan>> PlanDevices(const WorkerFlags& flags) {
  std::vector<DevicePlan> plans;
  if (flags.timing.empty() || flags.local) {
    DevicePlan here;
    here.device = flags.device.empty() ? IdFromHostname() : flags.device;
    here.worker_id = flags.id.empty() ? IdFromHostname() : flags.id;
    here.device_class = flags.device_class;
    here.kinds = flags.kinds;
    plans.push_back(std::move(here));
  }
  for (const std::string& path : flags.timing) {
    FORALL_ASSIGN_OR_RETURN(DevicePlan plan, PlanFile(flags, path));
    plans.push_back(std::move(plan));
  }
  FORALL_RETURN_IF_ERROR(PlanConfinement(flags, &plans));
  std::set<std::string> names;
  std::map<std::string, bool> elsewhere;
  for (const DevicePlan& plan : plans) {
    const auto [place, fresh] = elsewhere.emplace(plan.device, plan.elsewhere());
    if (!fresh && (plan.elsewhere() || place->second)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--timing: two pieces of hardware are called device \"", plan.device,
                       "\": change the \"device\" of one of the files"));
    }
    if (!names.insert(plan.worker_id).second) {
      return absl::InvalidArgumentError(absl::StrCat("--timing: two workers would be called \"",
                                                     plan.worker_id,
                                                     "\": give one of the files a \"worker\""));
    }
  }
  return plans;
}

}  // namespace forall
