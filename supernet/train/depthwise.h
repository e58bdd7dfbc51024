// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions, the trainer's bottleneck: the library's weight gradient reads both planes
// once per kernel tap. The custom kernels (CUDA builds only) keep planes in shared memory.
#ifndef FORALL_SUPERNET_TRAIN_DEPTHWISE_H_
#define FORALL_SUPERNET_TRAIN_DEPTHWISE_H_

#include <ATen/ATen.h>

#include "absl/status/status.h"
#include "supernet/train/train_options.h"

namespace forall {

// x [n, c, h, w], kernel [c, 1, k, k] with odd k, padding k / 2 -> [n, c, (h-1)/stride+1, ...].
// Differentiable in both. kCustom falls back to the library where the kernels do not apply (CPU
// tensors, other types, k not 3, 5 or 7, planes above 32 x 32, stride not 1 or 2).
at::Tensor DepthwiseConvolution(const at::Tensor& x, const at::Tensor& kernel, int stride,
                                DepthwiseMethod method);

// True when this build has the custom kernels.
bool HasCustomDepthwise();

// Compares the custom kernels with the library on the shapes of the small supernet, prints errors
// and times. FailedPrecondition without CUDA; Internal when a relative error exceeds 1e-4.
absl::Status CheckDepthwise(const at::Device& device);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_DEPTHWISE_H_
