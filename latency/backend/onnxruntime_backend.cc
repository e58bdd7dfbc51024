// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/onnxruntime_backend.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "runtime/execution_provider.h"
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

// What of the options makes numbers of another profile; the cache of engines does not.
std::map<std::string, std::string> Settings(const OnnxRuntimeBackend::Options& options) {
  std::map<std::string, std::string> settings;
  for (const auto& [name, value] : options.provider_options) {
    settings[absl::StrCat("provider.", name)] = value;
  }
  for (const auto& [name, value] : options.session_config) {
    settings[name] = value;
  }
  if (!options.allow_cpu_fallback) settings["cpu_fallback"] = "no";
  return settings;
}

// What the user chose wins over what follows from the rest.
absl::StatusOr<SessionOptions> SessionFor(const OnnxRuntimeBackend::Options& options,
                                          absl::string_view model) {
  SessionOptions session;
  session.intra_op_threads = options.threads;
  session.provider = options.provider;
  session.config = options.session_config;
  session.allow_cpu_fallback = options.allow_cpu_fallback;
  // Spinning threads answer sooner; the timing has the cores for itself.
  session.allow_spinning = options.threads > 1;
  session.provider_options = options.provider_options;
  FORALL_ASSIGN_OR_RETURN(ProviderOptions defaults,
                          PrecisionOptions(options.provider, options.precision));
  if (options.provider == "XNNPACK") {
    // It has threads of its own (ONNX Runtime's page on XNNPACK).
    defaults["intra_op_num_threads"] = absl::StrCat(options.threads);
    session.intra_op_threads = 1;
  }
  if (!options.engine_cache.empty()) {
    const std::string folder = absl::StrCat(options.engine_cache, "/", Sha256Hex(model));
    if (const absl::Status status = CreateDirectories(folder); !status.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the folder for engines: ", status.message()));
    }
    FORALL_ASSIGN_OR_RETURN(const ProviderOptions cache,
                            EngineCacheOptions(options.provider, folder));
    defaults.insert(cache.begin(), cache.end());
  }
  session.provider_options.insert(defaults.begin(), defaults.end());
  return session;
}

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
  FORALL_RETURN_IF_ERROR(CheckProviderName(options.provider));
  FORALL_RETURN_IF_ERROR(PrecisionOptions(options.provider, options.precision).status());
  if (!options.engine_cache.empty()) {
    FORALL_RETURN_IF_ERROR(EngineCacheOptions(options.provider, options.engine_cache).status());
  }
  FORALL_ASSIGN_OR_RETURN(OnnxRuntime * runtime, OnnxRuntime::Get());
  return std::unique_ptr<OnnxRuntimeBackend>(
      new OnnxRuntimeBackend(options, {.runtime = "onnxruntime",
                                       .runtime_version = runtime->version(),
                                       .provider = options.provider,
                                       .threads = options.threads,
                                       .batch = options.batch,
                                       .precision = options.precision,
                                       .settings = Settings(options)}));
}

absl::StatusOr<std::unique_ptr<PreparedModel>> OnnxRuntimeBackend::Prepare(absl::string_view model,
                                                                           SessionMemory memory) {
  FORALL_ASSIGN_OR_RETURN(SessionOptions session_options, SessionFor(options_, model));
  session_options.shared_arena = memory == SessionMemory::kReused;
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<OnnxSession> session,
                          OnnxSession::Create(model, session_options));
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
