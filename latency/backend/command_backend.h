// SPDX-License-Identifier: Apache-2.0
// Measures models by running a program on the device: a recipe says how, a transport gets there.
#ifndef FORALL_LATENCY_BACKEND_COMMAND_BACKEND_H_
#define FORALL_LATENCY_BACKEND_COMMAND_BACKEND_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "latency/backend/backend.h"
#include "latency/backend/recipe.h"
#include "latency/transport/transport.h"

namespace forall {

// Thread-safe. Its models must not outlive it.
//
// Prepare pushes the model (once by its hash) and builds the engine where the recipe has one (kept
// on the device by the hash of model, version and command line). Each PreparedModel::Time runs the
// program once, in a process of its own on the device, for runs_per_call samples or one summary of
// them; Run is Time without its result. SessionMemory makes no difference: every call is fresh.
//
// Errors beyond those of LatencyBackend, with the program's last words: DeadlineExceeded when it
// overran its limit and was killed, Internal when it failed otherwise, DataLoss when its output is
// not the documented one, Unavailable when the device was lost, Cancelled.
class CommandBackend : public LatencyBackend {
 public:
  struct Options {
    Transport* transport = nullptr;  // Not owned, must outlive the backend.
    std::shared_ptr<const Recipe> recipe = {};
    int threads = 1;
    int batch = 1;  // Only told: the model brings its own.
    int runs_per_call = 20;
    // What the program computes in, as its owner says; only told.
    std::string precision = "fp32";
    // Of converting and of building, each.
    absl::Duration build_timeout = absl::Minutes(20);
    absl::Duration run_timeout = absl::Minutes(2);
    // Asked while programs run; may be empty.
    std::function<bool()> cancelled = {};
  };

  // Asks the program for its version. InvalidArgument for options out of range;
  // FailedPrecondition when the program is not on the device; the transport's errors.
  static absl::StatusOr<std::unique_ptr<CommandBackend>> Create(Options options);

  // FailedPrecondition, too, when the recipe wants another format than ONNX, or an input, and knows
  // no way to make it.
  absl::StatusOr<std::unique_ptr<PreparedModel>> Prepare(absl::string_view model,
                                                         SessionMemory memory) override;
  // The runtime is the recipe's name, with "(summaries)" behind it where a call gives one number
  // for all its runs.
  BackendDescription Describe() const override { return description_; }

 private:
  class Model;

  CommandBackend(Options options, BackendDescription description)
      : options_(std::move(options)), description_(std::move(description)) {}

  absl::StatusOr<ProgramOutput> RunOnDevice(const CommandLine& line, absl::Duration timeout) const;
  absl::StatusOr<bool> IsThere(const std::string& path) const;
  // Sets model and, where needed, input_list.
  absl::Status PushModel(absl::string_view model, const std::string& hash, RecipeValues* values);
  absl::Status PushConverted(absl::string_view model, RecipeValues* values);
  absl::Status BuildEngine(const std::string& hash, RecipeValues* values);
  absl::StatusOr<std::vector<double>> Measure(RecipeValues values);
  // Removes what a call left, and tells the device's cache that the model is in use.
  void TidyUp(const RecipeValues& values) const;

  const Options options_;
  const BackendDescription description_;
  Mutex mu_;
  // Hash of the ONNX model to what it was converted to, on the device.
  std::map<std::string, RecipeValues> converted_ ABSL_GUARDED_BY(mu_);
};

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_COMMAND_BACKEND_H_
