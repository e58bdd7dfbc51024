// SPDX-License-Identifier: Apache-2.0
// One subnet's weights as a network of its own: the state dict of the authors' static modules
// (mit-han-lab/once-for-all, MobileNetV3, ProxylessNASNets and ResNets of
// ofa/imagenet_classification/networks), which build_from_config makes of the subnet's net.config.
#ifndef FORALL_SUPERNET_STANDALONE_H_
#define FORALL_SUPERNET_STANDALONE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "space/network.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"

namespace forall {

// Keys of the file's metadata.
inline constexpr char kStandaloneNetConfig[] = "net.config";  // space/net_config.h

// Every weight of `network` under the key of the static module, in order of layers: blocks are
// numbered anew without those that depth skipped, a kernel is the transformed one, BatchNorm keeps
// its own parameters (.weight, .bias, .running_mean, .running_var: the network can be trained on).
// Counters num_batches_tracked are left out; PyTorch fills them in. `weights` must be of `network`.
std::vector<NamedTensor> StandaloneTensors(const Network& network, const SubnetWeights& weights);

// The same as a safetensors file, float32, with `metadata` and "format": "pt". Deterministic.
// InvalidArgument for a value that does not fit its shape.
absl::StatusOr<std::string> BuildStandaloneFile(const Network& network,
                                                const SubnetWeights& weights,
                                                std::map<std::string, std::string> metadata);

// The way back: names and shapes of those tensors, in their order, for ImportTensors
// (supernet/importer/checkpoint_import.h), and the weights of `network` out of what it returned.
// InvalidArgument naming the first tensor that is not the one expected at its place.
std::vector<NamedShape> StandaloneShapes(const Network& network);
absl::StatusOr<SubnetWeights> WeightsOfStandalone(const Network& network,
                                                  std::vector<NamedTensor> tensors);

}  // namespace forall

#endif  // FORALL_SUPERNET_STANDALONE_H_
