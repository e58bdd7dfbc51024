// SPDX-License-Identifier: Apache-2.0
// What the files of runtime/ share about ONNX Runtime's C API. Nobody else includes it.
#ifndef FORALL_RUNTIME_ORT_HANDLE_H_
#define FORALL_RUNTIME_ORT_HANDLE_H_

#include <onnxruntime_c_api.h>

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace forall {

// The library that was loaded, for as long as the process lives.
struct OrtLibrary {
  void* handle = nullptr;  // as dlopen gave it
  const OrtApi* api = nullptr;
  uint32_t version = 0;  // of the API; functions that came later are not there
};

// Owns an object that the C API gives out, and releases it with the API's own function.
template <typename T>
class Handle {
 public:
  explicit Handle(void(ORT_API_CALL* release)(T*)) : release_(release) {}
  ~Handle() { release_(ptr_); }
  Handle(Handle&& other) noexcept
      : ptr_(std::exchange(other.ptr_, nullptr)), release_(other.release_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(ptr_, other.ptr_);
    return *this;
  }

  T* get() const { return ptr_; }
  // For the C API's out-parameters. Releases what was held before.
  T** out() {
    release_(std::exchange(ptr_, nullptr));
    return &ptr_;
  }

 private:
  T* ptr_ = nullptr;
  void(ORT_API_CALL* release_)(T*);
};

// Takes ownership of `status`. `otherwise` is the code of what the C API calls just a failure.
absl::Status ToStatus(const OrtApi& api, OrtStatus* status, absl::string_view doing,
                      absl::StatusCode otherwise);

}  // namespace forall

#endif  // FORALL_RUNTIME_ORT_HANDLE_H_
