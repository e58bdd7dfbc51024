// SPDX-License-Identifier: Apache-2.0
// Exports, evaluates and times subnets on this machine.
#ifndef FORALL_EVALUATOR_WORKER_LOCAL_TASK_EXECUTOR_H_
#define FORALL_EVALUATOR_WORKER_LOCAL_TASK_EXECUTOR_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "data/dataset.h"
#include "evaluator/worker/artifact_client.h"
#include "evaluator/worker/reference_network.h"
#include "evaluator/worker/task_executor.h"
#include "latency/backend/onnxruntime_backend.h"
#include "latency/child/confinement.h"
#include "latency/device/device_file.h"
#include "latency/measure/environment.h"
#include "latency/measure/gate.h"
#include "latency/measure/harness.h"
#include "latency/measure/host_lock.h"
#include "latency/measure/lone_metrics.h"
#include "latency/measure/session.h"
#include "supernet/package.h"

namespace forall {

// EXPORT: the supernet comes from the controller by its hash; BatchNorm is calibrated on the train
// split, and the file is uploaded before the result is returned. ACCURACY: the artifact comes from
// the cache or the controller. LATENCY: likewise; timed against the reference network in a process
// that may be killed. Timing holds the host lock exclusively, everything else shares it, so that on
// one machine they never overlap. Thread-safe.
class LocalTaskExecutor : public TaskExecutor {
 public:
  struct Options {
    ArtifactClient* artifacts = nullptr;      // not owned, must outlive
    HostLock* host_lock = nullptr;            // not owned, must outlive
    const EnvironmentProbe* probe = nullptr;  // as LatencyHarness
    Clock* clock = Clock::Real();
    // As OpenDataset.
    std::string data_directory;
    // What to start for timing in a process of its own (MeasuringChildCommand); empty: this one.
    std::vector<std::string> measuring_child = {};
    // What that gives up before it loads a model.
    Confinement confinement = {};
    // What to time with, whatever the batch size.
    RuntimeDevice runtime = {};
    // What energy_mj is taken from; nullptr: it is not measured. Not owned, must outlive.
    const EnergySensors* energy_sensors = nullptr;
    // Times on another device instead, at its one batch size. Not owned, must outlive.
    LatencyBackend* device_backend = nullptr;
    // Learns for as long as a latency task runs what stops it: device_backend asks it. Not owned,
    // must outlive; may be nullptr.
    StopRelay* stop_relay = nullptr;
    // What the device must be like, and how to look; nothing to wait for when `read_gate` is empty.
    GateLimits gate = {};
    std::function<GateReading()> read_gate = {};
    // As LocalSessions; for device_backend.
    std::function<std::map<std::string, std::string>()> read_notes = {};
  };

  // FailedPrecondition when ONNX Runtime is not there.
  static absl::StatusOr<std::unique_ptr<LocalTaskExecutor>> Create(Options options);

  absl::StatusOr<v1::TaskResult> Execute(const v1::Task& task, int threads,
                                         const StopSignal& stop) override;

  // As OpenDataset; kept open.
  absl::StatusOr<std::shared_ptr<const Dataset>> GetDataset(const std::string& name, Split split);

  // Registry ids of what LATENCY tasks may ask for beside latency_ms.
  std::vector<std::string> Measures() const;

 private:
  // The batch size is the backend's, so there is one harness for each that is asked for.
  struct Timing {
    std::unique_ptr<LatencyBackend> backend;  // nullptr when it is not the executor's own
    std::unique_ptr<SessionRunner> sessions;
    std::unique_ptr<LatencyHarness> harness;
    bool calibrated = false;
    Baseline baseline;
  };

  LocalTaskExecutor(Options options, ReferenceNetwork reference);

  absl::Status Dispatch(const v1::Task& task, int threads, const StopSignal& stop,
                        v1::TaskResult* result);
  absl::StatusOr<v1::ExportResult> Export(const v1::Task& task, int threads,
                                          const StopSignal& stop);
  absl::StatusOr<v1::AccuracyResult> MeasureAccuracy(const v1::Task& task, int threads,
                                                     const StopSignal& stop);
  absl::StatusOr<v1::LatencyResult> MeasureLatency(const v1::Task& task, const StopSignal& stop);
  // A number beside a latency that was just measured.
  absl::StatusOr<v1::MeasuredValue> MeasureBeside(const std::string& metric,
                                                  const LatencyResult& latency,
                                                  const std::string& model, SessionRunner* sessions,
                                                  const StopSignal& stop);

  absl::StatusOr<std::shared_ptr<const Supernet>> GetSupernet(const std::string& sha256,
                                                              const StopSignal& stop);
  absl::StatusOr<std::string> GetArtifact(const std::string& sha256, const StopSignal& stop);
  std::unique_ptr<SessionRunner> MakeSessions(LatencyBackend* backend) const;
  absl::StatusOr<Timing*> GetTiming(int batch, const StopSignal& stop)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(timing_mu_);

  const Options options_;
  const ReferenceNetwork reference_;
  const bool can_measure_memory_;

  Mutex mu_;
  std::map<std::pair<std::string, Split>, std::shared_ptr<const Dataset>> datasets_
      ABSL_GUARDED_BY(mu_);
  // The last one used: jobs stay with one supernet for long.
  std::shared_ptr<const Supernet> supernet_ ABSL_GUARDED_BY(mu_);

  Mutex timing_mu_;  // held while timing
  std::map<int, Timing> timings_ ABSL_GUARDED_BY(timing_mu_);
  Gate gate_ ABSL_GUARDED_BY(timing_mu_);
};

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_LOCAL_TASK_EXECUTOR_H_
