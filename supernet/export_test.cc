// SPDX-License-Identifier: Apache-2.0
#include "supernet/export.h"

#include <cmath>
#include <memory>
#include <numeric>
#include <set>

#include "base/random.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/identity.h"
#include "supernet/onnx/calibration.h"
#include "supernet/subnet_weights.h"
#include "supernet/testing/reference_network.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::RunReference;
using ::forall::testing::StatusIs;
using ::forall::testing::TinySupernet;
using ::testing::HasSubstr;

// Noise images that depend on index and resolution only.
class NoiseDataset : public Dataset {
 public:
  explicit NoiseDataset(std::string name = "noise", Split split = Split::kTrain, int channels = 1)
      : name_(std::move(name)), split_(split), channels_(channels) {}
  const std::string& name() const override { return name_; }
  Split split() const override { return split_; }
  int64_t size() const override { return 50; }
  int channels() const override { return channels_; }
  int classes() const override { return 3; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  const std::string& checksum() const override { return name_; }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(index % 3); }
  const PixelNormalization& normalization() const override { return normalization_; }
  absl::Status LoadForCalibration(absl::Span<const int64_t> indices, int resolution, uint64_t seed,
                                  absl::Span<float> output) const override {
    seed_ = seed;
    return Load(indices, resolution, output);
  }
  uint64_t seed() const { return seed_; }
  absl::Status Load(absl::Span<const int64_t> indices, int resolution,
                    absl::Span<float> output) const override {
    const size_t pixels = static_cast<size_t>(channels_ * resolution * resolution);
    if (output.size() != indices.size() * pixels) return absl::InvalidArgumentError("size");
    for (size_t i = 0; i < indices.size(); ++i) {
      Random random(static_cast<uint64_t>(indices[i]));
      for (size_t p = 0; p < pixels; ++p) {
        output[i * pixels + p] = static_cast<float>(random.Gaussian());
      }
    }
    return absl::OkStatus();
  }

 private:
  std::string name_;
  Split split_;
  int channels_;
  mutable uint64_t seed_ = 0;  // of the last calibration
  PixelNormalization normalization_;
  std::vector<std::string> class_names_ = {"a", "b", "c"};
};

CalibrationOptions SmallCalibration() {
  CalibrationOptions options;
  options.images = 25;
  options.batch = 10;
  return options;
}

TEST(ExportSubnetTest, IsTheCalibratedSubnetWithItsIdentities) {
  const auto supernet = TinySupernet("noise");
  const Family& family = supernet->family();
  Random random(2);
  const Architecture architecture = family.search_space().Sample(&random);
  const NoiseDataset train;
  const CalibrationOptions calibration = SmallCalibration();
  FORALL_ASSERT_OK_AND_ASSIGN(const ExportedSubnet exported,
                              ExportSubnet(*supernet, architecture, train, calibration,
                                           DeploymentRecipe(), SessionOptions()));
  EXPECT_EQ(exported.sha256, Sha256Hex(exported.bytes));
  EXPECT_EQ(exported.arch_key, ArchKey(family.search_space(), architecture));
  EXPECT_EQ(exported.calibration_id, CalibrationId("noise", "train", 25, 10, 1));
  EXPECT_EQ(train.seed(), calibration.seed) << "calibrated by the dataset's transform for it";

  FORALL_ASSERT_OK_AND_ASSIGN(const auto session,
                              OnnxSession::Create(exported.bytes, SessionOptions()));
  EXPECT_EQ(session->Metadata(kMetadataArchKey), exported.arch_key);
  EXPECT_EQ(session->Metadata(kMetadataCalibrationId), exported.calibration_id);
  EXPECT_EQ(session->Metadata(kMetadataSupernet), supernet->hash());
  EXPECT_EQ(session->Metadata(kMetadataRecipe), "fp32");
  EXPECT_EQ(session->Metadata(kMetadataSearchSpace), "tiny");
  EXPECT_EQ(session->Metadata(kMetadataDataset), "noise");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Architecture read_back,
      family.search_space().FromJson(session->Metadata(kMetadataArchitecture)));
  EXPECT_EQ(read_back, family.search_space().Canonical(architecture));

  // The same by the reference: statistics of batches of 10, 10 and 5 images.
  FORALL_ASSERT_OK_AND_ASSIGN(const Network network, family.Describe(architecture));
  EXPECT_EQ(session->Metadata(kMetadataResolution), std::to_string(network.input.height));
  FORALL_ASSERT_OK_AND_ASSIGN(SubnetWeights weights, ExtractWeights(*supernet, network));
  const std::vector<int64_t> images = CalibrationImages(train.size(), 25, 1);
  std::vector<BatchNormStatistics> statistics;
  for (size_t begin = 0; begin < images.size(); begin += 10) {
    const auto indices = absl::MakeConstSpan(images).subspan(begin, 10);
    Tensor batch;
    batch.shape = {static_cast<int64_t>(indices.size()), 1, network.input.height,
                   network.input.width};
    batch.values.resize(indices.size() * static_cast<size_t>(network.input.elements()));
    FORALL_ASSERT_OK(
        train.Load(indices, static_cast<int>(network.input.height), absl::MakeSpan(batch.values)));
    const auto result = RunReference(network, weights, batch, true);
    size_t norm = 0;
    for (size_t i = 0; i < network.layers.size(); ++i) {
      if (network.layers[i].kind != LayerKind::kBatchNorm) continue;
      if (begin == 0) {
        const std::vector<float> zeros(result.batch_mean[norm].size(), 0.0f);
        statistics.push_back({static_cast<int>(i), zeros, zeros});
      }
      for (size_t c = 0; c < statistics[norm].mean.size(); ++c) {
        const double share = static_cast<double>(indices.size()) / 25;
        statistics[norm].mean[c] += static_cast<float>(result.batch_mean[norm][c] * share);
        statistics[norm].variance[c] += static_cast<float>(result.batch_variance[norm][c] * share);
      }
      ++norm;
    }
  }
  FORALL_ASSERT_OK(ApplyStatistics(network, statistics, &weights));
  Tensor image;
  image.shape = {1, 1, network.input.height, network.input.width};
  image.values.resize(static_cast<size_t>(network.input.elements()));
  const int64_t last = 49;
  FORALL_ASSERT_OK(
      train.Load({&last, 1}, static_cast<int>(network.input.height), absl::MakeSpan(image.values)));
  const TensorView view{image.shape, image.values};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<Tensor> outputs, session->Run({&view, 1}));
  const std::vector<double> expected = RunReference(network, weights, image, false).logits;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(outputs[0].values[i], expected[i], 1e-3);
  }
}

