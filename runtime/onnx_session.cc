// SPDX-License-Identifier: Apache-2.0
#include "runtime/onnx_session.h"

#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "runtime/execution_provider.h"
#include "runtime/ort_handle.h"

namespace forall {
namespace {

// The newest function used is SessionOptionsAppendExecutionProvider, of 1.12.
constexpr uint32_t kOldestApiVersion = 12;

// Elements of a tensor, or an error for a negative extent or a product beyond any memory.
absl::StatusOr<size_t> ElementCount(absl::Span<const int64_t> shape) {
  size_t count = 1;
  for (const int64_t extent : shape) {
    if (extent < 0 || (extent > 0 && count > std::numeric_limits<size_t>::max() / 8 /
                                                 static_cast<size_t>(extent))) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor shape [", absl::StrJoin(shape, ","), "] is not possible"));
    }
    count *= static_cast<size_t>(extent);
  }
  return count;
}

absl::Status CheckTensor(absl::string_view what, absl::Span<const int64_t> shape, size_t values) {
  FORALL_ASSIGN_OR_RETURN(const size_t count, ElementCount(shape));
  if (count != values) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": shape [", absl::StrJoin(shape, ","),
                                                   "] needs ", count, " values, there are ",
                                                   values));
  }
  return absl::OkStatus();
}

std::vector<std::string> LibraryCandidates() {
  if (const char* named = std::getenv("FORALL_ONNXRUNTIME"); named != nullptr && *named != '\0') {
    return {named};
  }
  return {FORALL_ONNXRUNTIME_LIBRARY, "libonnxruntime.so.1", "libonnxruntime.so"};
}

// "1.30.0" -> 30: the API version that a library of that name serves; 0 when unreadable.
uint32_t ApiVersionOf(absl::string_view version) {
  const std::vector<std::string> parts = absl::StrSplit(version, '.');
  uint32_t minor = 0;
  if (parts.size() < 2 || parts[0] != "1" || !absl::SimpleAtoi(parts[1], &minor)) return 0;
  return minor;
}

// Asking for a version that the library lacks makes it write to standard error, so the version
// string decides first; GetApi then has the last word.
const OrtApi* NegotiateApi(const OrtApiBase& base, uint32_t* version) {
  const uint32_t served = ApiVersionOf(base.GetVersionString());
  *version = served == 0 ? ORT_API_VERSION : std::min<uint32_t>(ORT_API_VERSION, served);
  for (; *version >= kOldestApiVersion; --*version) {
    if (const OrtApi* api = base.GetApi(*version); api != nullptr) return api;
  }
  return nullptr;
}

}  // namespace

struct OnnxRuntime::Impl {
  OrtLibrary library;
  const OrtApi* api = nullptr;  // the library's
  OrtEnv* env = nullptr;
  OrtMemoryInfo* cpu_memory = nullptr;
  std::string version;

  absl::Status Open();
  absl::Status CreateEnvironment();
};

absl::Status OnnxRuntime::Impl::Open() {
  std::vector<std::string> failures;
  void* handle = nullptr;
  for (const std::string& path : LibraryCandidates()) {
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) break;
    failures.push_back(dlerror());
  }
  if (handle == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "ONNX Runtime is not there: run tools/setup.sh, install the distribution's libonnxruntime "
        "package, or name the library in FORALL_ONNXRUNTIME (tried: ",
        absl::StrJoin(failures, "; "), ")"));
  }
  using GetApiBase = const OrtApiBase*(ORT_API_CALL*)();
  const auto get_api_base = reinterpret_cast<GetApiBase>(dlsym(handle, "OrtGetApiBase"));
  if (get_api_base == nullptr) {
    return absl::FailedPreconditionError(
        "the library that was named as ONNX Runtime has no OrtGetApiBase: name libonnxruntime.so "
        "in FORALL_ONNXRUNTIME");
  }
  version = get_api_base()->GetVersionString();
  library.handle = handle;
  library.api = api = NegotiateApi(*get_api_base(), &library.version);
  if (api == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "ONNX Runtime ", version, " is too old: install 1.", kOldestApiVersion, " or newer"));
  }
  return absl::OkStatus();
}

