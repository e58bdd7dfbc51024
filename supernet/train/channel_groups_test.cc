// SPDX-License-Identifier: Apache-2.0
// Channel re-organisation: what the largest network computes stays, and what a narrower one keeps
// is what matters most.
#include "supernet/train/channel_groups.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"
#include "space/family.h"
#include "supernet/testing/tiny_supernet.h"
#include "supernet/train/device_images.h"
#include "supernet/train/supernet_model.h"

namespace forall {
namespace {

SupernetModel RandomModel(const std::shared_ptr<const Family>& family, uint64_t seed) {
  TrainOptions options;
  options.zero_residual_scale = false;
  options.seed = seed;
  SupernetModel model(family, options, at::kCPU);
  SeedDevice(at::kCPU, seed);
  model.weights().add_(at::randn_like(model.weights()), 0.05);
  return model;
}

// Logits of some images by batch statistics.
at::Tensor Logits(const SupernetModel& model, const Architecture& architecture) {
  const Network network = *model.family().Describe(architecture);
  SeedDevice(at::kCPU, 9);
  const at::Tensor images =
      at::randn({6, network.input.channels, network.input.height, network.input.width}, at::kFloat);
  return model.TeacherForward(network, model.weights(), images);
}

double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// With every "w" and "e" dimension at its option `from_largest` below the largest.
Architecture Narrowed(const SearchSpace& space, int from_largest) {
  Architecture architecture = space.Largest();
  for (size_t i = 0; i < architecture.choices.size(); ++i) {
    const char kind = space.dimensions()[i].name[0];
    if (kind == 'e' || kind == 'w') {
      architecture.choices[i] = std::max(0, architecture.choices[i] - from_largest);
    }
  }
  return architecture;
}

class ChannelOrderTest : public ::testing::TestWithParam<std::shared_ptr<const Family>> {
 protected:
  const SearchSpace& space() const { return GetParam()->search_space(); }
  Network Describe(const Architecture& architecture) const {
    return *GetParam()->Describe(architecture);
  }
  void Sort(const SupernetModel& model, int from_largest = 0) const {
    model.SortChannels(Describe(space().Largest()), Describe(Narrowed(space(), from_largest)),
                       {model.weights()});
  }
};

TEST_P(ChannelOrderTest, FullWidthComputesTheSameAtAnyDepthKernelAndResolution) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const SupernetModel model = RandomModel(GetParam(), seed);
    Random random(seed);
    std::vector<Architecture> full_width = {space().Largest()};
    for (int i = 0; i < 4; ++i) {
      Architecture architecture = space().Sample(&random);
      for (size_t d = 0; d < architecture.choices.size(); ++d) {
        const char kind = space().dimensions()[d].name[0];
        if (kind == 'e' || kind == 'w') architecture.choices[d] = space().Largest().choices[d];
      }
      full_width.push_back(architecture);
    }
    std::vector<at::Tensor> before;
    for (const Architecture& architecture : full_width) {
      before.push_back(Logits(model, architecture));
    }
    const at::Tensor weights = model.weights().clone();
    Sort(model);
    EXPECT_FALSE(at::equal(model.weights(), weights));
    for (size_t i = 0; i < full_width.size(); ++i) {
      EXPECT_LT(RelativeDifference(Logits(model, full_width[i]), before[i]), 1e-5)
          << space().ToJson(full_width[i]);
    }
  }
}

TEST_P(ChannelOrderTest, SortingASecondTimeChangesNothing) {
  const SupernetModel model = RandomModel(GetParam(), 5);
  const at::Tensor before = Logits(model, space().Largest());
  Sort(model);
  const at::Tensor sorted = model.weights().clone();
  Sort(model);
  EXPECT_TRUE(at::equal(model.weights(), sorted)) << "a second time there is nothing to do";
  EXPECT_LT(RelativeDifference(Logits(model, space().Largest()), before), 1e-5);
}

TEST_P(ChannelOrderTest, NarrowerSubnetsKeepOtherChannels) {
  const SupernetModel model = RandomModel(GetParam(), 6);
  const Architecture narrow = Narrowed(space(), 1);
  const at::Tensor before = Logits(model, narrow);
  Sort(model);
  EXPECT_GT(RelativeDifference(Logits(model, narrow), before), 0.05);
}

