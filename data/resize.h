// SPDX-License-Identifier: Apache-2.0
// Antialiased bilinear resizing, as PIL's BILINEAR and torch's
// interpolate(antialias=True) do it (align_corners=False, no rounding to bytes
// between the passes).
#ifndef FORALL_DATA_RESIZE_H_
#define FORALL_DATA_RESIZE_H_

#include <vector>

#include "absl/types/span.h"

namespace forall {

// The weights along one axis, [to, from] row-major: row i says how much every
// input position contributes to output position i. A triangle of half-width
// max(1, from / to) around the centre of the output pixel; rows sum to 1.
// `from` and `to` must be positive.
std::vector<double> ResizeMatrix(int from, int to);

// One plane: output = M * input * M^T with M = ResizeMatrix(from, to), summed
// in double in a fixed order. Immutable; thread-safe.
class PlaneResizer {
 public:
  PlaneResizer(int from, int to);
  // `input` holds from * from values, `output` to * to.
  void Resize(absl::Span<const float> input, absl::Span<float> output) const;

 private:
  int from_;
  int to_;
  std::vector<double> matrix_;
};

}  // namespace forall

#endif  // FORALL_DATA_RESIZE_H_