TEST(ExportSubnetTest, OneNetworkOneFile) {
  const auto supernet = TinySupernet("noise");
  const SearchSpace& space = supernet->family().search_space();
  // Two spellings of the smallest network: what a skipped block would have been says nothing.
  Architecture other = space.Smallest();
  bool changed = false;
  for (size_t d = 0; d < space.dimensions().size(); ++d) {
    if (!space.IsActive(other, static_cast<int>(d))) {
      other.choices[d] = static_cast<int32_t>(space.dimensions()[d].options.size()) - 1;
      changed = true;
    }
  }
  ASSERT_TRUE(changed);
  const NoiseDataset train;
  const auto run = [&](const Architecture& architecture, uint64_t seed) {
    CalibrationOptions calibration = SmallCalibration();
    calibration.seed = seed;
    return ExportSubnet(*supernet, architecture, train, calibration, DeploymentRecipe(),
                        SessionOptions());
  };
  FORALL_ASSERT_OK_AND_ASSIGN(const ExportedSubnet a, run(space.Smallest(), 1));
  FORALL_ASSERT_OK_AND_ASSIGN(const ExportedSubnet b, run(other, 1));
  FORALL_ASSERT_OK_AND_ASSIGN(const ExportedSubnet c, run(other, 2));
  EXPECT_EQ(a.sha256, b.sha256);
  EXPECT_NE(a.sha256, c.sha256);
  EXPECT_NE(a.calibration_id, c.calibration_id);
}

TEST(ExportSubnetTest, RefusesWhatDoesNotBelongTogether) {
  const auto supernet = TinySupernet("noise");
  const Architecture good = supernet->family().search_space().Smallest();
  const auto run = [&](const Architecture& architecture, const Dataset& dataset, int64_t images,
                       Precision precision) {
    CalibrationOptions calibration;
    calibration.images = images;
    DeploymentRecipe recipe;
    recipe.precision = precision;
    return ExportSubnet(*supernet, architecture, dataset, calibration, recipe, SessionOptions())
        .status();
  };
  const absl::StatusCode bad = absl::StatusCode::kInvalidArgument;
  const Precision fp32 = Precision::kFp32;
  EXPECT_THAT(run(good, NoiseDataset("other"), 5, fp32), StatusIs(bad, HasSubstr("\"other\"")));
  EXPECT_THAT(run(good, NoiseDataset("noise", Split::kTest), 5, fp32),
              StatusIs(bad, HasSubstr("train split")));
  EXPECT_THAT(run(good, NoiseDataset("noise", Split::kTrain, 3), 5, fp32),
              StatusIs(bad, HasSubstr("3 channels")));
  EXPECT_THAT(run(good, NoiseDataset(), 0, fp32), StatusIs(bad, HasSubstr("images")));
  EXPECT_THAT(run(good, NoiseDataset(), 5, Precision::kInt8),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("int8")));
  Architecture foreign = good;
  foreign.search_space = "elsewhere";
  EXPECT_THAT(run(foreign, NoiseDataset(), 5, fp32), StatusIs(bad));
}

TEST(CalibrationImagesTest, NestAndFollowTheSeed) {
  const std::vector<int64_t> few = CalibrationImages(100, 10, 1);
  const std::vector<int64_t> many = CalibrationImages(100, 60, 1);
  EXPECT_EQ(few, std::vector<int64_t>(many.begin(), many.begin() + 10));
  EXPECT_EQ(std::set<int64_t>(many.begin(), many.end()).size(), 60u);
  EXPECT_NE(few, CalibrationImages(100, 10, 2));
  std::vector<int64_t> all = CalibrationImages(7, 100, 1);
  std::sort(all.begin(), all.end());
  EXPECT_THAT(all, ::testing::ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_TRUE(CalibrationImages(0, 5, 1).empty());
}

}  // namespace
}  // namespace forall
