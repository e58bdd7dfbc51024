// SPDX-License-Identifier: Apache-2.0
// A network description computed by plain loops in double: what tests hold ONNX Runtime against.
#ifndef FORALL_SUPERNET_TESTING_REFERENCE_NETWORK_H_
#define FORALL_SUPERNET_TESTING_REFERENCE_NETWORK_H_

#include <vector>

#include "runtime/onnx_session.h"
#include "space/network.h"
#include "supernet/subnet_weights.h"

namespace forall::testing {

struct ReferenceResult {
  std::vector<double> logits;  // [images, classes]
  // Of each BatchNorm, in order of layers: its input's mean and biased variance over the batch.
  std::vector<std::vector<double>> batch_mean;
  std::vector<std::vector<double>> batch_variance;
};

// With `batch_statistics`, every BatchNorm normalises with its own batch's statistics; else with
// the weights' running ones.
ReferenceResult RunReference(const Network& network, const SubnetWeights& weights,
                             const Tensor& images, bool batch_statistics);

}  // namespace forall::testing

#endif  // FORALL_SUPERNET_TESTING_REFERENCE_NETWORK_H_