absl::Status OnnxRuntime::Impl::CreateEnvironment() {
  // Some builds read the variable while the environment is created, others only know the call.
  setenv("ORT_DISABLE_TELEMETRY", "1", /*overwrite=*/1);
  const auto check = [this](OrtStatus* status, absl::string_view doing) {
    return ToStatus(*api, status, doing, absl::StatusCode::kFailedPrecondition);
  };
  FORALL_RETURN_IF_ERROR(
      check(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "forall", &env), "create environment"));
  FORALL_RETURN_IF_ERROR(check(api->DisableTelemetryEvents(env), "disable telemetry"));
  FORALL_RETURN_IF_ERROR(
      check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &cpu_memory),
            "describe CPU memory"));
  // One arena for all sessions: pages that an earlier session touched need no fault again, which is
  // most of what a session's first run costs.
  return check(api->CreateAndRegisterAllocator(env, cpu_memory, nullptr), "create shared arena");
}

OnnxRuntime::OnnxRuntime() : impl_(std::make_unique<Impl>()) {}

absl::StatusOr<OnnxRuntime*> OnnxRuntime::Get() {
  // Never destroyed: sessions and ONNX Runtime's own threads may outlive main.
  static const absl::StatusOr<OnnxRuntime*>* const result = [] {
    auto* runtime = new OnnxRuntime();
    absl::Status status = runtime->impl_->Open();
    if (status.ok()) status = runtime->impl_->CreateEnvironment();
    if (status.ok()) return new absl::StatusOr<OnnxRuntime*>(runtime);
    delete runtime;
    return new absl::StatusOr<OnnxRuntime*>(status);
  }();
  return *result;
}

const std::string& OnnxRuntime::version() const { return impl_->version; }

std::vector<std::string> OnnxRuntime::ListedProviders() const {
  char** names = nullptr;
  int count = 0;
  if (OrtStatus* status = impl_->api->GetAvailableProviders(&names, &count); status != nullptr) {
    impl_->api->ReleaseStatus(status);
    return {};
  }
  std::vector<std::string> providers(names, names + count);
  if (OrtStatus* status = impl_->api->ReleaseAvailableProviders(names, count); status != nullptr) {
    impl_->api->ReleaseStatus(status);
  }
  return providers;
}

struct OnnxSession::Impl {
  // Input and output tensors around a caller's buffers, kept for the next call with the same ones.
  struct Binding {
    explicit Binding(const OrtApi& api) : input(api.ReleaseValue), output(api.ReleaseValue) {}
    Handle<OrtValue> input;
    Handle<OrtValue> output;
    const float* input_data = nullptr;
    float* output_data = nullptr;
    std::vector<int64_t> input_shape;
    std::vector<int64_t> output_shape;

    bool Fits(const TensorView& view, absl::Span<const int64_t> shape, const float* data) const {
      return input_data == view.values.data() && output_data == data && input_shape == view.shape &&
             absl::MakeConstSpan(output_shape) == shape;
    }
  };

  Impl(const OrtApi* ort_api, OrtMemoryInfo* memory)
      : api(ort_api), cpu_memory(memory), session(ort_api->ReleaseSession) {}

  absl::Status Check(OrtStatus* status, absl::string_view doing) const {
    return ToStatus(*api, status, doing, absl::StatusCode::kInternal);
  }
  absl::Status ReadPorts(bool inputs);
  absl::StatusOr<std::vector<int64_t>> PortShape(size_t port, bool inputs, const std::string& name);
  absl::Status ReadMetadata();
  // A tensor around memory that must outlive it. ONNX Runtime does not write to inputs.
  absl::Status Wrap(const float* data, size_t count, absl::Span<const int64_t> shape,
                    Handle<OrtValue>* value) const;
  absl::StatusOr<Tensor> CopyOut(OrtValue* value) const;
  std::unique_ptr<Binding> TakeBinding(const TensorView& input, absl::Span<const int64_t> shape,
                                       const float* data);
  void GiveBack(std::unique_ptr<Binding> binding);

