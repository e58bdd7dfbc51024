// SPDX-License-Identifier: Apache-2.0
// Appends layers to a Network and keeps shapes, so that a family file reads like its paper's table.
#ifndef FORALL_SPACE_NETWORK_BUILDER_H_
#define FORALL_SPACE_NETWORK_BUILDER_H_

#include <optional>
#include <string>
#include <utility>

#include "space/network.h"

namespace forall {

// Every method returns the index of the value it made, to be passed as the next one's input.
// Thread-compatible; one use.
class NetworkBuilder {
 public:
  NetworkBuilder(FeatureShape input, double batch_norm_epsilon) : epsilon_(batch_norm_epsilon) {
    network_.input = input;
  }

  // Layers added from now on belong to this searchable block (-1, -1: to none).
  void EnterBlock(int stage, int block) {
    stage_ = stage;
    block_ = block;
  }

  // Depthwise when the kernel's second extent is 1 and the input has more channels.
  int Convolution(std::string name, int input, WeightSlice kernel, int stride,
                  std::optional<WeightSlice> bias = std::nullopt);
  // `prefix` + ".weight", ".bias", ".running_mean", ".running_var".
  int BatchNorm(std::string name, int input, const std::string& prefix);
  int Activate(std::string name, int input, Activation activation);
  int GlobalAveragePool(std::string name, int input);
  int MaxPool(std::string name, int input, int kernel, int stride);
  // Kernel and stride `size`.
  int AveragePool(std::string name, int input, int size);
  int Multiply(std::string name, int input, int gate);
  int Add(std::string name, int a, int b);
  int Linear(std::string name, int input, WeightSlice matrix, WeightSlice bias);

  FeatureShape shape(int value) const {
    return value == kNetworkInput ? network_.input : network_.layers[value].out;
  }
  Network Build(int classes) {
    network_.classes = classes;
    return std::move(network_);
  }

 private:
  Layer NewLayer(LayerKind kind, std::string name, int input) const;
  int Append(Layer layer);

  double epsilon_;
  int stage_ = -1;
  int block_ = -1;
  Network network_;
};

}  // namespace forall

#endif  // FORALL_SPACE_NETWORK_BUILDER_H_
