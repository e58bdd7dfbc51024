// SPDX-License-Identifier: Apache-2.0
// libFuzzer: whatever the bytes are, the decoder returns a status, and what it accepts goes through
// both transforms.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/random.h"
#include "data/image/image_decoder.h"
#include "data/image/image_transform.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Small images, so that a run is quick: what is too large is refused by the same code.
  const auto image = forall::DecodeImage({reinterpret_cast<const char*>(data), size}, {1 << 16});
  if (!image.ok()) return 0;
  constexpr int kResolution = 16;
  std::vector<uint8_t> planes(3 * kResolution * kResolution);
  forall::Random random(size);
  forall::TransformImage(*image, forall::EvaluationPlan(image->width, image->height, kResolution),
                         absl::MakeSpan(planes));
  forall::TransformImage(*image,
                         forall::TrainingPlan(image->width, image->height, kResolution, &random),
                         absl::MakeSpan(planes));
  return 0;
}
