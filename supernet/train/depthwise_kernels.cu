// SPDX-License-Identifier: Apache-2.0
// Planes are small (at most 32 x 32), so a block keeps several, with their zero frame, in shared
// memory, and a thread works on a strip of kStrip neighbouring outputs of one row: each row of the
// plane is read once per strip into registers and used for all its taps.
#include <cuda_runtime.h>

#include "supernet/train/depthwise_kernels.h"

namespace forall {
namespace {

constexpr int kStrip = 4;
constexpr int kThreads = 128;

// How planes lie in shared memory and strips are handed to threads.
struct Layout {
  int strips_per_row;
  int strips;      // per plane
  int row;         // floats per framed row, wide enough for the last strip's reading ahead
  int plane;       // floats per framed plane
  int concurrent;  // planes per block at a time
};

Layout MakeLayout(int in_height, int out_height, int out_width, int kernel, int stride) {
  Layout layout;
  layout.strips_per_row = (out_width + kStrip - 1) / kStrip;
  layout.strips = layout.strips_per_row * out_height;
  layout.row = (layout.strips_per_row * kStrip - 1) * stride + kernel;
  // An odd row length keeps neighbouring rows in different banks.
  layout.row |= 1;
  layout.plane = (in_height + kernel - 1) * layout.row;
  layout.concurrent = layout.strips >= kThreads ? 1 : kThreads / layout.strips;
  return layout;
}

// output[p] = in[p] correlated with the kernel of channel p % channels. With Dilation 2 the input
// is first spread out, zeros between (the gradient of a strided convolution); with `flip` the
// kernel is turned by 180 degrees.
template <int K, int Stride, int Dilation, bool Flip>
__global__ void __launch_bounds__(kThreads)
    Correlate(const float* __restrict__ in, const float* __restrict__ weight,
              float* __restrict__ out, int planes, int channels, int in_height, int in_width,
              int out_height, int out_width, Layout layout) {
  extern __shared__ float shared[];
  float* const frames = shared;
  float* const taps = shared + layout.concurrent * layout.plane;
  constexpr int kPad = K / 2;
  constexpr int kRead = (kStrip - 1) * Stride + K;
  const int in_size = in_height * in_width;
  const int out_size = out_height * out_width;
  for (int i = threadIdx.x; i < layout.concurrent * layout.plane; i += kThreads) frames[i] = 0;

  const int groups = (planes + layout.concurrent - 1) / layout.concurrent;
  for (int group = blockIdx.x; group < groups; group += gridDim.x) {
    const int first = group * layout.concurrent;
    const int count = min(layout.concurrent, planes - first);
    __syncthreads();
    for (int i = threadIdx.x; i < count * in_size; i += kThreads) {
      const int plane = i / in_size;
      const int rest = i - plane * in_size;
      const int y = rest / in_width;
      const int x = rest - y * in_width;
      frames[plane * layout.plane + (y * Dilation + kPad) * layout.row + x * Dilation + kPad] =
          in[static_cast<long long>(first) * in_size + i];
    }
    for (int i = threadIdx.x; i < count * K * K; i += kThreads) {
      const int plane = i / (K * K);
      const int tap = i - plane * (K * K);
      taps[i] = weight[(first + plane) % channels * (K * K) + (Flip ? K * K - 1 - tap : tap)];
    }
    __syncthreads();
    for (int item = threadIdx.x; item < count * layout.strips; item += kThreads) {
      const int plane = item / layout.strips;
      const int strip = item - plane * layout.strips;
      const int y = strip / layout.strips_per_row;
      const int x = (strip - y * layout.strips_per_row) * kStrip;
      const float* frame = frames + plane * layout.plane + y * Stride * layout.row + x * Stride;
      const float* tap = taps + plane * K * K;
      float sum[kStrip] = {};
#pragma unroll
      for (int i = 0; i < K; ++i) {
        float line[kRead];
#pragma unroll
        for (int j = 0; j < kRead; ++j) line[j] = frame[i * layout.row + j];
#pragma unroll
        for (int j = 0; j < K; ++j) {
          const float w = tap[i * K + j];
#pragma unroll
          for (int s = 0; s < kStrip; ++s) sum[s] += w * line[s * Stride + j];
        }
      }
      float* to = out + static_cast<long long>(first + plane) * out_size + y * out_width + x;
#pragma unroll
      for (int s = 0; s < kStrip; ++s) {
        if (x + s < out_width) to[s] = sum[s];
      }
    }
  }
}

// Block (chunk, channel): parts[chunk, channel] = sum over the chunk's images. Every thread keeps
// all K x K sums of its strips in registers.
template <int K, int Stride>
__global__ void __launch_bounds__(kThreads)
    WeightGradient(const float* __restrict__ x_planes, const float* __restrict__ dy_planes,
                   float* __restrict__ parts, int images, int channels, int in_height, int in_width,
                   int out_height, int out_width, int images_per_chunk, Layout layout) {
  extern __shared__ float shared[];
  constexpr int kPad = K / 2;
  constexpr int kRead = (kStrip - 1) * Stride + K;
  const int channel = blockIdx.y;
  const int begin = blockIdx.x * images_per_chunk;
  const int end = min(begin + images_per_chunk, images);
  const int in_size = in_height * in_width;
  const int out_size = out_height * out_width;
  for (int i = threadIdx.x; i < layout.concurrent * layout.plane; i += kThreads) shared[i] = 0;

  float sum[K * K] = {};
  for (int first = begin; first < end; first += layout.concurrent) {
    const int count = min(layout.concurrent, end - first);
    __syncthreads();
    for (int i = threadIdx.x; i < count * in_size; i += kThreads) {
      const int plane = i / in_size;
      const int rest = i - plane * in_size;
      const int y = rest / in_width;
      const int x = rest - y * in_width;
      shared[plane * layout.plane + (y + kPad) * layout.row + x + kPad] =
          x_planes[(static_cast<long long>(first + plane) * channels + channel) * in_size + rest];
    }
    __syncthreads();
    for (int item = threadIdx.x; item < count * layout.strips; item += kThreads) {
      const int plane = item / layout.strips;
      const int strip = item - plane * layout.strips;
      const int y = strip / layout.strips_per_row;
      const int x = (strip - y * layout.strips_per_row) * kStrip;
      const float* from = dy_planes +
                          (static_cast<long long>(first + plane) * channels + channel) * out_size +
                          y * out_width + x;
      float dy[kStrip];
#pragma unroll
      for (int s = 0; s < kStrip; ++s) dy[s] = x + s < out_width ? from[s] : 0.0f;
      const float* frame = shared + plane * layout.plane + y * Stride * layout.row + x * Stride;
#pragma unroll
      for (int i = 0; i < K; ++i) {
        float line[kRead];
#pragma unroll
        for (int j = 0; j < kRead; ++j) line[j] = frame[i * layout.row + j];
#pragma unroll
        for (int j = 0; j < K; ++j) {
#pragma unroll
          for (int s = 0; s < kStrip; ++s) sum[i * K + j] += dy[s] * line[s * Stride + j];
        }
      }
    }
  }

  __syncthreads();
  constexpr int kWarps = kThreads / 32;
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int t = 0; t < K * K; ++t) {
    float value = sum[t];
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      value += __shfl_down_sync(0xffffffffu, value, offset);
    }
    if (threadIdx.x % 32 == 0) shared[warp * K * K + t] = value;
  }
  __syncthreads();
  for (int t = threadIdx.x; t < K * K; t += kThreads) {
    float value = 0;
    for (int w = 0; w < kWarps; ++w) value += shared[w * K * K + t];
    parts[(static_cast<long long>(blockIdx.x) * channels + channel) * K * K + t] = value;
  }
}

