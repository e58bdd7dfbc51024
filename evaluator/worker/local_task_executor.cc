// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/local_task_executor.h"

#include <algorithm>
#include <new>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "evaluator/accuracy/accuracy_evaluator.h"
#include "evaluator/worker/device_metrics.h"
#include "evaluator/worker/latency_message.h"
#include "evaluator/worker/task_failure.h"
#include "latency/child/child_sessions.h"
#include "latency/child/measuring_child.h"
#include "latency/measure/lone_metrics.h"
#include "latency/measure/measurement.h"
#include "latency/sensor/peak_memory.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "space/identity.h"
#include "space/metric_registry.h"
#include "space/network_blocks.h"
#include "space/recipe.h"
#include "space/search_space.h"
#include "supernet/export.h"
#include "supernet/onnx/half_model.h"

namespace forall {
namespace {

// Batch sizes that are kept ready at once.
constexpr size_t kMostTimings = 4;
// Of weights that somebody asks this process, not its child, to make.
constexpr int64_t kMostFormulaBytes = int64_t{1} << 30;

Architecture FromMessage(const v1::Architecture& message) {
  Architecture architecture;
  architecture.search_space = message.search_space();
  architecture.revision = message.revision();
  architecture.choices.assign(message.choices().begin(), message.choices().end());
  return architecture;
}

void SetTime(absl::Time time, google::protobuf::Timestamp* message) {
  const int64_t nanos = absl::ToUnixNanos(time);
  message->set_seconds(nanos / 1000000000);
  message->set_nanos(static_cast<int32_t>(nanos % 1000000000));
}

// The network of a task that has no artifact, in the form it is deployed in.
absl::StatusOr<std::string> MakeNetwork(const v1::Task& task) {
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family,
                          FamilyFromSpec(task.network_spec()));
  FORALL_ASSIGN_OR_RETURN(const DeploymentRecipe recipe,
                          ParseRecipe(task.recipe().empty() ? "fp32" : task.recipe()));
  FORALL_ASSIGN_OR_RETURN(Network network, family->Describe(FromMessage(task.architecture())));
  if (task.network_part() != 0) {
    FORALL_ASSIGN_OR_RETURN(const std::vector<LayerRange> parts, PartsOf(network));
    if (task.network_part() < 1 || task.network_part() > static_cast<int32_t>(parts.size())) {
      return absl::FailedPreconditionError(
          absl::StrCat("the network has ", parts.size(), " parts here, the task asks for number ",
                       task.network_part(), ": update the older of worker and controller"));
    }
    FORALL_ASSIGN_OR_RETURN(
        network, CutNetwork(network, parts[static_cast<size_t>(task.network_part() - 1)]));
  }
  const std::string key =
      TimingKey(network, task.batch() > 0 ? task.batch() : 1, recipe, task.latency_profile());
  if (key != task.graph_key()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this worker gives the network the key ", key, ", the controller ",
                     task.graph_key(), ": their versions differ; update the older one"));
  }
  if (const int64_t bytes = CountCosts(network, recipe).model_bytes; bytes > kMostFormulaBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a network with weights of ", bytes, " bytes"));
  }
  FORALL_ASSIGN_OR_RETURN(std::string model, BuildFormulaModel(network));
  return recipe.precision == Precision::kFp16 ? ToHalfModel(model) : model;
}

// A full disk is this machine's trouble; lack of memory, the other meaning of the code, is the
// subnet's.
absl::Status AsFetchError(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kResourceExhausted) return status;
  return absl::FailedPreconditionError(status.message());
}

}  // namespace

LocalTaskExecutor::LocalTaskExecutor(Options options, ReferenceNetwork reference)
    : options_(std::move(options)),
      reference_(std::move(reference)),
      can_measure_memory_(!options_.measuring_child.empty() && PeakMemoryProbe().Reset().ok()),
      gate_(options_.gate, options_.read_gate) {}

absl::StatusOr<std::unique_ptr<LocalTaskExecutor>> LocalTaskExecutor::Create(Options options) {
  FORALL_ASSIGN_OR_RETURN(ReferenceNetwork reference, BuildReferenceNetwork());
  // Tried here, so that a machine without the runtime says so at its start.
  FORALL_RETURN_IF_ERROR(OnnxRuntime::Get().status());
  return std::unique_ptr<LocalTaskExecutor>(
      new LocalTaskExecutor(std::move(options), std::move(reference)));
}

absl::StatusOr<v1::TaskResult> LocalTaskExecutor::Execute(const v1::Task& task, int threads,
                                                          const StopSignal& stop) {
  v1::TaskResult result;
  SetTime(options_.clock->Now(), result.mutable_start_time());
  absl::Status status;
  try {
    status = Dispatch(task, threads, stop, &result);
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError("out of memory");
  }
  SetTime(options_.clock->Now(), result.mutable_end_time());
  if (stop.stopped()) return absl::CancelledError("the task was stopped");
  if (!status.ok()) *result.mutable_failure() = ToTaskFailure(status);
  return result;
}

