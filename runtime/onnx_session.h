// SPDX-License-Identifier: Apache-2.0
// The one wrapper around ONNX Runtime's C API. The library is opened at run time and its API
// version negotiated, so that a vendor's older build serves too; telemetry is switched off before
// the environment exists. No file outside runtime/ includes an ONNX Runtime header.
#ifndef FORALL_RUNTIME_ONNX_SESSION_H_
#define FORALL_RUNTIME_ONNX_SESSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace forall {

// The loaded library and its process-wide environment. Thread-safe.
class OnnxRuntime {
 public:
  // Loads the library once per process: the file that environment variable FORALL_ONNXRUNTIME
  // names, else the one found when forall was built, else the system's libonnxruntime.so(.1).
  // FailedPrecondition says what to install when there is none or its API is too old.
  static absl::StatusOr<OnnxRuntime*> Get();

  // E.g. "1.30.0".
  const std::string& version() const;
  // Providers that the library lists. A listed provider may still lack its library: only creating a
  // session tells.
  std::vector<std::string> ListedProviders() const;

 private:
  friend class OnnxSession;
  OnnxRuntime();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A float tensor on the CPU, row-major.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// A float tensor that somebody else owns.
struct TensorView {
  std::vector<int64_t> shape;
  absl::Span<const float> values;
};

struct SessionOptions {
  int intra_op_threads = 1;
  // One of ProviderNames() (execution_provider.h).
  std::string provider = "cpu";
  // The provider's own options, as ONNX Runtime's documentation of it names them.
  std::map<std::string, std::string> provider_options = {};
  // Entries of the session's configuration, e.g. "session.set_denormal_as_zero": "1"
  // (onnxruntime_session_options_config_keys.h). They win over what is set here otherwise.
  std::map<std::string, std::string> config = {};
  // Idle threads of the session spin between operators; off when sessions share cores.
  bool allow_spinning = false;
  // Operators that another provider lacks run on the CPU, which is ONNX Runtime's own default; when
  // false, Create refuses such a model.
  bool allow_cpu_fallback = true;
  // Draws memory from one arena that all such sessions of the process share: its pages are warm, so
  // first runs cost less. When false the session has an arena of its own.
  bool shared_arena = true;
};

// One loaded model. Run is thread-safe (ONNX Runtime's guarantee); everything else is immutable.
class OnnxSession {
 public:
  // `model` is an ONNX file's bytes; they are not needed afterwards. InvalidArgument when the model
  // is not valid, has an operator that the provider lacks or an input or output that is not a
  // tensor of 32-bit floats, or an option is none that the provider knows; FailedPrecondition when
  // the provider cannot be had, ResourceExhausted when memory runs out.
  static absl::StatusOr<std::unique_ptr<OnnxSession>> Create(absl::string_view model,
                                                             const SessionOptions& options);
  ~OnnxSession();

  const std::vector<std::string>& input_names() const;
  const std::vector<std::string>& output_names() const;
  // -1 for a dynamic extent.
  const std::vector<int64_t>& input_shape(int input) const;
  // The model's custom metadata value, or "" when absent.
  std::string Metadata(const std::string& key) const;

  // Inputs in order of input_names(); all outputs, in order of output_names().
  absl::StatusOr<std::vector<Tensor>> Run(absl::Span<const TensorView> inputs);

  // Like Run for a model with one input, but writes the first output into `output` (its exact size
  // is required). Repeated calls with the same buffers and shapes allocate nothing: what a timing
  // loop and a batch loop want. InvalidArgument when shapes do not fit the buffers or the model.
  absl::Status RunInto(const TensorView& input, absl::Span<const int64_t> output_shape,
                       absl::Span<float> output);

 private:
  struct Impl;
  explicit OnnxSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forall

#endif  // FORALL_RUNTIME_ONNX_SESSION_H_