  const OrtApi* const api;
  OrtMemoryInfo* const cpu_memory;
  Handle<OrtSession> session;
  std::vector<std::string> input_names;
  std::vector<std::string> output_names;
  std::vector<const char*> input_name_pointers;
  std::vector<const char*> output_name_pointers;
  std::vector<std::vector<int64_t>> input_shapes;
  std::map<std::string, std::string> metadata;

  Mutex mu;
  std::vector<std::unique_ptr<Binding>> idle_bindings ABSL_GUARDED_BY(mu);
};

absl::StatusOr<std::vector<int64_t>> OnnxSession::Impl::PortShape(size_t port, bool inputs,
                                                                  const std::string& name) {
  Handle<OrtTypeInfo> type(api->ReleaseTypeInfo);
  FORALL_RETURN_IF_ERROR(Check(inputs
                                   ? api->SessionGetInputTypeInfo(session.get(), port, type.out())
                                   : api->SessionGetOutputTypeInfo(session.get(), port, type.out()),
                               absl::StrCat("type of ", name)));
  const OrtTensorTypeAndShapeInfo* info = nullptr;  // Belongs to `type`; null for no tensor.
  FORALL_RETURN_IF_ERROR(Check(api->CastTypeInfoToTensorInfo(type.get(), &info), name));
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  if (info != nullptr)
    FORALL_RETURN_IF_ERROR(Check(api->GetTensorElementType(info, &element), name));
  if (element != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
    return absl::InvalidArgumentError(absl::StrCat("the model's ", inputs ? "input" : "output", " ",
                                                   name, " is not a tensor of 32-bit floats"));
  }
  size_t rank = 0;
  FORALL_RETURN_IF_ERROR(Check(api->GetDimensionsCount(info, &rank), name));
  std::vector<int64_t> shape(rank);
  FORALL_RETURN_IF_ERROR(Check(api->GetDimensions(info, shape.data(), rank), name));
  return shape;
}

absl::Status OnnxSession::Impl::ReadPorts(bool inputs) {
  OrtAllocator* allocator = nullptr;
  FORALL_RETURN_IF_ERROR(Check(api->GetAllocatorWithDefaultOptions(&allocator), "allocator"));
  size_t count = 0;
  FORALL_RETURN_IF_ERROR(Check(inputs ? api->SessionGetInputCount(session.get(), &count)
                                      : api->SessionGetOutputCount(session.get(), &count),
                               "count inputs and outputs"));
  std::vector<std::string>& names = inputs ? input_names : output_names;
  for (size_t port = 0; port < count; ++port) {
    char* name = nullptr;
    FORALL_RETURN_IF_ERROR(
        Check(inputs ? api->SessionGetInputName(session.get(), port, allocator, &name)
                     : api->SessionGetOutputName(session.get(), port, allocator, &name),
              "name of an input or output"));
    names.emplace_back(name);
    FORALL_RETURN_IF_ERROR(Check(api->AllocatorFree(allocator, name), "free a name"));
    FORALL_ASSIGN_OR_RETURN(std::vector<int64_t> shape, PortShape(port, inputs, names.back()));
    if (inputs) input_shapes.push_back(std::move(shape));
  }
  // Only now: growing `names` moves its strings.
  std::vector<const char*>& pointers = inputs ? input_name_pointers : output_name_pointers;
  for (const std::string& name : names) pointers.push_back(name.c_str());
  return absl::OkStatus();
}

