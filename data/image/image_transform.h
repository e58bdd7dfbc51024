// SPDX-License-Identifier: Apache-2.0
// What an image goes through between its file and a network: bytes in, bytes out, as PIL and
// torchvision compute them. One plan says which part of the image is resized to what, and which
// part of that is kept; only what is kept is computed.
#ifndef FORALL_DATA_IMAGE_IMAGE_TRANSFORM_H_
#define FORALL_DATA_IMAGE_IMAGE_TRANSFORM_H_

#include <cstdint>

#include "absl/types/span.h"
#include "base/random.h"
#include "data/image/image_decoder.h"

namespace forall {

struct ImageBox {
  int64_t x = 0;
  int64_t y = 0;
  int64_t width = 0;
  int64_t height = 0;
  friend bool operator==(const ImageBox& a, const ImageBox& b) {
    return a.x == b.x && a.y == b.y && a.width == b.width && a.height == b.height;
  }
};

struct TransformPlan {
  ImageBox source;    // cut out first: nothing outside it counts
  int64_t width = 0;  // what it is resized to
  int64_t height = 0;
  ImageBox crop;  // kept of the resized one
  bool mirror = false;
};

// The evaluation transform of the once-for-all authors (Cai et al., ICLR 2020;
// ofa/imagenet_classification/data_providers/imagenet.py, build_valid_transform): the shorter side
// to ceil(resolution / 0.875), the longer one in proportion, cut to whole pixels; then the centre,
// whose offset is rounded half to even as torchvision's center_crop does.
TransformPlan EvaluationPlan(int width, int height, int resolution);

// The training transform (the same file, build_train_transform, without colour distortion, which is
// off by default there): torchvision's RandomResizedCrop of 8 % to 100 % of the area with sides of
// 3/4 to 4/3, mirrored with probability 1/2. Draws from `random` alone.
TransformPlan TrainingPlan(int width, int height, int resolution, Random* random);

// Instructions to compute with; every choice gives the same bytes.
enum class TransformKernel { kBest, kPlain };

// Red, green and blue plane of the kept part: crop.height rows of crop.width bytes each.
// Antialiased bilinear, bit for bit as PIL's Image.resize(..., BILINEAR): weights of 22 fractional
// bits, rows first, rounded to bytes between the passes. `planes` holds 3 * crop.width *
// crop.height bytes; the plan must fit the image. Thread-safe.
void TransformImage(const RgbImage& image, const TransformPlan& plan, absl::Span<uint8_t> planes,
                    TransformKernel kernel = TransformKernel::kBest);

}  // namespace forall

#endif  // FORALL_DATA_IMAGE_IMAGE_TRANSFORM_H_
