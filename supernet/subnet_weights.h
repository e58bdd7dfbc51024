// SPDX-License-Identifier: Apache-2.0
// The weights of one subnet, cut out of a supernet.
#ifndef FORALL_SUPERNET_SUBNET_WEIGHTS_H_
#define FORALL_SUPERNET_SUBNET_WEIGHTS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "space/network.h"
#include "supernet/package.h"

namespace forall {

// Parallel to Network::layers and Layer::weights: layers[i][j] holds the values of
// network.layers[i].weights[j], row-major, of its slice's shape. A value; thread-compatible.
struct SubnetWeights {
  std::vector<std::vector<std::vector<float>>> layers;
};

// Statistics of one BatchNorm layer, as running mean and variance are used.
struct BatchNormStatistics {
  int layer = 0;  // index into Network::layers
  std::vector<float> mean;
  std::vector<float> variance;  // biased
};

// The first entries along every axis of the tensor, then for a depthwise kernel the chain of
// transforms: centre crop, then w = M v per filter, M shared over channels (OFA section 3.2; the
// sums are taken in double). InvalidArgument when the tensor is absent or the slice does not fit
// it.
absl::StatusOr<std::vector<float>> SliceWeight(const Supernet& supernet, const WeightSlice& slice);
// The same into memory that is used again; after an error it holds anything.
absl::Status SliceWeight(const Supernet& supernet, const WeightSlice& slice,
                         std::vector<float>* values);

// Every weight of `network`, which must describe an architecture of the supernet's family.
absl::StatusOr<SubnetWeights> ExtractWeights(const Supernet& supernet, const Network& network);

// Replaces the running mean and variance of the layers named. InvalidArgument when a layer is no
// BatchNorm or a size differs.
absl::Status ApplyStatistics(const Network& network,
                             absl::Span<const BatchNormStatistics> statistics,
                             SubnetWeights* weights);

}  // namespace forall

#endif  // FORALL_SUPERNET_SUBNET_WEIGHTS_H_
