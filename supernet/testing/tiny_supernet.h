// SPDX-License-Identifier: Apache-2.0
// A supernet of a few thousand weights, with every kind of layer of the family, for tests.
#ifndef FORALL_SUPERNET_TESTING_TINY_SUPERNET_H_
#define FORALL_SUPERNET_TESTING_TINY_SUPERNET_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "space/family.h"
#include "space/mobilenet_v3.h"
#include "space/proxyless_nas.h"
#include "space/resnet.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"

namespace forall::testing {

// One image channel, three classes, two stages (the second with squeeze-excite and h-swish),
// kernels 3 5 7, expansions 1 2, depths 1 2, resolutions 8 12.
inline std::shared_ptr<const Family> TinyFamily() {
  MobileNetV3Config config;
  config.name = "tiny";
  config.input_channels = 1;
  config.classes = 3;
  config.resolutions = {8, 12};
  config.stem_width = 8;
  config.stem_stride = 1;
  config.first_block_width = 8;
  config.stages = {{8, 2, Activation::kRelu6, false, {}}, {16, 1, Activation::kHSwish, true, {}}};
  config.expansions = {1, 2};
  config.depths = {1, 2};
  config.head_expand_width = 24;
  config.head_feature_width = 16;
  auto family = CreateMobileNetV3(config);
  FORALL_CHECK(family.ok()) << family.status();
  return *std::move(family);
}

// Like TinyFamily, with ReLU6, a last stage of one block and Proxyless's head.
inline std::shared_ptr<const Family> TinyProxylessFamily() {
  ProxylessNasConfig config;
  config.name = "tiny-proxyless";
  config.input_channels = 1;
  config.classes = 3;
  config.resolutions = {8, 11};
  config.stem_width = 16;
  config.stem_stride = 1;
  config.stem_activation = Activation::kRelu6;
  config.first_block_width = 8;
  config.first_block_activation = Activation::kRelu6;
  config.stages = {{8, 2, Activation::kRelu6, false, {1, 2}},
                   {16, 1, Activation::kRelu6, false, {1}}};
  config.expansions = {1, 2};
  config.head_feature_width = 16;
  config.batch_norm_epsilon = 1e-3;
  auto family = CreateProxylessNas(std::move(config));
  FORALL_CHECK(family.ok()) << family.status();
  return *std::move(family);
}

// Two stages, and resolutions at which an average pool has partial windows.
inline std::shared_ptr<const Family> TinyResNetFamily() {
  ResNetConfig config;
  config.name = "tiny-resnet";
  config.input_channels = 1;
  config.classes = 3;
  config.resolutions = {16, 19, 24};
  config.stem_inner_widths = {8, 8, 16};
  config.stem_widths = {8, 16};
  config.stages = {{{24, 32}, 3, 1}, {{32, 48}, 4, 2}};
  config.expansion_percents = {25, 50};
  auto family = CreateResNet(std::move(config));
  FORALL_CHECK(family.ok()) << family.status();
  return *std::move(family);
}

inline std::vector<std::shared_ptr<const Family>> TinyFamilies() {
  return {TinyFamily(), TinyProxylessFamily(), TinyResNetFamily()};
}

// Random but well-scaled values for every tensor but the batch counters.
inline std::vector<NamedTensor> RandomTensors(const Family& family, uint64_t seed) {
  std::vector<NamedTensor> tensors;
  Random random(seed);
  for (const TensorSpec& spec : family.tensors()) {
    if (spec.role == TensorRole::kBatchCounter) continue;
    NamedTensor tensor{spec.name, spec.shape, {}};
    int64_t elements = 1;
    for (const int64_t extent : spec.shape) elements *= extent;
    const double fan_in = static_cast<double>(elements) / static_cast<double>(spec.shape[0]);
    for (int64_t i = 0; i < elements; ++i) {
      double value = random.Gaussian();
      switch (spec.role) {
        case TensorRole::kWeight:
          value *= std::sqrt(2.0 / fan_in);
          break;
        case TensorRole::kBatchNormScale:
          value = 1 + 0.2 * value;
          break;
        case TensorRole::kRunningVariance:
          value = 0.5 + random.Double();
          break;
        case TensorRole::kKernelTransform:
          value = 0.1 * value + (i / spec.shape[0] == i % spec.shape[0] ? 1 : 0);
          break;
        default:
          value *= 0.2;
      }
      tensor.values.push_back(static_cast<float>(value));
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// A supernet of random weights.
inline std::shared_ptr<const Supernet> RandomSupernet(const Family& family,
                                                      const std::string& dataset = "") {
  PackageOptions options;
  options.dataset = dataset;
  auto bytes = BuildWeightsFile(family, RandomTensors(family, 7), options);
  FORALL_CHECK(bytes.ok()) << bytes.status();
  auto supernet = Supernet::FromBytes(*std::move(bytes), "tiny");
  FORALL_CHECK(supernet.ok()) << supernet.status();
  return *std::move(supernet);
}

// A subnet and the supernet's own weights for it.
struct DescribedSubnet {
  Network network;
  SubnetWeights weights;
};
inline DescribedSubnet Describe(const Supernet& supernet, const Architecture& architecture) {
  DescribedSubnet subnet;
  subnet.network = *supernet.family().Describe(architecture);
  subnet.weights = *ExtractWeights(supernet, subnet.network);
  return subnet;
}

inline std::shared_ptr<const Supernet> TinySupernet(const std::string& dataset = "") {
  return RandomSupernet(*TinyFamily(), dataset);
}

}  // namespace forall::testing

#endif  // FORALL_SUPERNET_TESTING_TINY_SUPERNET_H_
