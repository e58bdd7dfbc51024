// SPDX-License-Identifier: Apache-2.0
// Runs ONNX models in this process by ONNX Runtime.
#ifndef FORALL_LATENCY_BACKEND_ONNXRUNTIME_BACKEND_H_
#define FORALL_LATENCY_BACKEND_ONNXRUNTIME_BACKEND_H_

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
    std::string provider = "cpu";
    // Takes the place of a dynamic first extent of the model's input.
    int batch = 1;
  };

  // FailedPrecondition when ONNX Runtime is not there; InvalidArgument for options out of range.
  static absl::StatusOr<std::unique_ptr<OnnxRuntimeBackend>> Create(const Options& options);

  // The model must have one input and float tensors. The input is filled with fixed pseudo-random
  // values in [-1, 1): zeros can be unnaturally fast. Runs the model once to learn the output's
  // shape.
  absl::StatusOr<std::unique_ptr<PreparedModel>> Prepare(absl::string_view model,
                                                         SessionMemory memory) override;
  BackendDescription Describe() const override { return description_; }

 private:
  explicit OnnxRuntimeBackend(BackendDescription description)
      : description_(std::move(description)) {}

  const BackendDescription description_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_ONNXRUNTIME_BACKEND_H_
