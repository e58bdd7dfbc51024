// SPDX-License-Identifier: Apache-2.0
#include "supernet/predictor/accuracy_predictor.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/package.h"
#include "supernet/predictor/predictor_import.h"
#include "supernet/testing/torch_writer.h"

namespace forall {
namespace {

using ::forall::testing::MakeOldCheckpoint;
using ::forall::testing::MakeZipCheckpoint;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

NamedTensor RandomTensor(const std::string& name, std::vector<int64_t> shape, Random* random) {
  NamedTensor tensor{name, std::move(shape), {}};
  int64_t elements = 1;
  for (const int64_t extent : tensor.shape) elements *= extent;
  for (int64_t i = 0; i < elements; ++i) {
    tensor.values.push_back(static_cast<float>(0.3 * random->Gaussian()));
  }
  return tensor;
}

// As the newer code writes one: no bias in the last layer, and base_acc.
std::vector<NamedTensor> NewerCheckpoint(int64_t features) {
  Random random(5);
  return {RandomTensor("base_acc", {1}, &random),
          RandomTensor("layers.0.0.weight", {7, features}, &random),
          RandomTensor("layers.0.0.bias", {7}, &random),
          RandomTensor("layers.1.0.weight", {6, 7}, &random),
          RandomTensor("layers.1.0.bias", {6}, &random),
          RandomTensor("layers.2.weight", {1, 6}, &random)};
}

// Straight from the definition, over explicit inputs.
double Perceptron(const std::vector<NamedTensor>& t, std::vector<double> x) {
  for (size_t layer = 1; layer <= 5; layer += 2) {
    std::vector<double> y(static_cast<size_t>(t[layer].shape[0]));
    for (size_t o = 0; o < y.size(); ++o) {
      y[o] = layer < 5 ? static_cast<double>(t[layer + 1].values[o]) : 0.0;
      for (size_t i = 0; i < x.size(); ++i) {
        y[o] += static_cast<double>(t[layer].values[o * x.size() + i]) * x[i];
      }
      if (layer < 5) y[o] = std::max(y[o], 0.0);
    }
    x = y;
  }
  return 100 * (x[0] + static_cast<double>(t[0].values[0]));
}

class PredictorTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& bytes) {
    const std::string path = directory_ / "predictor.pth";
    FORALL_EXPECT_OK(WriteFileAtomically(path, bytes));
    return path;
  }
  absl::StatusOr<std::shared_ptr<const AccuracyPredictor>> Load(
      const PredictorFile& file, const std::shared_ptr<const Family>& family) {
    const absl::StatusOr<std::string> bytes = SerializePredictor(file);
    if (!bytes.ok()) return bytes.status();
    return AccuracyPredictor::Parse(*bytes, "predictor", family);
  }
  const TempDir directory_;
};

TEST_F(PredictorTest, IsThePerceptronOverTheDocumentedFeatures) {
  const auto family = *FindFamily("ofa_mbv3_w1.0");
  const SearchSpace& space = family->search_space();
  const std::vector<int32_t> sizes = {128, 160, 192, 224};
  const std::vector<NamedTensor> tensors = NewerCheckpoint(4 + 60 + 60);
  for (const std::string& bytes : {MakeZipCheckpoint(tensors), MakeOldCheckpoint(tensors)}) {
    const absl::StatusOr<PredictorFile> none =
        ImportPredictor(Write(bytes), *family, FeatureOrder::kResolutionKernelExpand, {});
    EXPECT_THAT(none, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("124 features")));
    // Its own space searches more resolutions than this predictor knows.
    FORALL_ASSERT_OK_AND_ASSIGN(
        const PredictorFile file,
        ImportPredictor(Write(bytes), *family, FeatureOrder::kResolutionKernelExpand, sizes));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto predictor, Load(file, family));
    EXPECT_TRUE(predictor->Predict(space.Largest()).has_value());
    Architecture between = space.Largest();
    ASSERT_EQ(space.dimensions()[0].name, "r");
    --between.choices[0];
    EXPECT_EQ(predictor->Predict(between), std::nullopt);
    FORALL_ASSERT_OK_AND_ASSIGN(
        const PredictorFile foreign,
        ImportPredictor(Write(bytes), *family, FeatureOrder::kResolutionKernelExpand,
                        {1, 2, 3, 4}));
    EXPECT_THAT(Load(foreign, family),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("know no option of r")));
  }
  // A space with just these resolutions.
  auto spec = absl::StrReplaceAll(family->Spec(), {{"\n", ""}});
  const size_t begin = spec.find('[', spec.find("\"resolutions\""));
  spec.replace(begin, spec.find(']', begin) - begin + 1, "[128, 160, 192, 224]");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto own, FamilyFromSpec(spec));
  FORALL_ASSERT_OK_AND_ASSIGN(const PredictorFile file,
                              ImportPredictor(Write(MakeZipCheckpoint(tensors)), *own,
                                              FeatureOrder::kResolutionKernelExpand, {}));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto predictor, Load(file, own));
  Random random(8);
  for (int trial = 0; trial < 20; ++trial) {
    const Architecture architecture = own->search_space().Sample(&random);
    std::map<std::string, int32_t> value;
    for (size_t i = 0; i < space.dimensions().size(); ++i) {
      const Dimension& dimension = own->search_space().dimensions()[i];
      value[dimension.name] = dimension.options[static_cast<size_t>(architecture.choices[i])];
    }
    std::vector<double> x(124, 0.0);
    x[static_cast<size_t>((value["r"] - 128) / 32)] = 1;
    for (int block = 0; block < 20; ++block) {
      const int stage = block / 4 + 1;
      const std::string at = absl::StrCat(stage, ".", block % 4 + 1);
      if (block % 4 >= value[absl::StrCat("d", stage)]) continue;
      x[static_cast<size_t>(4 + 3 * block + (value["k" + at] - 3) / 2)] = 1;
      const int32_t e = value["e" + at];
      x[static_cast<size_t>(64 + 3 * block + (e == 6 ? 2 : e - 3))] = 1;
    }
    EXPECT_NEAR(predictor->Predict(architecture).value(), Perceptron(tensors, x), 1e-9);
  }
}

