// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/served_device.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/cut_text.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "data/prepared_dataset.h"
#include "evaluator/worker/device_probe.h"
#include "latency/child/measuring_child.h"
#include "latency/measure/controls.h"
#include "latency/sensor/power_sensor.h"

namespace forall {
namespace {

constexpr size_t kMostPropertyBytes = 1000;
constexpr absl::Duration kUnreachablePause = absl::Seconds(15);

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

}  // namespace

absl::StatusOr<std::unique_ptr<EnergySensors>> FindEnergySensors(const DevicePlan& plan,
                                                                 const std::string& sysfs) {
  if (plan.elsewhere()) {
    return absl::UnavailableError("another device's power sensors are not read yet");
  }
  PowerSensors found = DiscoverPowerSensors(sysfs);
  const OnnxRuntimeBackend::Options backend =
      plan.file.has_value() ? plan.file->runtime.backend : OnnxRuntimeBackend::Options();
  if (backend.provider == "cpu" || backend.provider == "XNNPACK") {
    return EnergySensors::Choose(std::move(found));
  }
  if (backend.provider != "CUDA" && backend.provider != "TensorRT") {
    return absl::UnavailableError(absl::StrCat("the energy of execution provider ",
                                               backend.provider, " is not measured yet"));
  }
  const auto id = backend.provider_options.find("device_id");
  return EnergySensors::Choose(
      std::move(found),
      absl::StrCat("gpu-", id == backend.provider_options.end() ? "0" : id->second));
}

void WorkerStop::Stop() {
  MutexLock lock(&mu_);
  stopped_ = true;
  changed_.SignalAll();
  for (Worker* const worker : workers_) worker->Drain();
}

bool WorkerStop::stopped() const {
  MutexLock lock(&mu_);
  return stopped_;
}

void WorkerStop::Wait(absl::Duration duration) {
  Clock* const clock = Clock::Real();
  const int64_t until = clock->SteadyNanos() + absl::ToInt64Nanoseconds(duration);
  MutexLock lock(&mu_);
  while (!stopped_) {
    const absl::Duration left = absl::Nanoseconds(until - clock->SteadyNanos());
    if (left <= absl::ZeroDuration()) return;
    changed_.WaitWithTimeout(&mu_, left);
  }
}

void WorkerStop::Add(Worker* worker) {
  MutexLock lock(&mu_);
  workers_.push_back(worker);
  if (stopped_) worker->Drain();
}

void WorkerStop::Remove(Worker* worker) {
  MutexLock lock(&mu_);
  workers_.erase(std::remove(workers_.begin(), workers_.end(), worker), workers_.end());
}

absl::StatusOr<std::unique_ptr<ServedDevice>> ServedDevice::Open(const Process& process,
                                                                 const DevicePlan& plan) {
  std::unique_ptr<ServedDevice> device(new ServedDevice(process, plan));
  FORALL_RETURN_IF_ERROR(device->Prepare());
  return device;
}

absl::Status ServedDevice::PrepareElsewhere(LocalTaskExecutor::Options* options,
                                            HostLock::Options* lock) {
  FORALL_ASSIGN_OR_RETURN(elsewhere_, CommandDevice::Open(plan_.file->command, [this] {
                            return relay_.stopped() ||
                                   (worker_ == nullptr && process_.stop->stopped());
                          }));
  FORALL_ASSIGN_OR_RETURN(environment_, elsewhere_->Probe());
  denied_controls_ = {"cores, frequency, priority: they are set on the device itself"};
  // One measurement at a time on a device, whoever measures and whatever name it goes by; and where
  // the way leads to this machine, no other work meanwhile.
  if (elsewhere_->way() != "local") {
    lock->path =
        absl::StrCat("/tmp/forall-timing-", Sha256Hex(elsewhere_->way()).substr(0, 16), ".lock");
  }
  options->probe = nullptr;  // It looks at this machine.
  options->device_backend = elsewhere_->backend();
  options->stop_relay = &relay_;
  options->read_notes = [this] {
    std::map<std::string, std::string> notes = environment_.Fields();
    for (const auto& [name, value] : elsewhere_->ReadSensors()) notes[name] = value;
    return notes;
  };
  // A look there takes a call, spared where nothing is asked of the device.
  if (plan_.file->gate.max_celsius == 0) return absl::OkStatus();
  options->read_gate = [this] {
    GateReading reading;
    for (const auto& [name, value] : elsewhere_->ReadSensors()) {
      double celsius = 0;
      if (!absl::EndsWith(name, "_celsius") || !absl::SimpleAtod(value, &celsius)) continue;
      reading.celsius = std::max(celsius, reading.celsius.value_or(celsius));
    }
    return reading;
  };
  return absl::OkStatus();
}

absl::StatusOr<BackendDescription> ServedDevice::Describe() const {
  if (elsewhere_ != nullptr) return elsewhere_->backend()->Describe();
  const RuntimeDevice runtime = plan_.file.has_value() ? plan_.file->runtime : RuntimeDevice();
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxRuntimeBackend> backend,
                          OnnxRuntimeBackend::Create(runtime.backend));
  BackendDescription description = backend->Describe();
  if (runtime.cold_cache) description.settings["cold_cache"] = "yes";
  return description;
}