absl::Status OnnxSession::Impl::ReadMetadata() {
  OrtAllocator* allocator = nullptr;
  FORALL_RETURN_IF_ERROR(Check(api->GetAllocatorWithDefaultOptions(&allocator), "allocator"));
  Handle<OrtModelMetadata> model(api->ReleaseModelMetadata);
  FORALL_RETURN_IF_ERROR(
      Check(api->SessionGetModelMetadata(session.get(), model.out()), "read metadata"));
  char** keys = nullptr;
  int64_t count = 0;
  FORALL_RETURN_IF_ERROR(
      Check(api->ModelMetadataGetCustomMetadataMapKeys(model.get(), allocator, &keys, &count),
            "list metadata"));
  absl::Status result;
  for (int64_t i = 0; i < count; ++i) {
    char* value = nullptr;
    absl::Status status =
        Check(api->ModelMetadataLookupCustomMetadataMap(model.get(), allocator, keys[i], &value),
              keys[i]);
    if (status.ok() && value != nullptr) {
      metadata[keys[i]] = value;
      status = Check(api->AllocatorFree(allocator, value), "free metadata");
    }
    result.Update(status);
    result.Update(Check(api->AllocatorFree(allocator, keys[i]), "free metadata"));
  }
  if (keys != nullptr) result.Update(Check(api->AllocatorFree(allocator, keys), "free metadata"));
  return result;
}

absl::Status OnnxSession::Impl::Wrap(const float* data, size_t count,
                                     absl::Span<const int64_t> shape,
                                     Handle<OrtValue>* value) const {
  static float no_elements = 0;  // The C API refuses a null pointer even for an empty tensor.
  float* const memory = count == 0 ? &no_elements : const_cast<float*>(data);
  return Check(api->CreateTensorWithDataAsOrtValue(
                   cpu_memory, memory, count * sizeof(float), shape.data(), shape.size(),
                   ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, value->out()),
               "wrap a tensor");
}

absl::StatusOr<Tensor> OnnxSession::Impl::CopyOut(OrtValue* value) const {
  Handle<OrtTensorTypeAndShapeInfo> info(api->ReleaseTensorTypeAndShapeInfo);
  FORALL_RETURN_IF_ERROR(Check(api->GetTensorTypeAndShape(value, info.out()), "output shape"));
  size_t rank = 0;
  FORALL_RETURN_IF_ERROR(Check(api->GetDimensionsCount(info.get(), &rank), "output rank"));
  Tensor tensor;
  tensor.shape.resize(rank);
  FORALL_RETURN_IF_ERROR(
      Check(api->GetDimensions(info.get(), tensor.shape.data(), rank), "output extents"));
  FORALL_ASSIGN_OR_RETURN(const size_t count, ElementCount(tensor.shape));
  void* data = nullptr;
  FORALL_RETURN_IF_ERROR(Check(api->GetTensorMutableData(value, &data), "output values"));
  const float* const values = static_cast<const float*>(data);
  tensor.values.assign(values, values + count);
  return tensor;
}

std::unique_ptr<OnnxSession::Impl::Binding> OnnxSession::Impl::TakeBinding(
    const TensorView& input, absl::Span<const int64_t> shape, const float* data) {
  MutexLock lock(&mu);
  if (idle_bindings.empty()) return nullptr;
  auto found = std::find_if(idle_bindings.begin(), idle_bindings.end(),
                            [&](const auto& idle) { return idle->Fits(input, shape, data); });
  if (found == idle_bindings.end()) found = std::prev(idle_bindings.end());
  std::unique_ptr<Binding> binding = std::move(*found);
  idle_bindings.erase(found);
  return binding;
}

void OnnxSession::Impl::GiveBack(std::unique_ptr<Binding> binding) {
  MutexLock lock(&mu);
  idle_bindings.push_back(std::move(binding));
}

