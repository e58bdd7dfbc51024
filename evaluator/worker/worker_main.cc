// SPDX-License-Identifier: Apache-2.0
// forall-worker: one process on a machine with hardware.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "evaluator/worker/artifact_client.h"
#include "evaluator/worker/device_check.h"
#include "evaluator/worker/fleet_client.h"
#include "evaluator/worker/reference_network.h"
#include "evaluator/worker/served_device.h"
#include "evaluator/worker/worker_flags.h"
#include "evaluator/worker/worker_instance.h"
#include "latency/child/measuring_child.h"
#include "net/controller_access.h"
#include "runtime/execution_provider.h"

namespace forall {
namespace {

// Drains the workers at the first SIGTERM or SIGINT, ends the process at the second. The signals
// must be blocked in all threads before it is made.
class SignalWatch {
 public:
  explicit SignalWatch(WorkerStop* stop) : thread_("signals", [stop] { Watch(stop); }) {}
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

  static void Watch(WorkerStop* stop) {
    const sigset_t set = Signals();
    bool draining = false;
    while (true) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0) continue;
      if (signal == SIGUSR1) return;
      if (draining) _exit(128 + signal);
      draining = true;
      stop->Stop();
    }
  }

  Thread thread_;
};

// The folder of datasets that somebody named must be there; the default need not.
bool NamesMissingFolder(const WorkerFlags& flags) {
  return flags.data_named && access(flags.data.c_str(), R_OK | X_OK) != 0;
}

absl::Status PrintProviders() {
  FORALL_ASSIGN_OR_RETURN(const ReferenceNetwork reference, BuildReferenceNetwork());
  FORALL_ASSIGN_OR_RETURN(const std::vector<ProviderOffer> offers, TryProviders(reference.onnx));
  for (const ProviderOffer& offer : offers) {
    std::printf("%-10s %s\n", offer.name.c_str(),
                offer.status.ok() ? "works" : std::string(offer.status.message()).c_str());
  }
  return absl::OkStatus();
}

// Every device has a thread of its own. One that cannot be served does not end the others.
absl::Status ServeAll(const ServedDevice::Process& process, const std::vector<DevicePlan>& plans) {
  std::vector<absl::Status> statuses(plans.size());
  {
    std::vector<Thread> threads;
    for (size_t i = 0; i < plans.size(); ++i) {
      threads.emplace_back("device", [&process, &plans, &statuses, i] {
        statuses[i] = Serve(process, plans[i]);
        if (!statuses[i].ok() && plans.size() > 1) {
          FORALL_LOG(ERROR) << "devices/" << plans[i].device
                            << " is not served: " << statuses[i].message();
        }
      });
    }
  }
  for (const absl::Status& status : statuses) FORALL_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

absl::Status RunWorkers(const WorkerFlags& flags, std::vector<DevicePlan> plans) {
  // Before anything else: what another process does must not be disturbed.
  std::vector<std::unique_ptr<WorkerInstance>> instances;
  for (DevicePlan& plan : plans) {
    FORALL_ASSIGN_OR_RETURN(instances.emplace_back(),
                            WorkerInstance::Acquire(flags.cache, plan.worker_id));
    plan.instance = instances.back()->text();
  }
  const EnvironmentProbe probe;
  ServedDevice::Process process;
  process.flags = &flags;
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials,
                          MakeChannelCredentials(flags.access));
  process.channel = ConnectToController(flags.access.address, credentials);
  process.probe = &probe;
  ArtifactClient::Options artifact_options;
  artifact_options.cache_directory = flags.cache;
  artifact_options.cache_bytes = flags.cache_mib << 20;
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactClient> artifacts,
                          ArtifactClient::Create(process.channel, artifact_options));
  process.artifacts = artifacts.get();
  WorkerStop stop;
  process.stop = &stop;
  const SignalWatch signals(&stop);
  return ServeAll(process, plans);
}

absl::Status CheckDevices(const WorkerFlags& flags) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<DevicePlan> plans, PlanDevices(flags));
  absl::Status first;
  for (const DevicePlan& plan : plans) {
    const absl::StatusOr<std::string> text = CheckPlan(plan, flags.sysfs);
    if (text.ok()) {
      std::fputs(text->c_str(), stdout);
    } else if (first.ok()) {
      first = text.status();
    } else {
      std::fprintf(stderr, "forall-worker: %s\n", std::string(text.status().message()).c_str());
    }
  }
  return first;
}

int Main(const std::vector<std::string>& arguments) {
  SignalWatch::BlockSignals();
  const absl::StatusOr<WorkerFlags> flags =
      ParseWorkerFlags(arguments, [](const char* name) -> const char* { return getenv(name); });
  if (!flags.ok()) {
    std::fprintf(stderr, "forall-worker: %s\n", std::string(flags.status().message()).c_str());
    return 2;
  }
  // The programs that it starts (models of strangers among them) need no token.
  unsetenv("FORALL_TOKEN");
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
  if (flags->providers) {
    const absl::Status status = PrintProviders();
    if (status.ok()) return 0;
    std::fprintf(stderr, "forall-worker: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  if (flags->check) {
    const absl::Status status = CheckDevices(*flags);
    if (status.ok()) return 0;
    std::fprintf(stderr, "forall-worker: %s\n", std::string(status.message()).c_str());
    return 2;
  }
  // Nothing gets better by starting again.
  const absl::StatusOr<std::vector<DevicePlan>> plans = PlanDevices(*flags);
  if (!plans.ok()) {
    std::fprintf(stderr, "forall-worker: %s\n", std::string(plans.status().message()).c_str());
    return 2;
  }
  if (const absl::Status status = RunWorkers(*flags, *plans); !status.ok()) {
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
    return forall::MeasuringChildMain(&forall::MakeBackend, argc, argv, &forall::PreloadRuntime);
  }
  return forall::Main(std::vector<std::string>(argv + 1, argv + argc));
}