absl::Status ServedDevice::Prepare() {
  LocalTaskExecutor::Options options;
  HostLock::Options lock;
  options.artifacts = process_.artifacts;
  options.probe = process_.probe;
  options.data_directory = process_.flags->data;
  options.measuring_child = MeasuringChildCommand();
  if (plan_.elsewhere()) {
    FORALL_RETURN_IF_ERROR(PrepareElsewhere(&options, &lock));
  } else {
    environment_ = process_.probe->Probe();
    denied_controls_ = DeniedControls();
    if (plan_.file.has_value()) options.runtime = plan_.file->runtime;
    if (options.runtime.memory_bytes == 0) {
      options.runtime.memory_bytes = process_.flags->model_memory_mib << 20;
    }
    options.confinement = plan_.confinement;
    if (plan_.kinds.empty() ||
        std::count(plan_.kinds.begin(), plan_.kinds.end(), v1::Task::LATENCY) > 0) {
      FORALL_ASSIGN_OR_RETURN(std::vector<std::string> refused,
                              TryConfinement(options.measuring_child, options.confinement));
      std::move(refused.begin(), refused.end(), std::back_inserter(denied_controls_));
    }
    options.read_gate = [probe = process_.probe] {
      const Environment environment = probe->Probe();
      return GateReading{.celsius = environment.temperature_celsius,
                         .frequency_caps_khz = environment.frequency_caps_khz};
    };
  }
  if (plan_.file.has_value()) options.gate = plan_.file->gate;
  FORALL_ASSIGN_OR_RETURN(const BackendDescription backend, Describe());
  FORALL_ASSIGN_OR_RETURN(host_lock_, HostLock::Open(lock));
  options.host_lock = host_lock_.get();
  energy_ = FindEnergySensors(plan_, process_.flags->sysfs);
  if (energy_.ok()) options.energy_sensors = energy_->get();
  FORALL_ASSIGN_OR_RETURN(executor_, LocalTaskExecutor::Create(std::move(options)));
  fleet_ = std::make_unique<FleetClient>(process_.channel, FleetClient::Options{});

  Worker::Options worker;
  worker.fleet = fleet_.get();
  worker.executor = executor_.get();
  worker.controller = process_.flags->access.address;
  worker.threads = process_.flags->threads > 0 ? process_.flags->threads : UsableCores();
  worker.registration = Registration(
      backend, plan_.file.has_value() ? std::vector<std::string>()
                                      : OfferedDatasets(process_.flags->data, executor_.get()));
  // Another device is not asked for it: the way there may be slow, and used by a measurement.
  if (elsewhere_ == nullptr) {
    worker.read_machine = [probe = process_.probe] { return probe->Probe().Fields(); };
  }
  worker.backoff.seed = Fnv1a64(absl::StrCat(plan_.worker_id, getpid()));
  LogStart(worker.registration);
  worker_ = std::make_unique<Worker>(std::move(worker));
  return absl::OkStatus();
}

