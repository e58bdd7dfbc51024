// SPDX-License-Identifier: Apache-2.0
// forall-worker: one process on a machine with hardware.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "data/prepared_dataset.h"
#include "evaluator/accuracy/accuracy_evaluator.h"
#include "evaluator/worker/artifact_client.h"
#include "evaluator/worker/device_probe.h"
#include "evaluator/worker/fleet_client.h"
#include "evaluator/worker/local_task_executor.h"
#include "evaluator/worker/worker.h"
#include "evaluator/worker/worker_flags.h"
#include "latency/child/measuring_child.h"
#include "latency/device/command_device.h"
#include "latency/measure/controls.h"

namespace forall {
namespace {

// Drains the worker at the first SIGTERM or SIGINT, ends the process at the second. The signals
// must be blocked in all threads before it is made.
class SignalWatch {
 public:
  explicit SignalWatch(Worker* worker) : thread_("signals", [worker] { Watch(worker); }) {}
  ~SignalWatch() {
    kill(getpid(), SIGUSR1);
    thread_.Join();
  }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  static void BlockSignals() {
    const sigset_t set = Signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }

 private:
  static sigset_t Signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    return set;
  }

  static void Watch(Worker* worker) {
    const sigset_t set = Signals();
    bool draining = false;
    while (true) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0) continue;
      if (signal == SIGUSR1) return;
      if (draining) _exit(128 + signal);
      draining = true;
      worker->Drain();
    }
  }

  Thread thread_;
};

// The folder of datasets that somebody named must be there; the default need not.
bool NamesMissingFolder(const WorkerFlags& flags) {
  return flags.data_named && access(flags.data.c_str(), R_OK | X_OK) != 0;
}

// The datasets whose files are there.
std::vector<std::string> OfferedDatasets(const std::string& directory,
                                         LocalTaskExecutor* executor) {
  std::vector<std::string> offered;
  std::vector<std::string> names = PreparedNames(directory);
  names.insert(names.begin(), "fashion_mnist");
  for (const std::string& name : names) {
    const absl::Status status = executor->GetDataset(name, Split::kValidation).status();
    if (status.ok()) {
      offered.push_back(name);
    } else {
      FORALL_LOG(WARNING) << "this worker cannot export or evaluate with a dataset (--data or "
                             "FORALL_DATA names the folder): "
                          << status.message();
    }
  }
  return offered;
}

v1::RegisterWorkerRequest Registration(const WorkerFlags& flags, const Environment& environment,
                                       const BackendDescription& backend,
                                       const std::vector<std::string>& datasets) {
  const std::string host = IdFromHostname();
  v1::RegisterWorkerRequest request;
  request.set_worker_id(flags.id.empty() ? host : flags.id);
  *request.mutable_device() = DescribeDevice(
      environment, flags.device.empty() ? host : flags.device,
      flags.device_class.empty() ? DefaultDeviceClass(environment) : flags.device_class);
  *request.mutable_profile() = DescribeProfile(environment, backend);
  request.set_build(FORALL_VERSION);
  for (const std::string& dataset : datasets) request.add_datasets(dataset);
  for (const v1::Task::Kind kind : flags.kinds) request.add_kinds(kind);
  return request;
}

absl::StatusOr<std::unique_ptr<CommandDevice>> OpenDevice(const std::string& path) {
  const absl::StatusOr<std::string> file = ReadFile(path);
  if (!file.ok()) return WithContext(file.status(), "--timing");
  absl::StatusOr<std::unique_ptr<CommandDevice>> device = CommandDevice::Open(*file);
  if (!device.ok()) return WithContext(device.status(), absl::StrCat("--timing: ", path));
  return device;
}

