// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/calibration.h"

#include <string>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/testing/reference_network.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::ReferenceResult;
using ::forall::testing::RunReference;
using ::forall::testing::StatusIs;
using ::forall::testing::TinySupernet;
using ::testing::HasSubstr;

std::vector<Tensor> RandomBatches(const Network& network, const std::vector<int64_t>& sizes) {
  std::vector<Tensor> batches;
  Random random(3);
  for (size_t b = 0; b < sizes.size(); ++b) {
    Tensor batch;
    batch.shape = {sizes[b], network.input.channels, network.input.height, network.input.width};
    // Every batch of another scale, so that weighting matters.
    for (int64_t i = 0; i < sizes[b] * network.input.elements(); ++i) {
      batch.values.push_back(
          static_cast<float>((1.0 + static_cast<double>(b)) * random.Gaussian()));
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

BatchSource SourceOf(const std::vector<Tensor>& batches) {
  return [&batches, next = size_t{0}](Tensor* batch) mutable -> absl::StatusOr<bool> {
    if (next == batches.size()) return false;
    *batch = batches[next++];
    return true;
  };
}

// The official protocol computed apart, in double: per-batch mean and biased variance, layer after
// layer each normalised with its own, averaged by batch size.
TEST(CalibrationTest, EqualsTheProtocolComputedInDouble) {
  const auto supernet = TinySupernet();
  const SearchSpace& space = supernet->family().search_space();
  for (const Architecture& architecture : {space.Smallest(), space.Largest()}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const Network network, supernet->family().Describe(architecture));
    FORALL_ASSERT_OK_AND_ASSIGN(const SubnetWeights weights, ExtractWeights(*supernet, network));
    const std::vector<Tensor> batches = RandomBatches(network, {4, 4, 2});
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<BatchNormStatistics> statistics,
                                Calibrate(network, weights, SourceOf(batches), SessionOptions()));

    std::vector<ReferenceResult> references;
    for (const Tensor& batch : batches) {
      references.push_back(RunReference(network, weights, batch, /*batch_statistics=*/true));
    }
    ASSERT_EQ(statistics.size(), references[0].batch_mean.size());
    for (size_t i = 0; i < statistics.size(); ++i) {
      EXPECT_EQ(network.layers[static_cast<size_t>(statistics[i].layer)].kind,
                LayerKind::kBatchNorm);
      for (size_t c = 0; c < statistics[i].mean.size(); ++c) {
        double mean = 0;
        double variance = 0;
        for (size_t b = 0; b < batches.size(); ++b) {
          const double share = static_cast<double>(batches[b].shape[0]) / 10;
          mean += references[b].batch_mean[i][c] * share;
          variance += references[b].batch_variance[i][c] * share;
        }
        EXPECT_NEAR(statistics[i].mean[c], mean, 1e-4 + 1e-4 * std::abs(mean));
        // Bessel's correction would be off by 1/127 at the smallest map here.
        EXPECT_NEAR(statistics[i].variance[c], variance, 1e-5 + 1e-3 * variance);
      }
    }
  }
}

// One BatchNorm, two values per channel: by hand. Batch {1, 3}: mean 2, biased variance 1 (unbiased
// would be 2). Batch {10}: mean 10, variance 0. Weighted by size: 14/3 and 2/3.
TEST(CalibrationTest, VarianceIsBiasedAndAveragesAreWeighted) {
  Network network;
  network.input = {1, 1, 1};
  network.classes = 1;
  Layer norm;
  norm.kind = LayerKind::kBatchNorm;
  norm.name = "norm";
  norm.inputs = {kNetworkInput};
  norm.in = norm.out = network.input;
  norm.epsilon = 1e-5;
  for (const char* name : {"w", "b", "m", "v"}) norm.weights.push_back({name, {1}, {}});
  Layer pool;
  pool.kind = LayerKind::kGlobalAveragePool;
  pool.name = "pool";
  pool.inputs = {0};
  pool.in = pool.out = network.input;
  Layer linear;
  linear.kind = LayerKind::kLinear;
  linear.name = "linear";
  linear.inputs = {1};
  linear.in = linear.out = network.input;
  linear.has_bias = true;
  linear.weights = {{"lw", {1, 1}, {}}, {"lb", {1}, {}}};
  network.layers = {norm, pool, linear};
  SubnetWeights weights;
  weights.layers = {{{1.0f}, {0.0f}, {0.0f}, {1.0f}}, {}, {{1.0f}, {0.0f}}};
  const std::vector<Tensor> batches = {{{2, 1, 1, 1}, {1.0f, 3.0f}}, {{1, 1, 1, 1}, {10.0f}}};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<BatchNormStatistics> statistics,
                              Calibrate(network, weights, SourceOf(batches), SessionOptions()));
  ASSERT_EQ(statistics.size(), 1u);
  EXPECT_FLOAT_EQ(statistics[0].mean[0], 14.0f / 3);
  EXPECT_FLOAT_EQ(statistics[0].variance[0], 2.0f / 3);
}

TEST(CalibrationTest, RefusesBadBatches) {
  const auto supernet = TinySupernet();
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Network network,
      supernet->family().Describe(supernet->family().search_space().Smallest()));
  FORALL_ASSERT_OK_AND_ASSIGN(const SubnetWeights weights, ExtractWeights(*supernet, network));
  const auto calibrate = [&](const std::vector<Tensor>& batches) {
    return Calibrate(network, weights, SourceOf(batches), SessionOptions()).status();
  };
  EXPECT_THAT(calibrate({}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no images")));
  EXPECT_THAT(calibrate({{{1, 1, 7, 8}, std::vector<float>(56)}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[n, 1, 8, 8]")));
  EXPECT_THAT(calibrate({{{2, 1, 8, 8}, std::vector<float>(64)}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  std::vector<float> infinite(64, std::numeric_limits<float>::infinity());
  EXPECT_THAT(calibrate({{{1, 1, 8, 8}, infinite}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not finite")));
  const BatchSource broken = [](Tensor*) -> absl::StatusOr<bool> {
    return absl::UnavailableError("disk gone");
  };
  EXPECT_THAT(Calibrate(network, weights, broken, SessionOptions()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("disk gone")));
}

}  // namespace
}  // namespace forall
