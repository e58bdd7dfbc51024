// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/onnxruntime_backend.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "runtime/onnx_session.h"

namespace forall {
namespace {

// More values than any sensible input has; a model that asks for more is broken.
constexpr int64_t kMaxInputValues = int64_t{1} << 28;

class OnnxModel : public PreparedModel {
 public:
  OnnxModel(std::unique_ptr<OnnxSession> session, std::vector<int64_t> input_shape,
            std::vector<float> input)
      : session_(std::move(session)),
        input_values_(std::move(input)),
        input_{std::move(input_shape), input_values_} {}

  absl::Status LearnOutputShape() {
    FORALL_ASSIGN_OR_RETURN(std::vector<Tensor> outputs, session_->Run({input_}));
    output_shape_ = outputs.front().shape;
    output_ = std::move(outputs.front().values);
    return absl::OkStatus();
  }

  absl::Status Run() override {
    return session_->RunInto(input_, output_shape_, absl::MakeSpan(output_));
  }

 private:
  const std::unique_ptr<OnnxSession> session_;
  const std::vector<float> input_values_;
  const TensorView input_;
  std::vector<int64_t> output_shape_;
  std::vector<float> output_;
};

absl::StatusOr<std::vector<int64_t>> InputShape(const OnnxSession& session, int batch) {
  if (session.input_names().size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "only models with one input can be timed, this has ", session.input_names().size()));
  }
  std::vector<int64_t> shape = session.input_shape(0);
  if (!shape.empty() && shape[0] < 0) shape[0] = batch;
  int64_t values = 1;
  for (const int64_t extent : shape) {
    if (extent < 1 || extent > kMaxInputValues / values) {
      return absl::InvalidArgumentError(absl::StrCat(
          "input ", session.input_names()[0], " has shape [", absl::StrJoin(shape, ","),
          "]: only the first extent may be dynamic, and all must be sensible"));
    }
    values *= extent;
  }
  return shape;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OnnxRuntimeBackend>> OnnxRuntimeBackend::Create(
    const Options& options) {
  if (options.batch < 1 || options.threads < 1) {
    return absl::InvalidArgumentError(absl::StrCat("threads (", options.threads, ") and batch (",
                                                   options.batch, ") must be at least 1"));
  }
  FORALL_ASSIGN_OR_RETURN(OnnxRuntime * runtime, OnnxRuntime::Get());
  return std::unique_ptr<OnnxRuntimeBackend>(
      new OnnxRuntimeBackend({.runtime = "onnxruntime",
                              .runtime_version = runtime->version(),
                              .provider = options.provider,
                              .threads = options.threads,
                              .batch = options.batch}));
}

absl::StatusOr<std::unique_ptr<PreparedModel>> OnnxRuntimeBackend::Prepare(absl::string_view model,
                                                                           SessionMemory memory) {
  // Spinning threads answer sooner; the timing has the cores for itself.
  FORALL_ASSIGN_OR_RETURN(
      std::unique_ptr<OnnxSession> session,
      OnnxSession::Create(model, {.intra_op_threads = description_.threads,
                                  .provider = description_.provider,
                                  .allow_spinning = description_.threads > 1,
                                  .shared_arena = memory == SessionMemory::kReused}));
  FORALL_ASSIGN_OR_RETURN(std::vector<int64_t> shape, InputShape(*session, description_.batch));
  size_t values = 1;
  for (const int64_t extent : shape) values *= static_cast<size_t>(extent);
  std::vector<float> input(values);
  Random random(1);
  for (float& value : input) value = static_cast<float>(2 * random.Double() - 1);
  auto prepared =
      std::make_unique<OnnxModel>(std::move(session), std::move(shape), std::move(input));
  FORALL_RETURN_IF_ERROR(prepared->LearnOutputShape());
  return prepared;
}

}  // namespace forall