size_t MaxBytes(size_t a, size_t b) { return a > b ? a : b; }

// Shared memory above 48 KB has to be asked for.
template <typename Kernel>
cudaError_t AllowShared(Kernel kernel, size_t bytes) {
  if (bytes <= 48 * 1024) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}

template <int K, int Stride, int Dilation, bool Flip>
int RunCorrelate(const float* in, const float* weight, float* out, int planes, int channels,
                 int in_height, int in_width, int out_height, int out_width) {
  const int spread_height = Dilation == 1 ? in_height : out_height;
  const Layout layout = MakeLayout(spread_height, out_height, out_width, K, Stride);
  const size_t bytes = sizeof(float) * layout.concurrent * (layout.plane + K * K);
  const auto kernel = Correlate<K, Stride, Dilation, Flip>;
  if (const cudaError_t error = AllowShared(kernel, bytes); error != cudaSuccess) return error;
  const int groups = (planes + layout.concurrent - 1) / layout.concurrent;
  const int blocks = groups < 132 * 32 ? groups : 132 * 32;
  kernel<<<blocks, kThreads, bytes>>>(in, weight, out, planes, channels, in_height, in_width,
                                      out_height, out_width, layout);
  return cudaGetLastError();
}

template <int K>
int Forward(const DepthwiseShape& s, const float* x, const float* weight, float* output) {
  const int planes = s.images * s.channels;
  if (s.stride == 1) {
    return RunCorrelate<K, 1, 1, false>(x, weight, output, planes, s.channels, s.height, s.width,
                                        s.out_height(), s.out_width());
  }
  return RunCorrelate<K, 2, 1, false>(x, weight, output, planes, s.channels, s.height, s.width,
                                      s.out_height(), s.out_width());
}