v1::RegisterWorkerRequest ServedDevice::Registration(
    const BackendDescription& backend, const std::vector<std::string>& datasets) const {
  v1::RegisterWorkerRequest request;
  request.set_worker_id(plan_.worker_id);
  request.set_instance(plan_.instance);
  v1::Device& device = *request.mutable_device();
  device = DescribeDevice(
      environment_, plan_.device,
      plan_.device_class.empty() ? DefaultDeviceClass(environment_) : plan_.device_class);
  auto& properties = *device.mutable_properties();
  if (elsewhere_ != nullptr) {
    properties["reached_by"] = elsewhere_->way();
    properties["only_batch"] = absl::StrCat(backend.batch);
  }
  properties["measures"] = absl::StrJoin(executor_->Measures(), ", ");
  if (energy_.ok()) {
    properties["energy_sensors"] = (*energy_)->Describe();
  } else {
    properties["cannot_measure_energy"] = CutText(energy_.status().message(), kMostPropertyBytes);
  }
  if (!denied_controls_.empty()) {
    properties["denied_controls"] = absl::StrJoin(denied_controls_, "; ");
  }
  *request.mutable_profile() = DescribeProfile(environment_, backend);
  request.set_build(FORALL_VERSION);
  for (const std::string& dataset : datasets) request.add_datasets(dataset);
  for (const v1::Task::Kind kind : plan_.kinds) request.add_kinds(kind);
  return request;
}

void ServedDevice::LogStart(const v1::RegisterWorkerRequest& registration) const {
  const v1::Device& device = registration.device();
  const v1::RuntimeProfile& profile = registration.profile();
  FORALL_LOG(INFO) << "forall-worker " << FORALL_VERSION << " on " << device.description()
                   << " worker=" << registration.worker_id() << " device=" << device.name()
                   << " class=" << device.device_class() << " runtime=" << profile.runtime() << "-"
                   << profile.runtime_version() << " provider=" << profile.provider()
                   << " timing_threads=" << profile.threads()
                   << " datasets=" << absl::StrJoin(registration.datasets(), ",")
                   << " data=" << process_.flags->data << " cache=" << process_.flags->cache
                   << " measures=\"" << device.properties().at("measures") << "\""
                   << " controller=" << process_.flags->access.address;
  for (const std::string& warning : environment_.warnings) {
    FORALL_LOG(WARNING) << "timing on " << device.name() << " may be noisy: " << warning;
  }
  if (!energy_.ok()) {
    FORALL_LOG(INFO) << "no energy_mj on " << device.name() << ": " << energy_.status().message();
  }
  for (const std::string& denied : denied_controls_) {
    FORALL_LOG(WARNING) << "control of " << device.name() << " denied: " << denied;
  }
}

absl::Status ServedDevice::Run() {
  process_.stop->Add(worker_.get());
  const absl::Status status = worker_->Run();
  process_.stop->Remove(worker_.get());
  return status;
}

absl::Status Serve(const ServedDevice::Process& process, const DevicePlan& plan) {
  while (!process.stop->stopped()) {
    const absl::StatusOr<std::unique_ptr<ServedDevice>> device = ServedDevice::Open(process, plan);
    if (device.ok()) return (*device)->Run();
    if (process.stop->stopped()) break;
    if (!absl::IsUnavailable(device.status())) return device.status();
    FORALL_LOG(WARNING) << "devices/" << plan.device << " cannot be reached, trying again every "
                        << absl::FormatDuration(kUnreachablePause) << ": "
                        << device.status().message();
    process.stop->Wait(kUnreachablePause);
  }
  return absl::OkStatus();
}

}  // namespace forall
