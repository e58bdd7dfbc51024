// SPDX-License-Identifier: Apache-2.0
#include "supernet/subnet_weights.h"

#include <algorithm>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/testing/reference_network.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::RandomTensors;
using ::forall::testing::RunReference;
using ::forall::testing::StatusIs;
using ::forall::testing::TinyFamily;
using ::forall::testing::TinySupernet;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kDepthwise[] = "blocks.1.conv.depth_conv.conv.conv.weight";
constexpr char k7To5[] = "blocks.1.conv.depth_conv.conv.7to5_matrix";
constexpr char k5To3[] = "blocks.1.conv.depth_conv.conv.5to3_matrix";

// The tiny supernet with some tensors' values replaced.
class Changed {
 public:
  Changed() : family_(TinyFamily()), tensors_(RandomTensors(*family_, 3)) {}
  std::vector<float>& operator[](const std::string& name) {
    for (NamedTensor& tensor : tensors_) {
      if (tensor.name == name) return tensor.values;
    }
    ADD_FAILURE() << name;
    return tensors_[0].values;
  }
  std::shared_ptr<const Supernet> Build() const {
    return *Supernet::FromBytes(*BuildWeightsFile(*family_, tensors_, PackageOptions()), "changed");
  }

 private:
  std::shared_ptr<const Family> family_;
  std::vector<NamedTensor> tensors_;
};

TEST(SliceWeightTest, TakesTheFirstEntriesOfEveryAxis) {
  Changed changed;
  // [16, 8, 1, 1]: value 100 row + column.
  std::vector<float>& values = changed["blocks.1.conv.inverted_bottleneck.conv.conv.weight"];
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i / 8;
    values[i] = static_cast<float>(row * 100 + i % 8);
  }
  const auto supernet = changed.Build();
  EXPECT_THAT(
      *SliceWeight(*supernet,
                   {"blocks.1.conv.inverted_bottleneck.conv.conv.weight", {3, 2, 1, 1}, {}}),
      ElementsAre(0, 1, 100, 101, 200, 201));
  EXPECT_EQ(SliceWeight(*supernet, {"classifier.linear.bias", {2}, {}})->size(), 2u);
}

TEST(SliceWeightTest, ChainsCentreCropsAndMatrices) {
  Changed changed;
  // Filter 0 of 7 x 7 counts 0..48; its 5 x 5 centre begins at 8, the 3 x 3 centre at 16.
  std::vector<float>& kernel = changed[kDepthwise];
  for (size_t i = 0; i < 2 * 49; ++i) kernel[i] = static_cast<float>(i);
  // 7 -> 5 doubles and adds the crop's first value to its last; 5 -> 3 swaps the first two.
  std::vector<float>& to5 = changed[k7To5];
  std::fill(to5.begin(), to5.end(), 0.0f);
  for (size_t i = 0; i < 25; ++i) to5[i * 25 + i] = 2;
  to5[24 * 25 + 0] = 1;
  to5[6 * 25 + 0] = 1;  // The first value of the 3 x 3 centre gains the 5 x 5 crop's corner.
  std::vector<float>& to3 = changed[k5To3];
  std::fill(to3.begin(), to3.end(), 0.0f);
  for (size_t i = 2; i < 9; ++i) to3[i * 9 + i] = 1;
  to3[0 * 9 + 1] = 1;
  to3[1 * 9 + 0] = 1;
  const auto supernet = changed.Build();

  const KernelTransform seven_to_five{7, 5, k7To5};
  const KernelTransform five_to_three{5, 3, k5To3};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<float> five,
                              SliceWeight(*supernet, {kDepthwise, {2, 1, 5, 5}, {seven_to_five}}));
  ASSERT_EQ(five.size(), 50u);
  EXPECT_EQ(five[0], 2 * 8);
  EXPECT_EQ(five[4], 2 * 12);
  EXPECT_EQ(five[5], 2 * 15);
  EXPECT_EQ(five[6], 2 * 16 + 8);
  EXPECT_EQ(five[24], 2 * 40 + 8);
  EXPECT_EQ(five[25], 2 * (8 + 49));  // The matrix is shared over channels.
  EXPECT_THAT(
      *SliceWeight(*supernet, {kDepthwise, {1, 1, 3, 3}, {seven_to_five, five_to_three}}),
      ElementsAre(2 * 17, 2 * 16 + 8, 2 * 18, 2 * 23, 2 * 24, 2 * 25, 2 * 30, 2 * 31, 2 * 32));
}