template <int K>
int InputGradient(const DepthwiseShape& s, const float* dy, const float* weight, float* dx) {
  const int planes = s.images * s.channels;
  if (s.stride == 1) {
    return RunCorrelate<K, 1, 1, true>(dy, weight, dx, planes, s.channels, s.out_height(),
                                       s.out_width(), s.height, s.width);
  }
  return RunCorrelate<K, 1, 2, true>(dy, weight, dx, planes, s.channels, s.out_height(),
                                     s.out_width(), s.height, s.width);
}

template <int K, int Stride>
int RunWeightGradient(const DepthwiseShape& s, const float* x, const float* dy, int chunks,
                      float* parts) {
  const Layout layout = MakeLayout(s.height, s.out_height(), s.out_width(), K, Stride);
  const size_t bytes = MaxBytes(sizeof(float) * layout.concurrent * layout.plane,
                                sizeof(float) * (kThreads / 32) * K * K);
  const auto kernel = WeightGradient<K, Stride>;
  if (const cudaError_t error = AllowShared(kernel, bytes); error != cudaSuccess) return error;
  const dim3 grid(chunks, s.channels);
  kernel<<<grid, kThreads, bytes>>>(x, dy, parts, s.images, s.channels, s.height, s.width,
                                    s.out_height(), s.out_width(), (s.images + chunks - 1) / chunks,
                                    layout);
  return cudaGetLastError();
}

}  // namespace

int LaunchDepthwiseForward(const DepthwiseShape& shape, const float* x, const float* weight,
                           float* output) {
  switch (shape.kernel) {
    case 3:
      return Forward<3>(shape, x, weight, output);
    case 5:
      return Forward<5>(shape, x, weight, output);
    case 7:
      return Forward<7>(shape, x, weight, output);
  }
  return cudaErrorInvalidValue;
}

int LaunchDepthwiseInputGradient(const DepthwiseShape& shape, const float* output_gradient,
                                 const float* weight, float* input_gradient) {
  switch (shape.kernel) {
    case 3:
      return InputGradient<3>(shape, output_gradient, weight, input_gradient);
    case 5:
      return InputGradient<5>(shape, output_gradient, weight, input_gradient);
    case 7:
      return InputGradient<7>(shape, output_gradient, weight, input_gradient);
  }
  return cudaErrorInvalidValue;
}

int LaunchDepthwiseWeightGradient(const DepthwiseShape& shape, const float* x,
                                  const float* output_gradient, int chunks, float* parts) {
  const bool one = shape.stride == 1;
  switch (shape.kernel) {
    case 3:
      return one ? RunWeightGradient<3, 1>(shape, x, output_gradient, chunks, parts)
                 : RunWeightGradient<3, 2>(shape, x, output_gradient, chunks, parts);
    case 5:
      return one ? RunWeightGradient<5, 1>(shape, x, output_gradient, chunks, parts)
                 : RunWeightGradient<5, 2>(shape, x, output_gradient, chunks, parts);
    case 7:
      return one ? RunWeightGradient<7, 1>(shape, x, output_gradient, chunks, parts)
                 : RunWeightGradient<7, 2>(shape, x, output_gradient, chunks, parts);
  }
  return cudaErrorInvalidValue;
}

}  // namespace forall