// A stem width that the published list names twice is its first entry.
TEST_F(PredictorTest, AResNetsFeaturesAreItsListedWidths) {
  const auto family = *FindFamily("ofa_resnet50");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::vector<FeatureGroup> groups,
      PublishedFeatures(*family, FeatureOrder::kResolutionKernelExpand, {224}));
  ASSERT_EQ(groups.size(), 2u + 6u + 18u);
  EXPECT_EQ(groups[0].dimension, "r");
  EXPECT_EQ(groups[1].dimension, "d0");
  EXPECT_EQ(groups[2].dimension, "w0.1");
  EXPECT_EQ(groups[2].values, (std::vector<int32_t>{24, 24, 32}));
  EXPECT_EQ(groups[7].dimension, "w4");
  EXPECT_EQ(groups[8].dimension, "e1.1");
  EXPECT_THAT(PublishedFeatures(*family, FeatureOrder::kKernelExpandResolution, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("searches no kernels")));
}

TEST_F(PredictorTest, WhatIsNoPredictorIsNamed) {
  const auto family = *FindFamily("ofa_mbv3_w1.0");
  const auto import = [&](const std::vector<NamedTensor>& tensors) {
    return ImportPredictor(Write(MakeZipCheckpoint(tensors)), *family,
                           FeatureOrder::kKernelExpandResolution, {})
        .status();
  };
  std::vector<NamedTensor> tensors = NewerCheckpoint(128);
  FORALL_EXPECT_OK(import(tensors));
  tensors[3].name = "conv.kernel";
  EXPECT_THAT(import(tensors),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'conv.kernel' is no part")));
  tensors = NewerCheckpoint(128);
  Random random(1);
  tensors[3] = RandomTensor("layers.1.0.weight", {6, 8}, &random);
  FORALL_ASSERT_OK_AND_ASSIGN(PredictorFile file,
                              ImportPredictor(Write(MakeZipCheckpoint(tensors)), *family,
                                              FeatureOrder::kKernelExpandResolution, {}));
  EXPECT_THAT(SerializePredictor(file),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layers.1: takes 8 inputs")));

  FORALL_ASSERT_OK_AND_ASSIGN(
      file, ImportPredictor(Write(MakeZipCheckpoint(NewerCheckpoint(128))), *family,
                            FeatureOrder::kKernelExpandResolution, {}));
  EXPECT_THAT(Load(file, *FindFamily("ofa_mbv3_w1.2")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not for ofa_mbv3_w1.2")));
  EXPECT_THAT(AccuracyPredictor::Parse("{}", "some file", family),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("some file")));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string other, SerializeSafetensors({}, {}));
  EXPECT_THAT(AccuracyPredictor::Parse(other, "some file", family),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no accuracy predictor")));
}

// The authors' own predictor and the values that they publish with it.
TEST_F(PredictorTest, ThePublishedPredictorSaysWhatItsAuthorsSay) {
  const char* const source = std::getenv("FORALL_SOURCE_DIR");
  const std::string path = absl::StrCat(source == nullptr ? "." : source,
                                        "/../shared/data/ofa_note10/acc_predictor.pth");
  if (!ReadFile(path).ok()) GTEST_SKIP() << "no published predictor beside the repository";
  const auto family = *FindFamily("ofa_mbv3_w1.2");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const PredictorFile file,
      ImportPredictor(path, *family, FeatureOrder::kKernelExpandResolution, {}));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto predictor, Load(file, family));
  const SearchSpace& space = family->search_space();
  const auto smallest_at = [&](const std::string& resolution) {
    const std::string text =
        absl::StrReplaceAll(R"({"ks":[K],"e":[K],"d":[2,2,2,2,2],"r":R})",
                            {{"K", "3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3"}, {"R", resolution}});
    return predictor->Predict(family->ParseArchitecture(text).value()).value();
  };
  EXPECT_NEAR(predictor->Predict(space.Largest()).value(), 83.592778, 1e-4);
  EXPECT_NEAR(smallest_at("224"), 77.738649, 1e-4);
  EXPECT_NEAR(smallest_at("160"), 75.311863, 1e-4);
}

}  // namespace
}  // namespace forall
