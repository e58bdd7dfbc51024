// SPDX-License-Identifier: Apache-2.0
#include "runtime/execution_provider.h"

#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "runtime/onnx_session.h"
#include "runtime/ort_handle.h"

namespace forall {
namespace {

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;
// SessionOptionsAppendExecutionProvider_OpenVINO_V2 came with it.
constexpr uint32_t kApiWithOpenVinoV2 = 17;

// Options as the C API takes them. Must not outlive the map.
struct KeysAndValues {
  explicit KeysAndValues(const ProviderOptions& options) {
    for (const auto& [key, value] : options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
  }
  std::vector<const char*> keys;
  std::vector<const char*> values;
};

absl::Status AppendCuda(const OrtApi& api, const KeysAndValues& options,
                        OrtSessionOptions* session) {
  Handle<OrtCUDAProviderOptionsV2> cuda(api.ReleaseCUDAProviderOptions);
  FORALL_RETURN_IF_ERROR(
      ToStatus(api, api.CreateCUDAProviderOptions(cuda.out()), "CUDA", kRefused));
  FORALL_RETURN_IF_ERROR(
      ToStatus(api,
               api.UpdateCUDAProviderOptions(cuda.get(), options.keys.data(), options.values.data(),
                                             options.keys.size()),
               "options of CUDA", kRefused));
  return ToStatus(api, api.SessionOptionsAppendExecutionProvider_CUDA_V2(session, cuda.get()),
                  "CUDA", kRefused);
}

absl::Status AppendTensorRt(const OrtApi& api, const KeysAndValues& options,
                            OrtSessionOptions* session) {
  Handle<OrtTensorRTProviderOptionsV2> trt(api.ReleaseTensorRTProviderOptions);
  FORALL_RETURN_IF_ERROR(
      ToStatus(api, api.CreateTensorRTProviderOptions(trt.out()), "TensorRT", kRefused));
  FORALL_RETURN_IF_ERROR(
      ToStatus(api,
               api.UpdateTensorRTProviderOptions(trt.get(), options.keys.data(),
                                                 options.values.data(), options.keys.size()),
               "options of TensorRT", kRefused));
  return ToStatus(api, api.SessionOptionsAppendExecutionProvider_TensorRT_V2(session, trt.get()),
                  "TensorRT", kRefused);
}

// NNAPI has no options by name but flags, and a function of its own that only Android builds have
// (nnapi_provider_factory.h).
absl::Status AppendNnapi(const OrtLibrary& library, const ProviderOptions& options,
                         OrtSessionOptions* session) {
  static const auto* const known = new std::map<std::string, uint32_t>{
      {"use_fp16", 1}, {"use_nchw", 2}, {"cpu_disabled", 4}, {"cpu_only", 8}};
  uint32_t flags = 0;
  for (const auto& [name, value] : options) {
    const auto flag = known->find(name);
    if (flag == known->end() || (value != "0" && value != "1")) {
      return absl::FailedPreconditionError(absl::StrCat(
          "NNAPI's options are use_fp16, use_nchw, cpu_disabled and cpu_only, each 0 or 1; not ",
          name, " = ", value));
    }
    if (value == "1") flags |= flag->second;
  }
  using Append = OrtStatus*(ORT_API_CALL*)(OrtSessionOptions*, uint32_t);
  const auto append = reinterpret_cast<Append>(
      dlsym(library.handle, "OrtSessionOptionsAppendExecutionProvider_Nnapi"));
  if (append == nullptr) {
    return absl::FailedPreconditionError("it was built without NNAPI, which is Android's");
  }
  return ToStatus(*library.api, append(session, flags), "NNAPI", kRefused);
}

absl::Status Append(const OrtLibrary& library, const std::string& name,
                    const ProviderOptions& options, OrtSessionOptions* session) {
  const OrtApi& api = *library.api;
  const KeysAndValues pairs(options);
  if (name == "CUDA") return AppendCuda(api, pairs, session);
  if (name == "TensorRT") return AppendTensorRt(api, pairs, session);
  if (name == "NNAPI") return AppendNnapi(library, options, session);
  if (name == "OpenVINO" && library.version >= kApiWithOpenVinoV2) {
    return ToStatus(api,
                    api.SessionOptionsAppendExecutionProvider_OpenVINO_V2(
                        session, pairs.keys.data(), pairs.values.data(), pairs.keys.size()),
                    name, kRefused);
  }
  return ToStatus(
      api,
      api.SessionOptionsAppendExecutionProvider(session, name.c_str(), pairs.keys.data(),
                                                pairs.values.data(), pairs.keys.size()),
      name, kRefused);
}

}  // namespace

const std::vector<std::string>& ProviderNames() {
  static const auto* const names = new std::vector<std::string>{
      "cpu", "XNNPACK", "CUDA", "TensorRT", "QNN", "NNAPI", "OpenVINO", "CoreML"};
  return *names;
}

absl::Status CheckProviderName(absl::string_view name) {
  const std::vector<std::string>& names = ProviderNames();
  if (std::find(names.begin(), names.end(), name) != names.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", name, "\" is none of the execution providers ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<ProviderOptions> PrecisionOptions(const std::string& provider,
                                                 const std::string& precision) {
  FORALL_RETURN_IF_ERROR(CheckProviderName(provider));
  if (precision == "fp32") {
    // The accelerators of both compute in fp16 unless told otherwise.
    if (provider == "OpenVINO") return ProviderOptions{{"precision", "FP32"}};
    if (provider == "QNN") return ProviderOptions{{"enable_htp_fp16_precision", "0"}};
    return ProviderOptions{};
  }
  if (precision == "fp16") {
    if (provider == "TensorRT") return ProviderOptions{{"trt_fp16_enable", "1"}};
    if (provider == "QNN") return ProviderOptions{{"enable_htp_fp16_precision", "1"}};
    if (provider == "OpenVINO") return ProviderOptions{{"precision", "FP16"}};
    if (provider == "NNAPI") return ProviderOptions{{"use_fp16", "1"}};
  }
  if (precision == "int8" && provider == "TensorRT") {
    return ProviderOptions{{"trt_int8_enable", "1"}};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("precision \"", precision, "\": ", provider,
                   " has no such option; leave it out, and give the job a recipe"));
}

absl::StatusOr<ProviderOptions> EngineCacheOptions(const std::string& provider,
                                                   const std::string& folder) {
  if (provider == "TensorRT") {
    return ProviderOptions{{"trt_engine_cache_enable", "1"},
                           {"trt_engine_cache_path", folder},
                           {"trt_timing_cache_enable", "1"},
                           {"trt_timing_cache_path", folder}};
  }
  if (provider == "OpenVINO") return ProviderOptions{{"cache_dir", folder}};
  if (provider == "CoreML") return ProviderOptions{{"ModelCacheDirectory", folder}};
  return absl::InvalidArgumentError(absl::StrCat(
      "engine_cache: ", provider, " keeps no engines (TensorRT, OpenVINO and CoreML do)"));
}

absl::StatusOr<std::vector<ProviderOffer>> TryProviders(absl::string_view model) {
  FORALL_RETURN_IF_ERROR(OnnxRuntime::Get().status());
  std::vector<ProviderOffer> offers;
  for (const std::string& name : ProviderNames()) {
    offers.push_back({name, OnnxSession::Create(model, {.provider = name}).status()});
  }
  return offers;
}

absl::Status AppendExecutionProvider(const OrtLibrary& library, const std::string& name,
                                     const ProviderOptions& options, OrtSessionOptions* session) {
  if (name == "cpu") {
    if (options.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("the execution provider cpu has no options");
  }
  const absl::Status status = Append(library, name, options, session);
  if (status.ok()) return status;
  // Whatever code the library chose: the model is not at fault.
  return absl::FailedPreconditionError(
      absl::StrCat("ONNX Runtime cannot use the execution provider ", name,
                   " here: ", absl::StripAsciiWhitespace(status.message())));
}

}  // namespace forall
