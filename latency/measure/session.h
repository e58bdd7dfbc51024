// SPDX-License-Identifier: Apache-2.0
// One session of a measurement: candidate and reference network loaded, warmed up and run in turn.
// Where it happens is a SessionRunner's business: in this process (LocalSessions) or in one that
// may be killed (latency/child/child_sessions.h).
#ifndef FORALL_LATENCY_MEASURE_SESSION_H_
#define FORALL_LATENCY_MEASURE_SESSION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "latency/backend/backend.h"
#include "latency/measure/measurement.h"

namespace forall {

// An error of the reference or calibration network is the device's or the worker's trouble, never
// the candidate's: FailedPrecondition, unless it is Cancelled or Unavailable.
absl::Status AsDeviceTrouble(const absl::Status& status);

struct LoneRun {
  int64_t inferences = 0;
  // Processor time that another process spent for it.
  absl::Duration process_time;
};

// A model that is loaded and runs where no other model does. Thread-compatible.
class LoneModel {
 public:
  virtual ~LoneModel() = default;
  // Runs it again and again until at least `duration` has passed. Errors: the backend's; Cancelled.
  virtual absl::StatusOr<LoneRun> RunFor(absl::Duration duration,
                                         const std::function<bool()>& cancelled) = 0;
  // The most memory that was resident at once while it was loaded and then run for the first times,
  // beyond what was resident just before. Unavailable when it cannot be told, FailedPrecondition
  // where it does not have a process of its own.
  virtual absl::StatusOr<int64_t> PeakMemoryBytes() const = 0;
};

// Thread-compatible.
class SessionRunner {
 public:
  virtual ~SessionRunner() = default;

  // Whether the reference network runs at all. Errors as AsDeviceTrouble.
  virtual absl::Status Check() = 0;
  // Times `model` (a model file's bytes) against the reference, with the profile's rules for one
  // session. When profile.fresh, the session shares nothing with any other.
  // `cancelled` (may be empty) is asked before every run. Errors: the backend's; Cancelled.
  virtual absl::StatusOr<SessionSamples> Run(absl::string_view model, const Profile& profile,
                                             const std::function<bool()>& cancelled) = 0;
  // Loads `model` alone. FailedPrecondition where that cannot be: on a device that measures by
  // itself.
  virtual absl::StatusOr<std::unique_ptr<LoneModel>> LoadAlone(
      absl::string_view model, const std::function<bool()>& cancelled) = 0;
  virtual BackendDescription Describe() const = 0;
  // The reference network's file.
  virtual const std::string& reference_model() const = 0;
};

class LocalSessions : public SessionRunner {
 public:
  struct Options {
    // Not owned, must outlive this object.
    LatencyBackend* backend = nullptr;
    Clock* clock = Clock::Real();
    // The fixed reference network, of the same order of duration as the candidates.
    std::string reference_model = {};
    // Binds the measuring thread to as many cores as the backend has threads. A refusal is told in
    // the samples' notes.
    bool pin_cores = true;
    // What else is worth a note once a session is over, e.g. the device's temperatures; may be
    // empty.
    std::function<std::map<std::string, std::string>()> read_notes = {};
    // What empties the caches for a profile that is cold_cache; empty: FlushCaches.
    std::function<void()> flush_caches = {};
  };

  explicit LocalSessions(Options options) : options_(std::move(options)) {}

  absl::Status Check() override;
  absl::StatusOr<SessionSamples> Run(absl::string_view model, const Profile& profile,
                                     const std::function<bool()>& cancelled) override;
  // In this process, beside whatever it has.
  absl::StatusOr<std::unique_ptr<LoneModel>> LoadAlone(
      absl::string_view model, const std::function<bool()>& cancelled) override;
  BackendDescription Describe() const override { return options_.backend->Describe(); }
  const std::string& reference_model() const override { return options_.reference_model; }
  // Called when everything is loaded and before anything is timed.
  void set_on_prepared(std::function<void()> on_prepared) { on_prepared_ = std::move(on_prepared); }

 private:
  const Options options_;
  std::function<void()> on_prepared_;
  // Kept for profiles with one session, so that screened models all meet the same yardstick.
  std::unique_ptr<PreparedModel> reference_;
};

// Reads and writes twice as much memory as the largest cache holds (at least 16 MiB, at most 256).
void FlushCaches();

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_SESSION_H_