absl::Status LocalTaskExecutor::Dispatch(const v1::Task& task, int threads, const StopSignal& stop,
                                         v1::TaskResult* result) {
  switch (task.kind()) {
    case v1::Task::EXPORT: {
      FORALL_ASSIGN_OR_RETURN(*result->mutable_export_result(), Export(task, threads, stop));
      return absl::OkStatus();
    }
    case v1::Task::ACCURACY: {
      FORALL_ASSIGN_OR_RETURN(*result->mutable_accuracy_result(),
                              MeasureAccuracy(task, threads, stop));
      return absl::OkStatus();
    }
    case v1::Task::LATENCY: {
      FORALL_ASSIGN_OR_RETURN(*result->mutable_latency_result(), MeasureLatency(task, stop));
      return absl::OkStatus();
    }
    default:
      return absl::FailedPreconditionError(
          absl::StrCat("this worker does not know tasks of kind ", task.kind(), ": update it"));
  }
}

absl::StatusOr<v1::ExportResult> LocalTaskExecutor::Export(const v1::Task& task, int threads,
                                                           const StopSignal& stop) {
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Supernet> supernet,
                          GetSupernet(task.supernet_sha256(), stop));
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> train,
                          GetDataset(task.calibration_dataset(), Split::kTrain));
  FORALL_ASSIGN_OR_RETURN(const DeploymentRecipe recipe,
                          ParseRecipe(task.recipe().empty() ? "fp32" : task.recipe()));
  CalibrationOptions calibration;
  if (task.calibration_images() > 0) calibration.images = task.calibration_images();
  calibration.seed = static_cast<uint64_t>(task.calibration_seed());
  SessionOptions session;
  session.intra_op_threads = threads;

  ExportedSubnet subnet;
  {
    FORALL_ASSIGN_OR_RETURN(
        const HostLock::Holder holder,
        options_.host_lock->AcquireShared(absl::InfiniteDuration(), stop.stopped));
    FORALL_ASSIGN_OR_RETURN(subnet, ExportSubnet(*supernet, FromMessage(task.architecture()),
                                                 *train, calibration, recipe, session));
  }
  if (!task.arch_key().empty() && subnet.arch_key != task.arch_key()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "this worker gives the architecture the key ", subnet.arch_key, ", the controller ",
        task.arch_key(), ": their versions differ; update the older one"));
  }
  if (absl::Status status = options_.artifacts->Upload(subnet.bytes, subnet.sha256, stop);
      !status.ok()) {
    // Whatever the controller's reason, e.g. its disk is full: not the subnet's fault.
    return status.code() == absl::StatusCode::kCancelled ? status
                                                         : absl::UnavailableError(status.message());
  }
  v1::ExportResult result;
  result.set_artifact_sha256(subnet.sha256);
  result.set_size_bytes(static_cast<int64_t>(subnet.bytes.size()));
  result.set_calibration_id(subnet.calibration_id);
  return result;
}

absl::StatusOr<v1::AccuracyResult> LocalTaskExecutor::MeasureAccuracy(const v1::Task& task,
                                                                      int threads,
                                                                      const StopSignal& stop) {
  FORALL_ASSIGN_OR_RETURN(const Split split, ParseSplit(task.split()));
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> dataset,
                          GetDataset(task.dataset(), split));
  FORALL_ASSIGN_OR_RETURN(const std::string model, GetArtifact(task.artifact_sha256(), stop));
  // The same order for all, so that bitmaps of a subset and of the whole can be compared.
  const std::vector<int64_t> order = ScreeningSubset(*dataset, dataset->size());
  AccuracyOptions options{.threads = threads, .cancelled = stop.stopped};
  const int64_t end =
      task.images() > 0 ? std::min<int64_t>(task.images(), dataset->size()) : dataset->size();
  options.first = task.first_image();
  options.count = end - options.first;
  if (task.part_images() > 0) options.count = std::min<int64_t>(options.count, task.part_images());
  if (options.first < 0 || options.count < 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the task is about images from ", task.first_image(), " on of ", end, ": the ",
        task.split(), " split of dataset \"", task.dataset(), "\" has ", dataset->size(), " here"));
  }
  FORALL_ASSIGN_OR_RETURN(
      const HostLock::Holder holder,
      options_.host_lock->AcquireShared(absl::InfiniteDuration(), stop.stopped));
  FORALL_ASSIGN_OR_RETURN(const Accuracy accuracy,
                          EvaluateAccuracy(model, *dataset, order, task.resolution(), options));
  v1::AccuracyResult result;
  result.set_images(accuracy.images);
  result.set_top1_correct(accuracy.top1_correct);
  result.set_top5_correct(accuracy.top5_correct);
  result.set_top1_bitmap(accuracy.top1_bitmap);
  result.set_dataset_checksum(dataset->checksum());
  result.set_split_images(dataset->size());
  return result;
}

