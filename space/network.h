// SPDX-License-Identifier: Apache-2.0
// The network description: one subnet as an ordered list of layers, and for each weight which slice
// of which supernet tensor it is. It is the one description that cost counters, table keys, ONNX
// export, calibration, the trainer's forward pass and drawings read; nothing repeats it.
#ifndef FORALL_SPACE_NETWORK_H_
#define FORALL_SPACE_NETWORK_H_

#include <cstdint>
#include <string>
#include <vector>

namespace forall {

enum class Activation { kRelu, kRelu6, kHSwish, kHSigmoid };

// "relu", "relu6", "h_swish", "h_sigmoid".
const char* ActivationName(Activation activation);

enum class LayerKind {
  kConvolution,  // weights[0] = kernel [out, in/groups, k, k]; weights[1] = bias when has_bias
  kBatchNorm,    // weights = scale, bias, running mean, running variance, each [channels]
  kActivation,   // element-wise
  kGlobalAveragePool,  // [C,H,W] -> [C,1,1]
  kMaxPool,            // kernel k, stride, padding k/2
  kAveragePool,        // kernel = stride, no padding; a partial window counts what it has
  kMultiply,           // inputs[0] * inputs[1], the second broadcast over H and W
  kAdd,                // inputs[0] + inputs[1], equal shapes
  kLinear,             // [C,1,1] -> [out,1,1]; weights = matrix [out, in], bias [out]
};

// Of one image: the batch dimension is never part of a description.
struct FeatureShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t elements() const { return channels * height * width; }
  friend bool operator==(const FeatureShape& a, const FeatureShape& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
  }
};

// Makes a k-kernel from a larger one: crop the centre to_size x to_size of the from_size kernel,
// then multiply its row-major vector v (per filter, shared over channels) by a learned matrix: w[i]
// = sum_j matrix[i][j] * v[j]. OFA (Cai et al., ICLR 2020), section 3.2.
struct KernelTransform {
  int from_size = 0;
  int to_size = 0;
  std::string matrix;  // supernet tensor, [to_size^2, to_size^2]
};

// Where a weight comes from: the first shape[i] entries along every axis of a supernet tensor, then
// for a depthwise kernel the chain of transforms (7 -> 5 -> 3). The slice along the two kernel axes
// of a convolution is the transforms' business: `shape` holds the final kernel size there.
struct WeightSlice {
  std::string tensor;
  std::vector<int64_t> shape;
  std::vector<KernelTransform> transforms;
  int64_t elements() const {
    int64_t product = 1;
    for (const int64_t extent : shape) product *= extent;
    return product;
  }
};

struct Layer {
  LayerKind kind = LayerKind::kConvolution;
  std::string name;         // unique, e.g. "blocks.3.depth_conv.conv"
  std::vector<int> inputs;  // indices of layers; kNetworkInput for the image
  FeatureShape in;          // of inputs[0]
  FeatureShape out;
  int kernel = 1;  // convolution and pools: square; padding kernel/2 where not said otherwise
  int stride = 1;
  int groups = 1;
  bool has_bias = false;
  Activation activation = Activation::kRelu;  // kActivation
  double epsilon = 0;                         // kBatchNorm
  std::vector<WeightSlice> weights;
  int stage = -1;  // -1 outside the searchable stages; else 0-based stage and block, for drawings
  int block = -1;
};

inline constexpr int kNetworkInput = -1;

// Layers in execution order: every input index is smaller than the layer's own. The last layer's
// output is the logits.
struct Network {
  FeatureShape input;
  int classes = 0;
  std::vector<Layer> layers;
};

}  // namespace forall

#endif  // FORALL_SPACE_NETWORK_H_
