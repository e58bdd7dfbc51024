// SPDX-License-Identifier: Apache-2.0
// libFuzzer: whatever the bytes are, the reader returns a status, and what it accepts can be read.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "supernet/importer/torch_checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto checkpoint = forall::TorchCheckpoint::Parse(bytes, "fuzz");
  if (!checkpoint.ok()) return 0;
  for (const forall::TorchTensor& tensor : (*checkpoint)->tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    // Integers are refused; either answer is fine, reading out of bounds is not.
    forall::CopyAsFloats(tensor, absl::MakeSpan(values)).IgnoreError();
  }
  return 0;
}