TEST(SliceWeightTest, RefusesWhatDoesNotFit) {
  const auto supernet = TinySupernet();
  const auto error = [&](const WeightSlice& slice) {
    return SliceWeight(*supernet, slice).status();
  };
  const absl::StatusCode bad = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(error({"nothing", {1}, {}}), StatusIs(bad, HasSubstr("'nothing'")));
  EXPECT_THAT(error({kDepthwise, {17, 1, 7, 7}, {}}), StatusIs(bad, HasSubstr("does not fit")));
  EXPECT_THAT(error({kDepthwise, {0, 1, 7, 7}, {}}), StatusIs(bad, HasSubstr("does not fit")));
  EXPECT_THAT(error({kDepthwise, {8, 1}, {}}), StatusIs(bad, HasSubstr("rank")));
  EXPECT_THAT(error({kDepthwise, {8, 1, 5, 5}, {}}), StatusIs(bad, HasSubstr("transform")));
  EXPECT_THAT(error({kDepthwise, {8, 1, 3, 3}, {{5, 3, k5To3}}}),
              StatusIs(bad, HasSubstr("cannot follow size 7")));
  EXPECT_THAT(error({kDepthwise, {8, 1, 5, 5}, {{7, 5, k5To3}}}),
              StatusIs(bad, HasSubstr("25 x 25")));
  EXPECT_THAT(error({kDepthwise, {8, 1, 3, 3}, {{7, 5, k7To5}}}),
              StatusIs(bad, HasSubstr("end at size 5")));
}

// A kernel of the largest size that does what the transformed one does: zeros around it. Written
// out apart from the code under test.
std::vector<double> MaskedKernel(const Supernet& supernet, const std::string& prefix,
                                 int64_t channel, int kernel) {
  const auto values = supernet.Find(prefix + "depth_conv.conv.conv.weight")->values;
  std::vector<double> current;
  for (int i = 0; i < 49; ++i) current.push_back(values[static_cast<size_t>(channel * 49 + i)]);
  for (int size = 7; size > kernel; size -= 2) {
    const int to = size - 2;
    const auto matrix = supernet
                            .Find(prefix + "depth_conv.conv." + std::to_string(size) + "to" +
                                  std::to_string(to) + "_matrix")
                            ->values;
    std::vector<double> next(static_cast<size_t>(to * to), 0.0);
    for (int row = 0; row < to * to; ++row) {
      for (int y = 0; y < to; ++y) {
        for (int x = 0; x < to; ++x) {
          next[static_cast<size_t>(row)] +=
              static_cast<double>(matrix[static_cast<size_t>(row * to * to + y * to + x)]) *
              current[static_cast<size_t>((y + 1) * size + x + 1)];
        }
      }
    }
    current = next;
  }
  std::vector<double> padded(49, 0.0);
  const int margin = (7 - kernel) / 2;
  for (int y = 0; y < kernel; ++y) {
    for (int x = 0; x < kernel; ++x) {
      padded[static_cast<size_t>((y + margin) * 7 + x + margin)] =
          current[static_cast<size_t>(y * kernel + x)];
    }
  }
  return padded;
}

// Zeroes rows [kept, ...) of a weight whose first axis has `rows` rows.
void ZeroRows(std::vector<float>* values, int64_t rows, int64_t kept) {
  const size_t row = values->size() / static_cast<size_t>(rows);
  std::fill(values->begin() + static_cast<ptrdiff_t>(row * static_cast<size_t>(kept)),
            values->end(), 0.0f);
}