absl::Status RunWorker(const WorkerFlags& flags) {
  const EnvironmentProbe probe;
  Environment environment = probe.Probe();
  std::vector<std::string> denied_controls = DeniedControls();
  std::unique_ptr<CommandDevice> device_elsewhere;
  HostLock::Options lock_options;
  if (!flags.timing.empty()) {
    FORALL_ASSIGN_OR_RETURN(device_elsewhere, OpenDevice(flags.timing));
    FORALL_ASSIGN_OR_RETURN(environment, device_elsewhere->Probe());
    denied_controls = {"all: another device's cores and frequencies are set there"};
    // One measurement at a time on a device, whoever measures and whatever name it goes by; and
    // where the way leads to this machine, no other work meanwhile.
    if (device_elsewhere->way() != "local") {
      lock_options.path = absl::StrCat("/tmp/forall-timing-",
                                       Sha256Hex(device_elsewhere->way()).substr(0, 16), ".lock");
    }
  }
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxRuntimeBackend> backend,
                          OnnxRuntimeBackend::Create(OnnxRuntimeBackend::Options{}));
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<HostLock> host_lock, HostLock::Open(lock_options));
  const auto channel = ConnectToController(flags.controller);
  ArtifactClient::Options artifact_options;
  artifact_options.cache_directory = flags.cache;
  artifact_options.cache_bytes = flags.cache_mib << 20;
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactClient> artifacts,
                          ArtifactClient::Create(channel, artifact_options));
  LocalTaskExecutor::Options executor_options;
  executor_options.artifacts = artifacts.get();
  executor_options.host_lock = host_lock.get();
  executor_options.probe = &probe;
  executor_options.data_directory = flags.data;
  executor_options.measuring_child = MeasuringChildCommand();
  if (device_elsewhere != nullptr) {
    executor_options.probe = nullptr;  // It looks at this machine.
    executor_options.device_backend = device_elsewhere->backend();
    executor_options.read_notes = [&device_elsewhere, &environment] {
      std::map<std::string, std::string> notes = environment.Fields();
      for (const auto& [name, value] : device_elsewhere->ReadSensors()) notes[name] = value;
      return notes;
    };
  }
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<LocalTaskExecutor> executor,
                          LocalTaskExecutor::Create(std::move(executor_options)));

  FleetClient fleet(channel, FleetClient::Options{});
  Worker::Options options;
  options.fleet = &fleet;
  options.executor = executor.get();
  options.controller = flags.controller;
  options.threads = flags.threads > 0 ? flags.threads : UsableCores();
  options.registration =
      device_elsewhere == nullptr
          ? Registration(flags, environment, backend->Describe(),
                         OfferedDatasets(flags.data, executor.get()))
          : Registration(flags, environment, device_elsewhere->backend()->Describe(), {});
  if (device_elsewhere != nullptr) {
    (*options.registration.mutable_device()->mutable_properties())["reached_by"] =
        device_elsewhere->way();
  }
  options.backoff.seed = Fnv1a64(absl::StrCat(options.registration.worker_id(), getpid()));

  if (!denied_controls.empty()) {
    (*options.registration.mutable_device()->mutable_properties())["denied_controls"] =
        absl::StrJoin(denied_controls, "; ");
  }
  const v1::Device& device = options.registration.device();
  FORALL_LOG(INFO) << "forall-worker " << FORALL_VERSION << " on " << device.description()
                   << " worker=" << options.registration.worker_id() << " device=" << device.name()
                   << " class=" << device.device_class()
                   << " runtime=" << options.registration.profile().runtime() << "-"
                   << options.registration.profile().runtime_version()
                   << " threads=" << options.threads
                   << " datasets=" << absl::StrJoin(options.registration.datasets(), ",")
                   << " data=" << flags.data << " cache=" << flags.cache
                   << " controller=" << flags.controller;
  for (const std::string& warning : environment.warnings) {
    FORALL_LOG(WARNING) << "timing here may be noisy: " << warning;
  }
  for (const std::string& denied : denied_controls) {
    FORALL_LOG(WARNING) << "control denied: " << denied;
  }
  Worker worker(std::move(options));
  const SignalWatch signals(&worker);
  return worker.Run();
}

int Main(const std::vector<std::string>& arguments) {
  SignalWatch::BlockSignals();
  const absl::StatusOr<WorkerFlags> flags =
      ParseWorkerFlags(arguments, [](const char* name) -> const char* { return getenv(name); });
  if (!flags.ok()) {
    std::fprintf(stderr, "forall-worker: %s\n", std::string(flags.status().message()).c_str());
    return 2;
  }
  if (flags->help || flags->version) {
    std::fputs(flags->help ? WorkerUsage().c_str() : "forall-worker " FORALL_VERSION "\n", stdout);
    return 0;
  }
  if (NamesMissingFolder(*flags)) {
    std::fprintf(
        stderr,
        "forall-worker: --data: %s is no folder that can be read; leave the flag out for a "
        "worker that only times\n",
        flags->data.c_str());
    return 2;
  }
  if (flags->verbose) SetLogLevel(LogLevel::DEBUG);
  if (const absl::Status status = RunWorker(*flags); !status.ok()) {
    FORALL_LOG(ERROR) << "forall-worker cannot go on: " << status.message();
    return 1;
  }
  FORALL_LOG(INFO) << "drained";
  return 0;
}

}  // namespace
}  // namespace forall

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == forall::kMeasuringChild) {
    return forall::MeasuringChildMain(&forall::MakeBackend);
  }
  return forall::Main(std::vector<std::string>(argv + 1, argv + argc));
}
