// SPDX-License-Identifier: Apache-2.0
// Runs ONNX models in this process by ONNX Runtime.
#ifndef FORALL_LATENCY_BACKEND_ONNXRUNTIME_BACKEND_H_
#define FORALL_LATENCY_BACKEND_ONNXRUNTIME_BACKEND_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "latency/backend/backend.h"

namespace forall {

// Thread-safe.
class OnnxRuntimeBackend : public LatencyBackend {
 public:
  struct Options {
    int threads = 1;
    // One of ProviderNames() (runtime/execution_provider.h).
    std::string provider = "cpu";
    // As PrecisionOptions takes it.
    std::string precision = "fp32";
    // As SessionOptions.
    std::map<std::string, std::string> provider_options = {};
    std::map<std::string, std::string> session_config = {};
    bool allow_cpu_fallback = true;
    // A folder for compiled engines, one folder in it for each model's bytes; "": none is kept.
    std::string engine_cache = {};
    // Takes the place of a dynamic first extent of the model's input.
    int batch = 1;
  };

  // FailedPrecondition when ONNX Runtime is not there; InvalidArgument for options out of range.
  // Whether the provider can be had only Prepare tells.
  static absl::StatusOr<std::unique_ptr<OnnxRuntimeBackend>> Create(const Options& options);

  // The model must have one input and float tensors. The input is filled with fixed pseudo-random
  // values in [-1, 1): zeros can be unnaturally fast. Runs the model once to learn the output's
  // shape.
  absl::StatusOr<std::unique_ptr<PreparedModel>> Prepare(absl::string_view model,
                                                         SessionMemory memory) override;
  BackendDescription Describe() const override { return description_; }

 private:
  OnnxRuntimeBackend(Options options, BackendDescription description)
      : options_(std::move(options)), description_(std::move(description)) {}

  const Options options_;
  const BackendDescription description_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_ONNXRUNTIME_BACKEND_H_
