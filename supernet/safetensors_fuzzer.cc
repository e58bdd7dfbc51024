// SPDX-License-Identifier: Apache-2.0
// libFuzzer: whatever the bytes are, the reader returns a status, and what it accepts can be read.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "space/family.h"
#include "supernet/package.h"
#include "supernet/predictor/accuracy_predictor.h"
#include "supernet/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto file = forall::SafetensorsFile::Parse(bytes, "fuzz");
  if (!file.ok()) return 0;
  for (const forall::SafetensorsView& view : (*file)->tensors()) {
    std::vector<float> values(static_cast<size_t>(view.elements()));
    // Integers are refused; either answer is fine, reading out of bounds is not.
    forall::CopyAsFloats(view, absl::MakeSpan(values)).IgnoreError();
  }
  forall::Supernet::FromBytes(bytes, "fuzz").status().IgnoreError();
  static const auto family = *forall::FindFamily("fashion_mnist");
  const auto predictor = forall::AccuracyPredictor::Parse(bytes, "fuzz", family);
  if (predictor.ok()) (*predictor)->Predict(family->search_space().Largest());
  return 0;
}