absl::StatusOr<v1::LatencyResult> LocalTaskExecutor::MeasureLatency(const v1::Task& task,
                                                                    const StopSignal& stop) {
  FORALL_ASSIGN_OR_RETURN(const Profile named,
                          ProfileFromTask(task.latency_profile(), task.latency_rules()));
  FORALL_ASSIGN_OR_RETURN(const std::vector<std::string> metrics, MetricsToMeasure(task.metrics()));
  const Profile profile = ProfileFor(metrics, named);
  FORALL_ASSIGN_OR_RETURN(const std::string model, task.network_spec().empty()
                                                       ? GetArtifact(task.artifact_sha256(), stop)
                                                       : MakeNetwork(task));
  MutexLock lock(&timing_mu_);
  const StopRelay::Scope relayed(options_.stop_relay, stop.stopped);
  FORALL_ASSIGN_OR_RETURN(Timing * timing, GetTiming(task.batch() > 0 ? task.batch() : 1, stop));
  FORALL_ASSIGN_OR_RETURN(const LatencyResult result,
                          timing->harness->Measure(model, profile, stop.stopped));
  v1::LatencyResult message = ToMessage(result, reference_.sha256, timing->baseline);
  // It will be measured again, with all the rest.
  if (result.verdict == Verdict::kRejected) return message;
  for (const std::string& metric : metrics) {
    FORALL_ASSIGN_OR_RETURN(*message.add_values(),
                            MeasureBeside(metric, result, model, timing->sessions.get(), stop));
  }
  return message;
}

absl::StatusOr<v1::MeasuredValue> LocalTaskExecutor::MeasureBeside(const std::string& metric,
                                                                   const LatencyResult& latency,
                                                                   const std::string& model,
                                                                   SessionRunner* sessions,
                                                                   const StopSignal& stop) {
  if (FindMetric(metric)->percentile > 0) return MeasuredPercentile(metric, latency);
  const std::vector<std::string> known = Measures();
  if (std::find(known.begin(), known.end(), metric) == known.end()) {
    return absl::FailedPreconditionError(absl::StrCat("this device does not measure ", metric));
  }
  FORALL_ASSIGN_OR_RETURN(
      const HostLock::Holder holder,
      options_.host_lock->AcquireExclusive(absl::InfiniteDuration(), stop.stopped));
  if (metric == kPeakMemory) {
    const int processes = std::max(3, latency.profile.sessions);
    FORALL_ASSIGN_OR_RETURN(const LoneMetric peak,
                            MeasurePeakMemory(sessions, model, processes, stop.stopped));
    return MeasuredAlone(metric, peak);
  }
  EnergyOptions options;
  options.sessions = sessions;
  options.sensors = options_.energy_sensors;
  options.clock = options_.clock;
  options.probe = options_.probe;
  FORALL_ASSIGN_OR_RETURN(LoneMetric energy, MeasureEnergy(options, model, stop.stopped));
  // The instructions are another processor's.
  const auto emulated = latency.environment.find("emulated");
  if (emulated != latency.environment.end() && emulated->second == "yes" &&
      energy.verdict != Verdict::kRejected) {
    energy.verdict = Verdict::kNoisy;
    energy.reasons.emplace_back(ReasonName(Reason::kEmulated));
  }
  return MeasuredAlone(metric, energy);
}

std::vector<std::string> LocalTaskExecutor::Measures() const {
  const bool here = options_.device_backend == nullptr;
  std::vector<std::string> metrics;
  for (const MetricInfo& metric : Metrics()) {
    const bool memory = metric.id == kPeakMemory && can_measure_memory_;
    const bool energy = metric.id == kEnergy && options_.energy_sensors != nullptr;
    if (metric.percentile > 0 || (here && (memory || energy))) metrics.push_back(metric.id);
  }
  return metrics;
}

std::unique_ptr<SessionRunner> LocalTaskExecutor::MakeSessions(LatencyBackend* backend) const {
  const bool elsewhere = options_.device_backend != nullptr;
  if (options_.measuring_child.empty() || elsewhere) {
    LocalSessions::Options local;
    local.backend = backend;
    local.clock = options_.clock;
    local.reference_model = reference_.onnx;
    local.pin_cores = !elsewhere;
    local.read_notes = options_.read_notes;
    return std::make_unique<LocalSessions>(std::move(local));
  }
  ChildSessions::Options child;
  child.command = options_.measuring_child;
  child.description = backend->Describe();
  OnnxRuntimeBackend::Options configuration = options_.runtime.backend;
  configuration.batch = child.description.batch;
  child.configuration = BackendConfiguration(configuration);
  child.reference_model = reference_.onnx;
  child.prepare_limit = options_.runtime.build_limit;
  child.run_limit = options_.runtime.run_limit;
  child.memory_bytes = options_.runtime.memory_bytes;
  child.confinement = options_.confinement;
  return std::make_unique<ChildSessions>(std::move(child));
}

