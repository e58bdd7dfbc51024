// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/model_reader.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/onnx/exporter.h"
#include "supernet/onnx/half_model.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::RandomSupernet;
using ::forall::testing::StatusIs;
using ::forall::testing::TinyFamilies;
using ::testing::HasSubstr;

// Statistics unlike the supernet's.
std::vector<BatchNormStatistics> OtherStatistics(const Network& network, uint64_t seed) {
  Random random(seed);
  std::vector<BatchNormStatistics> statistics;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].kind != LayerKind::kBatchNorm) continue;
    BatchNormStatistics& entry = statistics.emplace_back();
    entry.layer = static_cast<int>(i);
    for (int64_t c = 0; c < network.layers[i].in.channels; ++c) {
      entry.mean.push_back(static_cast<float>(random.Gaussian()));
      entry.variance.push_back(static_cast<float>(0.01 + 4 * random.Double()));
    }
  }
  return statistics;
}

TEST(RecoverCalibrationTest, FindsTheStatisticsOfEveryFamilyInEitherForm) {
  for (const auto& family : TinyFamilies()) {
    const auto supernet = RandomSupernet(*family);
    const SearchSpace& space = family->search_space();
    Random random(3);
    for (int trial = 0; trial < 5; ++trial) {
      const Architecture architecture = trial == 0 ? space.Largest() : space.Sample(&random);
      SCOPED_TRACE(space.ToJson(architecture));
      const Network network = *family->Describe(architecture);
      const SubnetWeights slices = *ExtractWeights(*supernet, network);
      const auto statistics = OtherStatistics(network, 17);
      SubnetWeights calibrated = slices;
      FORALL_ASSERT_OK(ApplyStatistics(network, statistics, &calibrated));
      for (const BatchNormForm form : {BatchNormForm::kFolded, BatchNormForm::kNodes}) {
        OnnxExportOptions options;
        options.batch_norm = form;
        FORALL_ASSERT_OK_AND_ASSIGN(const std::string model,
                                    BuildOnnxModel(network, calibrated, options));
        SubnetWeights recovered = slices;
        FORALL_ASSERT_OK(RecoverCalibration(model, network, &recovered));
        for (const BatchNormStatistics& entry : statistics) {
          const auto& values = recovered.layers[static_cast<size_t>(entry.layer)];
          for (size_t c = 0; c < entry.mean.size(); ++c) {
            EXPECT_NEAR(values[2][c], entry.mean[c], 2e-5) << entry.layer << " " << c;
            EXPECT_NEAR(values[3][c], entry.variance[c], 2e-6f * entry.variance[c] + 1e-8f);
          }
        }
      }
    }
  }
}

TEST(RecoverCalibrationTest, DeadChannelsKeepTheSupernetsVarianceAndTheirValue) {
  const auto supernet = testing::TinySupernet();
  const Network network = *supernet->family().Describe(supernet->family().search_space().Largest());
  SubnetWeights slices = *ExtractWeights(*supernet, network);
  ASSERT_EQ(network.layers[1].kind, LayerKind::kBatchNorm);
  std::vector<float>& kernel = slices.layers[0][0];
  const size_t filter = kernel.size() / slices.layers[1][0].size();
  std::fill_n(kernel.begin() + static_cast<std::ptrdiff_t>(2 * filter), filter, 0.0f);
  slices.layers[1][0][3] = 0;  // a scale
  SubnetWeights calibrated = slices;
  FORALL_ASSERT_OK(ApplyStatistics(network, OtherStatistics(network, 4), &calibrated));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string model,
                              BuildOnnxModel(network, calibrated, OnnxExportOptions()));
  SubnetWeights recovered = slices;
  FORALL_ASSERT_OK(RecoverCalibration(model, network, &recovered));
  EXPECT_EQ(recovered.layers[1][3][2], slices.layers[1][3][2]);
  EXPECT_EQ(recovered.layers[1][3][3], slices.layers[1][3][3]);
  const auto constant = [&](const SubnetWeights& weights, size_t c) {
    const auto& norm = weights.layers[1];
    return norm[1][c] - norm[0][c] * norm[2][c] /
                            std::sqrt(norm[3][c] + static_cast<float>(network.layers[1].epsilon));
  };
  for (const size_t c : {2u, 3u}) {
    EXPECT_NEAR(constant(recovered, c), constant(calibrated, c), 1e-6f) << c;
  }
}

TEST(RecoverCalibrationTest, RefusesAnotherSubnetSupernetOrPrecision) {
  const auto supernet = testing::TinySupernet();
  const SearchSpace& space = supernet->family().search_space();
  const Network network = *supernet->family().Describe(space.Largest());
  const Network other = *supernet->family().Describe(space.Smallest());
  SubnetWeights weights = *ExtractWeights(*supernet, network);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string model,
                              BuildOnnxModel(network, weights, OnnxExportOptions()));
  SubnetWeights smaller = *ExtractWeights(*supernet, other);
  EXPECT_THAT(RecoverCalibration(model, other, &smaller),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no export of this subnet")));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string half, ToHalfModel(model));
  EXPECT_THAT(RecoverCalibration(half, network, &weights),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not float32")));
  weights.layers[0][0][1] *= 1.01f;
  EXPECT_THAT(RecoverCalibration(model, network, &weights),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no multiple")));
  EXPECT_THAT(RecoverCalibration("no model", network, &weights),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ReadOnnxMetadataTest, ReturnsAllOfIt) {
  const auto supernet = testing::TinySupernet();
  const Network network =
      *supernet->family().Describe(supernet->family().search_space().Smallest());
  OnnxExportOptions options;
  options.metadata = {{"a", "1"}, {"b", "two"}};
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::string model,
      BuildOnnxModel(network, *ExtractWeights(*supernet, network), options));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto metadata, ReadOnnxMetadata(model));
  EXPECT_EQ(metadata, (std::map<std::string, std::string>{{"a", "1"}, {"b", "two"}}));
  EXPECT_THAT(ReadOnnxMetadata("no model"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace forall