namespace {

absl::Status Configure(const OrtLibrary& runtime, const SessionOptions& wanted,
                       OrtSessionOptions* options) {
  const OrtApi& api = *runtime.api;
  const auto check = [&api](OrtStatus* status, absl::string_view doing) {
    return ToStatus(api, status, doing, absl::StatusCode::kInternal);
  };
  const char* const spinning = wanted.allow_spinning ? "1" : "0";
  FORALL_RETURN_IF_ERROR(
      check(api.SetIntraOpNumThreads(options, wanted.intra_op_threads), "set intra-op threads"));
  FORALL_RETURN_IF_ERROR(check(api.SetInterOpNumThreads(options, 1), "set inter-op threads"));
  FORALL_RETURN_IF_ERROR(
      check(api.SetSessionExecutionMode(options, ORT_SEQUENTIAL), "set execution mode"));
  FORALL_RETURN_IF_ERROR(
      check(api.SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL), "set optimisation"));
  FORALL_RETURN_IF_ERROR(
      check(api.AddSessionConfigEntry(options, "session.intra_op.allow_spinning", spinning),
            "set spinning"));
  if (wanted.shared_arena) {
    FORALL_RETURN_IF_ERROR(check(
        api.AddSessionConfigEntry(options, "session.use_env_allocators", "1"), "use shared arena"));
  }
  if (!wanted.allow_cpu_fallback && wanted.provider != "cpu") {
    FORALL_RETURN_IF_ERROR(
        check(api.AddSessionConfigEntry(options, "session.disable_cpu_ep_fallback", "1"),
              "set fallback"));
  }
  for (const auto& [name, value] : wanted.config) {
    if (OrtStatus* const status = api.AddSessionConfigEntry(options, name.c_str(), value.c_str());
        status != nullptr) {
      return ToStatus(api, status, absl::StrCat("set ", name), absl::StatusCode::kInvalidArgument);
    }
  }
  return AppendExecutionProvider(runtime, wanted.provider, wanted.provider_options, options);
}

}  // namespace

OnnxSession::OnnxSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OnnxSession::~OnnxSession() = default;

absl::StatusOr<std::unique_ptr<OnnxSession>> OnnxSession::Create(absl::string_view model,
                                                                 const SessionOptions& options) {
  if (options.intra_op_threads < 1 || options.intra_op_threads > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat("intra_op_threads must be in [1, 1024], not ", options.intra_op_threads));
  }
  if (model.empty()) return absl::InvalidArgumentError("the ONNX model is empty");
  FORALL_ASSIGN_OR_RETURN(OnnxRuntime * runtime, OnnxRuntime::Get());
  const OrtApi& api = *runtime->impl_->api;
  Handle<OrtSessionOptions> session_options(api.ReleaseSessionOptions);
  FORALL_RETURN_IF_ERROR(ToStatus(api, api.CreateSessionOptions(session_options.out()),
                                  "create session options", absl::StatusCode::kInternal));
  FORALL_RETURN_IF_ERROR(Configure(runtime->impl_->library, options, session_options.get()));

  auto impl = std::make_unique<Impl>(&api, runtime->impl_->cpu_memory);
  FORALL_RETURN_IF_ERROR(
      ToStatus(api,
               api.CreateSessionFromArray(runtime->impl_->env, model.data(), model.size(),
                                          session_options.get(), impl->session.out()),
               "load the ONNX model", absl::StatusCode::kInvalidArgument));
  FORALL_RETURN_IF_ERROR(impl->ReadPorts(/*inputs=*/true));
  FORALL_RETURN_IF_ERROR(impl->ReadPorts(/*inputs=*/false));
  if (impl->input_names.empty() || impl->output_names.empty()) {
    return absl::InvalidArgumentError("the ONNX model needs at least one input and one output");
  }
  FORALL_RETURN_IF_ERROR(impl->ReadMetadata());
  return std::unique_ptr<OnnxSession>(new OnnxSession(std::move(impl)));
}

