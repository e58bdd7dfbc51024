// SPDX-License-Identifier: Apache-2.0
#include "space/cost_model.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "space/family.h"
#include "space/network_builder.h"

namespace forall {
namespace {

TEST(CostModelTest, SmallNetworkRange) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("fashion_mnist"));
  const Costs largest = CountCosts(*family->Describe(family->search_space().Largest()));
  const Costs smallest = CountCosts(*family->Describe(family->search_space().Smallest()));
  EXPECT_EQ(largest.macs, 74704512);
  EXPECT_EQ(smallest.macs, 7657248);
  EXPECT_EQ(largest.params, 2199434);
  EXPECT_GT(largest.peak_activation_bytes, smallest.peak_activation_bytes);
}

// What makes the ends of the space the bounds that a job is refused by: a peak is no sum, but no
// choice that adds to a network takes from it.
TEST(CostModelTest, NoSubnetsPeakLiesBeyondTheSmallestsAndTheLargests) {
  for (const char* const name : {"fashion_mnist", "ofa_mbv3_w1.2", "ofa_resnet50"}) {
    const std::shared_ptr<const Family> family = FindFamily(name).value();
    const SearchSpace& space = family->search_space();
    const auto peak = [&](const Architecture& architecture) {
      return CountCosts(*family->Describe(architecture)).peak_activation_bytes;
    };
    const int64_t least = peak(space.Smallest());
    const int64_t most = peak(space.Largest());
    Random random(11);
    for (int i = 0; i < 200; ++i) {
      const Architecture architecture = space.Sample(&random);
      EXPECT_GE(peak(architecture), least) << name << space.ToJson(architecture);
      EXPECT_LE(peak(architecture), most) << name << space.ToJson(architecture);
    }
  }
}

// By the definition, word for word: while a layer runs, its own output is there and whatever was
// made before and is read by it or later. Batch norm and activation whose input nobody else reads
// write over it.
int64_t PeakElements(const Network& network) {
  const int count = static_cast<int>(network.layers.size());
  const auto reads = [&](int layer, int value) {
    const std::vector<int>& inputs = network.layers[layer].inputs;
    return std::count(inputs.begin(), inputs.end(), value);
  };
  std::vector<int> home(count);
  for (int i = 0; i < count; ++i) {
    const Layer& layer = network.layers[i];
    const int source = layer.inputs[0];
    int64_t readers = 0;
    for (int j = 0; j < count; ++j) readers += reads(j, source);
    const bool over =
        (layer.kind == LayerKind::kBatchNorm || layer.kind == LayerKind::kActivation) &&
        source != kNetworkInput && readers == 1;
    home[i] = over ? home[source] : i;
  }
  int64_t peak = network.input.elements();
  for (int i = 0; i < count; ++i) {
    int64_t live = 0;
    for (int value = kNetworkInput; value <= i; ++value) {
      if (value >= 0 && home[value] != value) continue;
      bool needed = value == i || (value >= 0 && home[count - 1] == value);
      for (int j = i; j < count; ++j) {
        for (const int input : network.layers[j].inputs) {
          needed |= input == value || (input >= 0 && home[input] == value);
        }
      }
      if (!needed) continue;
      live += value < 0 ? network.input.elements() : network.layers[value].out.elements();
    }
    peak = std::max(peak, live);
  }
  return peak;
}

TEST(CostModelTest, PeakIsThatOfTheDefinition) {
  for (const char* const name : {"fashion_mnist", "ofa_mbv3_w1.2", "ofa_resnet50"}) {
    const std::shared_ptr<const Family> family = FindFamily(name).value();
    Random random(5);
    for (int i = 0; i < 20; ++i) {
      const Network network = *family->Describe(family->search_space().Sample(&random));
      EXPECT_EQ(CountCosts(network).peak_activation_bytes, 4 * PeakElements(network)) << name;
    }
  }
}

// Image 1x4x4 -> convolution to 2x4x4 -> batch norm and relu in place -> a residual around a 1x1
// convolution.
TEST(CostModelTest, PeakMemoryFollowsLiveness) {
  NetworkBuilder builder({1, 4, 4}, 1e-5);
  int x = builder.Convolution("a", kNetworkInput, {"a", {2, 1, 3, 3}, {}}, 1);
  x = builder.BatchNorm("a.bn", x, "a.bn");
  x = builder.Activate("a.act", x, Activation::kRelu);
  // The image (16) and the output (32) are live together: 48.
  int y = builder.Convolution("b", x, {"b", {2, 2, 1, 1}, {}}, 1);
  // x stays live for the sum: x (32) + y (32) = 64.
  y = builder.Add("sum", y, x);
  // x, y and the sum: 96, the peak.
  y = builder.GlobalAveragePool("pool", y);
  builder.Linear("fc", y, {"fc.w", {5, 2}, {}}, {"fc.b", {5}, {}});
  const Network network = builder.Build(5);
  const Costs costs = CountCosts(network);
  EXPECT_EQ(costs.peak_activation_bytes, 4 * 96);
  EXPECT_EQ(costs.macs, 16 * 18 + 16 * 4 + 10);
  EXPECT_EQ(costs.params, 18 + 4 + 4 + 10 + 5);
  // Folded batch norm leaves two biases behind.
  EXPECT_EQ(costs.model_bytes, 4 * (18 + 2 + 4 + 10 + 5));
  const Costs half = CountCosts(network, {Precision::kFp16});
  EXPECT_EQ(half.macs, costs.macs);
  EXPECT_EQ(half.model_bytes, 2 * (18 + 2 + 4 + 10 + 5));
  EXPECT_EQ(half.peak_activation_bytes, 2 * 96);
  const Costs quantized = CountCosts(network, {Precision::kInt8});
  EXPECT_EQ(quantized.model_bytes, 18 + 4 + 10 + 4 * (2 + 5));
  EXPECT_EQ(quantized.peak_activation_bytes, 96);
}

}  // namespace
}  // namespace forall
