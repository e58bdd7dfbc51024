// SPDX-License-Identifier: Apache-2.0
// Exact costs of a network description. No measurement, no model: counted.
#ifndef FORALL_SPACE_COST_MODEL_H_
#define FORALL_SPACE_COST_MODEL_H_

#include <cstdint>

#include "space/network.h"
#include "space/recipe.h"

namespace forall {

struct Costs {
  // Multiply-accumulates of one image: convolutions (squeeze-excite's too) and linear layers;
  // BatchNorm, activations and pooling are not counted. Equal to DyNAS-T's "MACs".
  int64_t macs = 0;
  // Learned values of the extracted subnet: convolutions, linear layers, BatchNorm scale and bias.
  // Equal to DyNAS-T's "Model Parameters".
  int64_t params = 0;
  // Weights in the deployed model, BatchNorm folded into the convolution before it: 4 bytes a value
  // in fp32, 2 in fp16, 1 in int8, whose biases stay 4 bytes. The ONNX file adds its graph to this.
  int64_t model_bytes = 0;
  // Largest sum of live activations of one image while the list runs in order: a layer's inputs and
  // output are live together, values stay live until their last reader; BatchNorm and activations
  // work in place. 4, 2 or 1 byte per element. The method is TinyEngine's and TFLite Micro's
  // (tensor arena), without operator-specific scratch buffers.
  int64_t peak_activation_bytes = 0;
};

// Bytes are those of `recipe`.
Costs CountCosts(const Network& network, const DeploymentRecipe& recipe = {});

// MACs of one layer, 0 for kinds that are not counted.
int64_t LayerMacs(const Layer& layer);

}  // namespace forall

#endif  // FORALL_SPACE_COST_MODEL_H_