absl::StatusOr<LocalTaskExecutor::Timing*> LocalTaskExecutor::GetTiming(int batch,
                                                                        const StopSignal& stop) {
  // Each has a process of its own at hand.
  if (timings_.size() >= kMostTimings && timings_.count(batch) == 0)
    timings_.erase(timings_.begin());
  Timing& timing = timings_[batch];
  if (timing.harness == nullptr) {
    LatencyBackend* backend = options_.device_backend;
    if (backend == nullptr) {
      OnnxRuntimeBackend::Options configuration = options_.runtime.backend;
      configuration.batch = batch;
      FORALL_ASSIGN_OR_RETURN(timing.backend, OnnxRuntimeBackend::Create(configuration));
      backend = timing.backend.get();
    } else if (backend->Describe().batch != batch) {
      // It always will: the subnet's result, and no reason to mend the worker.
      return absl::InvalidArgumentError(absl::StrCat("this device is timed at batch ",
                                                     backend->Describe().batch, ", not ", batch));
    }
    timing.sessions = MakeSessions(backend);
    LatencyHarness::Options harness;
    harness.sessions = timing.sessions.get();
    harness.calibration_model = reference_.calibration_onnx;
    harness.clock = options_.clock;
    harness.host_lock = options_.host_lock;
    harness.probe = options_.probe;
    if (options_.read_gate) harness.gate = &gate_;
    harness.cold_cache = options_.runtime.cold_cache;
    FORALL_ASSIGN_OR_RETURN(timing.harness, LatencyHarness::Create(std::move(harness)));
  }
  if (!timing.calibrated) {
    // Once per life of the worker: a screening's own samples cannot show how sessions differ.
    FORALL_ASSIGN_OR_RETURN(timing.baseline, timing.harness->Calibrate(stop.stopped));
    timing.calibrated = true;
    FORALL_LOG(INFO) << "reference network timed reference_ms="
                     << timing.baseline.reference_ns * 1e-6
                     << " session_spread=" << timing.baseline.session_spread << " batch=" << batch
                     << " reference_sha256=" << reference_.sha256;
  }
  return &timing;
}

absl::StatusOr<std::shared_ptr<const Dataset>> LocalTaskExecutor::GetDataset(
    const std::string& name, Split split) {
  // Opening may build a cache beside the files, which two threads must not do at once.
  MutexLock lock(&mu_);
  std::shared_ptr<const Dataset>& dataset = datasets_[{name, split}];
  if (dataset == nullptr) {
    absl::StatusOr<std::shared_ptr<const Dataset>> opened =
        OpenDataset(name, split, options_.data_directory);
    if (!opened.ok()) {
      datasets_.erase({name, split});
      // Whatever is wrong with the files, another worker may have good ones.
      return absl::FailedPreconditionError(
          absl::StrCat("dataset \"", name, "\": ", opened.status().message()));
    }
    dataset = *std::move(opened);
  }
  return dataset;
}

absl::StatusOr<std::shared_ptr<const Supernet>> LocalTaskExecutor::GetSupernet(
    const std::string& sha256, const StopSignal& stop) {
  {
    MutexLock lock(&mu_);
    if (supernet_ != nullptr && supernet_->hash() == sha256) return supernet_;
  }
  absl::StatusOr<std::string> path = options_.artifacts->Fetch(sha256, stop);
  if (!path.ok()) return AsFetchError(WithContext(path.status(), "supernet"));
  FORALL_ASSIGN_OR_RETURN(std::shared_ptr<const Supernet> supernet,
                          Supernet::LoadFile(*path, sha256));
  MutexLock lock(&mu_);
  supernet_ = supernet;
  return supernet;
}

absl::StatusOr<std::string> LocalTaskExecutor::GetArtifact(const std::string& sha256,
                                                           const StopSignal& stop) {
  absl::StatusOr<std::string> path = options_.artifacts->Fetch(sha256, stop);
  // A subnet that the controller lost fails on every worker, but is no fault of its architecture.
  if (absl::IsNotFound(path.status())) return absl::UnavailableError(path.status().message());
  if (!path.ok()) return AsFetchError(WithContext(path.status(), "subnet"));
  absl::StatusOr<std::string> model = ReadFile(*path);
  // The cache is shared: another process may just have made room.
  if (!model.ok()) return absl::UnavailableError(model.status().message());
  return model;
}

}  // namespace forall