// L1 norms per channel of a group's consumers, from the exported tensors.
std::vector<double> Importance(const SupernetModel& model, const Network& largest,
                               const ChannelGroup& group) {
  std::map<std::string, NamedTensor> tensors;
  for (NamedTensor& tensor : model.Export(model.weights(), largest, {})) {
    tensors[tensor.name] = tensor;
  }
  std::vector<double> importance(static_cast<size_t>(group.channels));
  for (const ChannelGroup::Axis& consumer : group.consumers) {
    const NamedTensor& tensor = tensors.at(consumer.tensor);
    const size_t outputs = static_cast<size_t>(tensor.shape[0]);
    const size_t inputs = static_cast<size_t>(tensor.shape[1]);
    const size_t taps = tensor.values.size() / outputs / inputs;
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      importance[i / taps % inputs] += std::abs(static_cast<double>(tensor.values[i]));
    }
  }
  return importance;
}

TEST_P(ChannelOrderTest, ImportanceFallsWithinWhatIsSortedAndTheRestStays) {
  for (const int from_largest : {0, 1}) {
    SCOPED_TRACE(from_largest);
    const SupernetModel model = RandomModel(GetParam(), 7);
    const Network largest = Describe(space().Largest());
    const auto groups = FreeChannelGroups(largest);
    const auto narrower = FreeChannelGroups(Describe(Narrowed(space(), from_largest)));
    ASSERT_EQ(groups.size(), narrower.size());
    ASSERT_FALSE(groups.empty());
    std::vector<std::vector<double>> before;
    for (const ChannelGroup& group : groups) before.push_back(Importance(model, largest, group));
    Sort(model, from_largest);
    for (size_t g = 0; g < groups.size(); ++g) {
      const std::vector<double> after = Importance(model, largest, groups[g]);
      const auto sorted = static_cast<std::ptrdiff_t>(narrower[g].channels);
      for (std::ptrdiff_t i = 1; i < sorted; ++i) {
        EXPECT_GE(after[static_cast<size_t>(i - 1)] + 1e-5, after[static_cast<size_t>(i)]);
      }
      for (size_t i = static_cast<size_t>(sorted); i < after.size(); ++i) {
        EXPECT_NEAR(after[i], before[g][i], 1e-5);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, ChannelOrderTest,
                         ::testing::ValuesIn(::forall::testing::TinyFamilies()),
                         [](const auto& test) {
                           std::string name = test.param->search_space().id();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ChannelGroupsTest, AreTheMiddleChannelsOfEveryBlockAndTheSqueezedOnesOfItsGate) {
  const auto family = *FindFamily("ofa_mbv3_w1.0");
  const auto groups = FreeChannelGroups(*family->Describe(family->search_space().Largest()));
  // 20 blocks, of which the 12 of stages 2, 4 and 5 have a gate.
  EXPECT_EQ(groups.size(), 32u);
  const ChannelGroup& gated = groups[4];
  std::set<std::string> axes;
  for (const ChannelGroup::Axis& axis : gated.axes) {
    axes.insert(axis.tensor.substr(axis.tensor.find("conv.") + 5) + std::to_string(axis.axis));
  }
  EXPECT_EQ(axes, (std::set<std::string>{
                      "inverted_bottleneck.conv.conv.weight0", "inverted_bottleneck.bn.bn.weight0",
                      "inverted_bottleneck.bn.bn.bias0", "inverted_bottleneck.bn.bn.running_mean0",
                      "inverted_bottleneck.bn.bn.running_var0", "depth_conv.conv.conv.weight0",
                      "depth_conv.bn.bn.weight0", "depth_conv.bn.bn.bias0",
                      "depth_conv.bn.bn.running_mean0", "depth_conv.bn.bn.running_var0",
                      "depth_conv.se.fc.reduce.weight1", "depth_conv.se.fc.expand.weight0",
                      "depth_conv.se.fc.expand.bias0", "point_linear.conv.conv.weight1"}));
  ASSERT_EQ(gated.consumers.size(), 1u);
  EXPECT_EQ(gated.consumers[0].tensor, "blocks.5.conv.point_linear.conv.conv.weight");
}

}  // namespace
}  // namespace forall
