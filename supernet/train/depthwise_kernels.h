// SPDX-License-Identifier: Apache-2.0
// Launchers of the CUDA kernels in depthwise_kernels.cu, free of both LibTorch's and CUDA's headers
// so that either compiler takes them. All run on the default stream of the current device, on fp32
// planes (one image's one channel, row-major, NCHW order). They return a cudaError_t as int; 0 is
// success.
#ifndef FORALL_SUPERNET_TRAIN_DEPTHWISE_KERNELS_H_
#define FORALL_SUPERNET_TRAIN_DEPTHWISE_KERNELS_H_

namespace forall {

// Largest height and width of a plane on either side.
inline constexpr int kDepthwiseMaxSide = 32;

struct DepthwiseShape {
  int images = 0;
  int channels = 0;
  int height = 0;  // of the input
  int width = 0;
  int kernel = 0;  // 3, 5 or 7; padding kernel / 2
  int stride = 0;  // 1 or 2
  int out_height() const { return (height - 1) / stride + 1; }
  int out_width() const { return (width - 1) / stride + 1; }
};

// output[n, c] = x[n, c] convolved with weight[c].
int LaunchDepthwiseForward(const DepthwiseShape& shape, const float* x, const float* weight,
                           float* output);

// Gradient of the input from that of the output.
int LaunchDepthwiseInputGradient(const DepthwiseShape& shape, const float* output_gradient,
                                 const float* weight, float* input_gradient);

// Gradient of the weight in `chunks` parts, [chunks, channels, kernel, kernel], each the sum over a
// share of the images; the caller adds them up (in a fixed order, so the result is deterministic).
int LaunchDepthwiseWeightGradient(const DepthwiseShape& shape, const float* x,
                                  const float* output_gradient, int chunks, float* parts);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_DEPTHWISE_KERNELS_H_
