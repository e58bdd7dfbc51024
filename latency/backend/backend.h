// SPDX-License-Identifier: Apache-2.0
// What runs a model on a device: one implementation per runtime or transport. A backend only runs;
// when, how often and by which clock is the harness's business (latency/measure/harness.h).
#ifndef FORALL_LATENCY_BACKEND_BACKEND_H_
#define FORALL_LATENCY_BACKEND_BACKEND_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace forall {

// A model that is loaded and has its input. Thread-compatible.
class PreparedModel {
 public:
  virtual ~PreparedModel() = default;
  // One inference of the whole batch, from input in memory to output in memory. Does nothing else:
  // its duration is what is measured.
  virtual absl::Status Run() = 0;
  // The durations, in nanoseconds and in order, of BackendDescription::runs_per_call inferences or
  // so, at least one. Unless a device measures by itself, it is one Run by `clock`.
  virtual absl::StatusOr<std::vector<double>> Time(Clock* clock);
};

// What a latency depends on besides device and model.
struct BackendDescription {
  std::string runtime = {};          // "onnxruntime"
  std::string runtime_version = {};  // "1.30.0"
  std::string provider = {};         // "cpu"
  int threads = 1;
  int batch = 1;
  // More than one: PreparedModel::Time calls a program that warms up, repeats and measures by
  // itself, and a call's median is one timing to the harness.
  int runs_per_call = 1;
  // What the device computes in, where that is not the model's own affair.
  std::string precision = "fp32";
  // What else was chosen, e.g. "session.set_denormal_as_zero": "1" or "cold_cache": "yes".
  std::map<std::string, std::string> settings = {};
};

enum class SessionMemory {
  kReused,  // May lie where an earlier session's did: starts faster.
  kFresh,   // Its own, so that sessions scatter as those of different processes do.
};

// Thread-safe.
class LatencyBackend {
 public:
  virtual ~LatencyBackend() = default;

  // Loads the model of a file's bytes; they are not needed afterwards. Every call gives a new
  // session. InvalidArgument: the model is not valid or this runtime lacks an operator (it always
  // will); ResourceExhausted: too little memory; FailedPrecondition: the runtime cannot be had.
  virtual absl::StatusOr<std::unique_ptr<PreparedModel>> Prepare(absl::string_view model,
                                                                 SessionMemory memory) = 0;

  virtual BackendDescription Describe() const = 0;
};

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_BACKEND_H_
