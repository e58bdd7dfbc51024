// SPDX-License-Identifier: Apache-2.0
#include "space/network_builder.h"

namespace forall {

const char* ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kRelu:
      return "relu";
    case Activation::kRelu6:
      return "relu6";
    case Activation::kHSwish:
      return "h_swish";
    case Activation::kHSigmoid:
      return "h_sigmoid";
  }
  return "unknown";
}

Layer NetworkBuilder::NewLayer(LayerKind kind, std::string name, int input) const {
  Layer layer;
  layer.kind = kind;
  layer.name = std::move(name);
  layer.inputs = {input};
  layer.in = shape(input);
  layer.out = layer.in;
  layer.stage = stage_;
  layer.block = block_;
  return layer;
}

int NetworkBuilder::Append(Layer layer) {
  network_.layers.push_back(std::move(layer));
  return static_cast<int>(network_.layers.size()) - 1;
}

int NetworkBuilder::Convolution(std::string name, int input, WeightSlice kernel, int stride,
                                std::optional<WeightSlice> bias) {
  Layer layer = NewLayer(LayerKind::kConvolution, std::move(name), input);
  layer.kernel = static_cast<int>(kernel.shape[2]);
  layer.stride = stride;
  layer.groups = static_cast<int>(layer.in.channels / kernel.shape[1]);
  // Padding kernel/2 on both sides.
  layer.out = {kernel.shape[0], (layer.in.height - 1) / stride + 1,
               (layer.in.width - 1) / stride + 1};
  layer.weights.push_back(std::move(kernel));
  if (bias.has_value()) {
    layer.has_bias = true;
    layer.weights.push_back(*std::move(bias));
  }
  return Append(std::move(layer));
}

int NetworkBuilder::BatchNorm(std::string name, int input, const std::string& prefix) {
  Layer layer = NewLayer(LayerKind::kBatchNorm, std::move(name), input);
  layer.epsilon = epsilon_;
  layer.weights.reserve(4);
  for (const char* suffix : {".weight", ".bias", ".running_mean", ".running_var"}) {
    layer.weights.push_back({prefix + suffix, {layer.in.channels}, {}});
  }
  return Append(std::move(layer));
}

int NetworkBuilder::Activate(std::string name, int input, Activation activation) {
  Layer layer = NewLayer(LayerKind::kActivation, std::move(name), input);
  layer.activation = activation;
  return Append(std::move(layer));
}

int NetworkBuilder::GlobalAveragePool(std::string name, int input) {
  Layer layer = NewLayer(LayerKind::kGlobalAveragePool, std::move(name), input);
  layer.out = {layer.in.channels, 1, 1};
  return Append(std::move(layer));
}

int NetworkBuilder::MaxPool(std::string name, int input, int kernel, int stride) {
  Layer layer = NewLayer(LayerKind::kMaxPool, std::move(name), input);
  layer.kernel = kernel;
  layer.stride = stride;
  layer.out.height = (layer.in.height - 1) / stride + 1;
  layer.out.width = (layer.in.width - 1) / stride + 1;
  return Append(std::move(layer));
}

int NetworkBuilder::AveragePool(std::string name, int input, int size) {
  Layer layer = NewLayer(LayerKind::kAveragePool, std::move(name), input);
  layer.kernel = size;
  layer.stride = size;
  layer.out.height = (layer.in.height - 1) / size + 1;
  layer.out.width = (layer.in.width - 1) / size + 1;
  return Append(std::move(layer));
}

int NetworkBuilder::Multiply(std::string name, int input, int gate) {
  Layer layer = NewLayer(LayerKind::kMultiply, std::move(name), input);
  layer.inputs.push_back(gate);
  return Append(std::move(layer));
}

int NetworkBuilder::Add(std::string name, int a, int b) {
  Layer layer = NewLayer(LayerKind::kAdd, std::move(name), a);
  layer.inputs.push_back(b);
  return Append(std::move(layer));
}

int NetworkBuilder::Linear(std::string name, int input, WeightSlice matrix, WeightSlice bias) {
  Layer layer = NewLayer(LayerKind::kLinear, std::move(name), input);
  layer.out = {matrix.shape[0], 1, 1};
  layer.has_bias = true;
  layer.weights = {std::move(matrix), std::move(bias)};
  return Append(std::move(layer));
}

}  // namespace forall