// The subnet that is cut out computes what the whole network computes with the same channels masked
// to zero: nothing that was cut off mattered.
TEST(ExtractWeightsTest, EqualsTheMaskedSupernet) {
  const auto supernet = TinySupernet();
  const Family& family = supernet->family();
  const SearchSpace& space = family.search_space();
  Random random(5);
  for (int trial = 0; trial < 12; ++trial) {
    const Architecture small = space.Sample(&random);
    // The same depths and resolution, largest kernels and expansions.
    Architecture wide = small;
    for (size_t d = 0; d < space.dimensions().size(); ++d) {
      const Dimension& dimension = space.dimensions()[d];
      const bool width = dimension.name[0] == 'k' || dimension.name[0] == 'e';
      if (width && space.IsActive(small, static_cast<int>(d))) {
        wide.choices[d] = static_cast<int32_t>(dimension.options.size()) - 1;
      }
    }
    FORALL_ASSERT_OK_AND_ASSIGN(const Network small_network, family.Describe(small));
    FORALL_ASSERT_OK_AND_ASSIGN(const Network wide_network, family.Describe(wide));
    FORALL_ASSERT_OK_AND_ASSIGN(const SubnetWeights extracted,
                                ExtractWeights(*supernet, small_network));
    FORALL_ASSERT_OK_AND_ASSIGN(SubnetWeights masked, ExtractWeights(*supernet, wide_network));
    ASSERT_EQ(small_network.layers.size(), wide_network.layers.size());
    for (size_t i = 0; i < wide_network.layers.size(); ++i) {
      const Layer& layer = wide_network.layers[i];
      const int64_t kept = small_network.layers[i].out.channels;
      for (std::vector<float>& values : masked.layers[i]) {
        ZeroRows(&values, layer.out.channels, kept);
      }
      if (layer.kind == LayerKind::kBatchNorm) {
        // Zero scale and shift make a masked channel zero; its variance must stay a divisor.
        std::fill(masked.layers[i][3].begin() + kept, masked.layers[i][3].end(), 1.0f);
      }
      if (layer.kind == LayerKind::kConvolution && layer.groups > 1 && layer.kernel == 7) {
        const std::string prefix = layer.name.substr(0, layer.name.find("depth_conv"));
        for (int64_t c = 0; c < kept; ++c) {
          const std::vector<double> kernel =
              MaskedKernel(*supernet, prefix, c, small_network.layers[i].kernel);
          std::copy(kernel.begin(), kernel.end(), masked.layers[i][0].begin() + c * 49);
        }
      }
    }
    Tensor images;
    images.shape = {2, 1, small_network.input.height, small_network.input.width};
    for (int64_t i = 0; i < 2 * small_network.input.elements(); ++i) {
      images.values.push_back(static_cast<float>(random.Gaussian()));
    }
    const std::vector<double> a = RunReference(small_network, extracted, images, false).logits;
    const std::vector<double> b = RunReference(wide_network, masked, images, false).logits;
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5) << space.ToJson(small);
  }
}

TEST(ApplyStatisticsTest, ReplacesMeanAndVarianceOnly) {
  const auto supernet = TinySupernet();
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Network network,
      supernet->family().Describe(supernet->family().search_space().Smallest()));
  FORALL_ASSERT_OK_AND_ASSIGN(const SubnetWeights before, ExtractWeights(*supernet, network));
  SubnetWeights after = before;
  ASSERT_EQ(network.layers[1].kind, LayerKind::kBatchNorm);
  const std::vector<float> mean(8, 5.0f);
  const std::vector<float> variance(8, 6.0f);
  FORALL_ASSERT_OK(ApplyStatistics(network, {{1, mean, variance}}, &after));
  EXPECT_EQ(after.layers[1][0], before.layers[1][0]);
  EXPECT_EQ(after.layers[1][1], before.layers[1][1]);
  EXPECT_EQ(after.layers[1][2], mean);
  EXPECT_EQ(after.layers[1][3], variance);
  EXPECT_EQ(after.layers[4], before.layers[4]);
  EXPECT_THAT(ApplyStatistics(network, {{0, mean, variance}}, &after),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no BatchNorm")));
  EXPECT_THAT(ApplyStatistics(network, {{1, {1.0f}, {1.0f}}}, &after),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("channels")));
}

}  // namespace
}  // namespace forall
