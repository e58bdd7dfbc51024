// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/device_check.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "evaluator/worker/device_probe.h"
#include "evaluator/worker/reference_network.h"
#include "evaluator/worker/served_device.h"
#include "latency/backend/onnxruntime_backend.h"
#include "latency/device/command_device.h"
#include "latency/measure/environment.h"
#include "latency/sensor/peak_memory.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

absl::Status Missing(const DevicePlan& plan, const std::string& key, const std::string& what) {
  return absl::FailedPreconditionError(
      absl::StrCat("--timing: ", plan.path, ": ", key, ": ", what));
}

bool IsProgram(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         access(path.c_str(), X_OK) == 0;
}

// As execvp(3) finds it.
bool ProgramIsThere(const std::string& program) {
  if (program.find('/') != std::string::npos) return IsProgram(program);
  const char* const path = std::getenv("PATH");
  for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
    if (IsProgram(absl::StrCat(folder.empty() ? "." : folder, "/", program))) return true;
  }
  return false;
}

std::string Line(const char* head, const std::string& text) {
  return absl::StrFormat("  %-10s %s\n", head, text);
}

std::string Threads(int threads) {
  return absl::StrCat(threads, threads == 1 ? " thread" : " threads");
}

std::string MeasuresText(const DevicePlan& plan, bool memory, const std::string& sysfs) {
  std::vector<std::string> metrics = {kMedianLatency};
  for (const MetricInfo& metric : Metrics()) {
    if (metric.percentile > 0 || (memory && metric.id == kPeakMemory)) metrics.push_back(metric.id);
  }
  const absl::StatusOr<std::unique_ptr<EnergySensors>> energy = FindEnergySensors(plan, sysfs);
  if (energy.ok()) metrics.emplace_back(kEnergy);
  return absl::StrCat(absl::StrJoin(metrics, ", "),
                      energy.ok()
                          ? absl::StrCat(" by ", (*energy)->Describe())
                          : absl::StrCat("; no ", kEnergy, ": ", energy.status().message()));
}

std::string TasksText(const DevicePlan& plan) {
  if (plan.kinds.empty()) return "export, accuracy, latency";
  return absl::StrJoin(plan.kinds, ", ", [](std::string* out, v1::Task::Kind kind) {
    absl::StrAppend(out, absl::AsciiStrToLower(v1::Task::Kind_Name(kind)));
  });
}

std::string GateText(const DevicePlan& plan) {
  if (!plan.file.has_value() || plan.file->gate.max_celsius == 0) return "";
  return Line("gate", absl::StrCat("at most ", plan.file->gate.max_celsius, " °C, waited for ",
                                   absl::FormatDuration(plan.file->gate.patience)));
}

absl::StatusOr<std::string> CheckElsewhere(const DevicePlan& plan, const std::string& sysfs) {
  const std::string context = absl::StrCat("--timing: ", plan.path);
  const absl::StatusOr<CommandOutline> outline = CommandDevice::Outline(plan.file->command);
  if (!outline.ok()) return WithContext(outline.status(), context);
  for (const auto& [key, program] : outline->programs) {
    if (ProgramIsThere(program)) continue;
    return Missing(
        plan, key,
        absl::StrCat("the program \"", program, "\" is not on this machine",
                     program.find('/') == std::string::npos ? " (looked for in PATH)" : ""));
  }
  for (const auto& [key, path] : outline->files) {
    if (access(path.c_str(), R_OK) == 0) continue;
    return Missing(plan, key, absl::StrCat("\"", path, "\" cannot be read"));
  }
  std::string text =
      Line("backend",
           absl::StrCat("recipe ", outline->recipe, " on ", outline->provider, ", ",
                        outline->precision, ", ", Threads(outline->threads), ", ",
                        outline->runs_per_call, " runs a call; reached by ", outline->way)) +
      Line("measures", MeasuresText(plan, /*memory=*/false, sysfs)) + GateText(plan);
  if (!outline->programs_there.empty()) {
    text += Line("not seen", absl::StrCat("whether the device can be reached, and has ",
                                          absl::StrJoin(outline->programs_there, " and "),
                                          ": only a worker goes there"));
  }
  return text;
}

absl::StatusOr<std::string> CheckHere(const DevicePlan& plan, const std::string& sysfs) {
  OnnxRuntimeBackend::Options options =
      plan.file.has_value() ? plan.file->runtime.backend : OnnxRuntimeBackend::Options();
  if (!options.engine_cache.empty()) {
    if (access(options.engine_cache.c_str(), W_OK | X_OK) != 0) {
      return Missing(
          plan, "engine_cache",
          absl::StrCat("\"", options.engine_cache, "\" is no folder that can be written to"));
    }
    options.engine_cache.clear();  // Nothing is left there.
  }
  FORALL_ASSIGN_OR_RETURN(const ReferenceNetwork reference, BuildReferenceNetwork());
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxRuntimeBackend> backend,
                          OnnxRuntimeBackend::Create(options));
  if (const absl::Status session = backend->Prepare(reference.onnx, SessionMemory::kFresh).status();
      !session.ok()) {
    if (!plan.file.has_value()) return session;
    return Missing(plan, options.provider == "cpu" ? "runtime" : "provider",
                   absl::StrCat(options.provider, " cannot be had here: ", session.message(),
                                " (forall-worker --providers lists those that can)"));
  }
  const BackendDescription description = backend->Describe();
  const bool cold = plan.file.has_value() && plan.file->runtime.cold_cache;
  return Line("backend", absl::StrCat(description.runtime, " ", description.runtime_version, " on ",
                                      description.provider, ", ", description.precision, ", ",
                                      Threads(description.threads), cold ? ", cold caches" : "")) +
         Line("measures", MeasuresText(plan, PeakMemoryProbe().Reset().ok(), sysfs)) +
         GateText(plan);
}

}  // namespace

absl::StatusOr<std::string> CheckPlan(const DevicePlan& plan, const std::string& sysfs) {
  FORALL_ASSIGN_OR_RETURN(const std::string text,
                          plan.elsewhere() ? CheckElsewhere(plan, sysfs) : CheckHere(plan, sysfs));
  const std::string device_class = plan.device_class.empty()
                                       ? DefaultDeviceClass(EnvironmentProbe().Probe())
                                       : plan.device_class;
  return absl::StrCat(
      "worker ", plan.worker_id, plan.path.empty() ? "" : ", by ", plan.path, "\n",
      Line("device", absl::StrCat("devices/", plan.device, " (", device_class, "), ",
                                  plan.elsewhere() ? "by its own program" : "this machine")),
      Line("tasks", TasksText(plan)), text);
}

}  // namespace forall