const std::vector<std::string>& OnnxSession::input_names() const { return impl_->input_names; }
const std::vector<std::string>& OnnxSession::output_names() const { return impl_->output_names; }
const std::vector<int64_t>& OnnxSession::input_shape(int input) const {
  return impl_->input_shapes.at(static_cast<size_t>(input));
}

std::string OnnxSession::Metadata(const std::string& key) const {
  const auto found = impl_->metadata.find(key);
  return found == impl_->metadata.end() ? std::string() : found->second;
}

absl::StatusOr<std::vector<Tensor>> OnnxSession::Run(absl::Span<const TensorView> inputs) {
  if (inputs.size() != impl_->input_names.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the model has ", impl_->input_names.size(),
                                                   " inputs, ", inputs.size(), " were given"));
  }
  std::vector<Handle<OrtValue>> values;
  std::vector<const OrtValue*> input_pointers;
  values.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    FORALL_RETURN_IF_ERROR(
        CheckTensor(impl_->input_names[i], inputs[i].shape, inputs[i].values.size()));
    values.emplace_back(impl_->api->ReleaseValue);
    FORALL_RETURN_IF_ERROR(impl_->Wrap(inputs[i].values.data(), inputs[i].values.size(),
                                       inputs[i].shape, &values.back()));
    input_pointers.push_back(values.back().get());
  }
  std::vector<OrtValue*> outputs(impl_->output_names.size(), nullptr);
  absl::Status status = impl_->Check(
      impl_->api->Run(impl_->session.get(), nullptr, impl_->input_name_pointers.data(),
                      input_pointers.data(), input_pointers.size(),
                      impl_->output_name_pointers.data(), outputs.size(), outputs.data()),
      "run the model");
  std::vector<Tensor> tensors;
  for (OrtValue* output : outputs) {
    if (status.ok()) {
      absl::StatusOr<Tensor> tensor = impl_->CopyOut(output);
      status = tensor.status();
      if (tensor.ok()) tensors.push_back(*std::move(tensor));
    }
    impl_->api->ReleaseValue(output);
  }
  if (!status.ok()) return status;
  return tensors;
}

absl::Status OnnxSession::RunInto(const TensorView& input, absl::Span<const int64_t> output_shape,
                                  absl::Span<float> output) {
  if (impl_->input_names.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("RunInto needs a model with one input, this has ", impl_->input_names.size()));
  }
  std::unique_ptr<Impl::Binding> binding = impl_->TakeBinding(input, output_shape, output.data());
  if (binding == nullptr) binding = std::make_unique<Impl::Binding>(*impl_->api);
  if (!binding->Fits(input, output_shape, output.data())) {
    // Incomplete until both tensors are wrapped, so that an error here leaves nothing that fits.
    binding->input_data = nullptr;
    FORALL_RETURN_IF_ERROR(CheckTensor("input", input.shape, input.values.size()));
    FORALL_RETURN_IF_ERROR(CheckTensor("output", output_shape, output.size()));
    FORALL_RETURN_IF_ERROR(
        impl_->Wrap(input.values.data(), input.values.size(), input.shape, &binding->input));
    FORALL_RETURN_IF_ERROR(
        impl_->Wrap(output.data(), output.size(), output_shape, &binding->output));
    binding->input_shape = input.shape;
    binding->output_shape.assign(output_shape.begin(), output_shape.end());
    binding->output_data = output.data();
    binding->input_data = input.values.data();
  }
  const OrtValue* const in = binding->input.get();
  OrtValue* out = binding->output.get();
  const absl::Status status =
      impl_->Check(impl_->api->Run(impl_->session.get(), nullptr, impl_->input_name_pointers.data(),
                                   &in, 1, impl_->output_name_pointers.data(), 1, &out),
                   "run the model");
  impl_->GiveBack(std::move(binding));
  return status;
}

}  // namespace forall
