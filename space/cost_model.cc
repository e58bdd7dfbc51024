// SPDX-License-Identifier: Apache-2.0
#include "space/cost_model.h"

#include <algorithm>
#include <vector>

namespace forall {
namespace {

bool WorksInPlace(LayerKind kind) {
  return kind == LayerKind::kBatchNorm || kind == LayerKind::kActivation;
}

// For each layer the index of the layer whose buffer its output lives in.
std::vector<int> Buffers(const Network& network) {
  const int count = static_cast<int>(network.layers.size());
  std::vector<int> readers(count, 0);
  for (const Layer& layer : network.layers) {
    for (const int input : layer.inputs) {
      if (input != kNetworkInput) ++readers[input];
    }
  }
  std::vector<int> buffer(count);
  for (int i = 0; i < count; ++i) {
    const Layer& layer = network.layers[i];
    const int source = layer.inputs[0];
    const bool in_place =
        WorksInPlace(layer.kind) && source != kNetworkInput && readers[source] == 1;
    buffer[i] = in_place ? buffer[source] : i;
  }
  return buffer;
}

int64_t PeakActivationElements(const Network& network) {
  const int count = static_cast<int>(network.layers.size());
  const std::vector<int> buffer = Buffers(network);
  // Slot 0 is the image, slot i + 1 the buffer of layer i.
  std::vector<int> last_use(count + 1, -1);
  for (int i = 0; i < count; ++i) {
    for (const int input : network.layers[i].inputs) {
      last_use[input == kNetworkInput ? 0 : buffer[input] + 1] = i;
    }
  }
  last_use[buffer[count - 1] + 1] = count;
  std::vector<int64_t> freed(count + 1, 0);  // after each layer; the last entry is never freed
  for (int slot = 0; slot <= count; ++slot) {
    if (last_use[slot] < 0) continue;
    freed[last_use[slot]] +=
        slot == 0 ? network.input.elements() : network.layers[slot - 1].out.elements();
  }
  int64_t live = network.input.elements();
  int64_t peak = live;
  for (int i = 0; i < count; ++i) {
    if (buffer[i] == i) live += network.layers[i].out.elements();
    peak = std::max(peak, live);
    live -= freed[i];
  }
  return peak;
}

}  // namespace

int64_t LayerMacs(const Layer& layer) {
  switch (layer.kind) {
    case LayerKind::kConvolution:
      return layer.out.height * layer.out.width * layer.weights[0].elements();
    case LayerKind::kLinear:
      return layer.weights[0].elements();
    default:
      return 0;
  }
}

namespace {

int64_t BytesPerValue(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return 4;
    case Precision::kFp16:
      return 2;
    case Precision::kInt8:
      return 1;
  }
  return 4;
}

}  // namespace

Costs CountCosts(const Network& network, const DeploymentRecipe& recipe) {
  Costs costs;
  int64_t kernel_values = 0;
  int64_t bias_values = 0;
  for (const Layer& layer : network.layers) {
    costs.macs += LayerMacs(layer);
    switch (layer.kind) {
      case LayerKind::kConvolution:
      case LayerKind::kLinear:
        kernel_values += layer.weights[0].elements();
        costs.params += layer.weights[0].elements();
        if (layer.has_bias) {
          bias_values += layer.weights[1].elements();
          costs.params += layer.weights[1].elements();
        }
        break;
      case LayerKind::kBatchNorm:
        bias_values += layer.out.channels;  // Folded: scale into the kernel, shift into a bias.
        costs.params += 2 * layer.out.channels;
        break;
      default:
        break;
    }
  }
  const int64_t bytes = BytesPerValue(recipe.precision);
  const int64_t bias_bytes = recipe.precision == Precision::kFp16 ? 2 : 4;
  costs.model_bytes = bytes * kernel_values + bias_bytes * bias_values;
  costs.peak_activation_bytes = bytes * PeakActivationElements(network);
  return costs;
}

}  // namespace forall
