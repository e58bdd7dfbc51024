// SPDX-License-Identifier: Apache-2.0
// Execution providers: what of a machine's hardware ONNX Runtime may run a model on. Which ones a
// library really offers only a session tells: one may be listed and still lack its library.
#ifndef FORALL_RUNTIME_EXECUTION_PROVIDER_H_
#define FORALL_RUNTIME_EXECUTION_PROVIDER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct OrtSessionOptions;

namespace forall {

struct OrtLibrary;

using ProviderOptions = std::map<std::string, std::string>;

// "cpu", "XNNPACK", "CUDA", "TensorRT", "QNN", "NNAPI", "OpenVINO", "CoreML".
const std::vector<std::string>& ProviderNames();
// InvalidArgument listing the names for one that is none of them.
absl::Status CheckProviderName(absl::string_view name);

// What makes a provider compute in "fp32", "fp16" or "int8" where the model's own types do not
// decide: TensorRT, QNN and OpenVINO; no options where fp32 is what they do. InvalidArgument for a
// pair that does not exist, saying what to do.
absl::StatusOr<ProviderOptions> PrecisionOptions(const std::string& provider,
                                                 const std::string& precision);

// What makes a provider keep its compiled engines under `folder`. TensorRT names an engine after
// the names in the graph alone, so that subnets of one supernet would be taken for each other: the
// folder must be the model's own. InvalidArgument for providers that keep none.
absl::StatusOr<ProviderOptions> EngineCacheOptions(const std::string& provider,
                                                   const std::string& folder);

struct ProviderOffer {
  std::string name;
  // OK, or why no session could be created.
  absl::Status status;
};
// Creates a session of `model` (an ONNX file's bytes) with each provider. Slow where a provider
// loads large libraries, and a provider's library may end the process: not for a process that must
// live. Errors: the runtime cannot be had.
absl::StatusOr<std::vector<ProviderOffer>> TryProviders(absl::string_view model);

// For onnx_session.cc. Whatever the library complains of is FailedPrecondition.
absl::Status AppendExecutionProvider(const OrtLibrary& library, const std::string& name,
                                     const ProviderOptions& options, OrtSessionOptions* session);

}  // namespace forall

#endif  // FORALL_RUNTIME_EXECUTION_PROVIDER_H_
