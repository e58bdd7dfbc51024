// SPDX-License-Identifier: Apache-2.0
#include "data/image/image_transform.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/image/testing/test_images.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::ReadPpm;
using ::forall::testing::ReferenceFolder;
using ::forall::testing::Scene;

std::vector<uint8_t> Transform(const RgbImage& image, const TransformPlan& plan) {
  std::vector<uint8_t> planes(static_cast<size_t>(3 * plan.crop.width * plan.crop.height));
  TransformImage(image, plan, absl::MakeSpan(planes));
  return planes;
}

// The largest difference between planes and PIL's image.
int Difference(const std::vector<uint8_t>& planes, const RgbImage& expected) {
  const size_t pixels = static_cast<size_t>(expected.width) * static_cast<size_t>(expected.height);
  EXPECT_EQ(planes.size(), 3 * pixels);
  int most = 0;
  for (size_t i = 0; i < pixels; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      most = std::max(most, std::abs(planes[c * pixels + i] - expected.pixels[3 * i + c]));
    }
  }
  return most;
}

// The bar is 1 of 255; all references are met bit for bit.
TEST(ImageTransformTest, EvaluationIsWhatPilGives) {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ReferenceFolder() + "decoded")) {
    int width = 0;
    int height = 0;
    int resolution = 0;
    if (std::sscanf(entry.path().filename().c_str(), "evaluation_%dx%d_%d.ppm", &width, &height,
                    &resolution) != 3) {
      continue;
    }
    ++cases;
    const std::vector<uint8_t> planes =
        Transform(Scene(width, height), EvaluationPlan(width, height, resolution));
    EXPECT_EQ(Difference(planes, ReadPpm(entry.path().string())), 0) << entry.path();
  }
  EXPECT_EQ(cases, 7);
}

TEST(ImageTransformTest, PartsOfAnImageAreResizedAsIfCutOut) {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ReferenceFolder() + "decoded")) {
    int box[4] = {};
    int resolution = 0;
    if (std::sscanf(entry.path().filename().c_str(), "box_%d_%d_%d_%d_%d.ppm", &box[0], &box[1],
                    &box[2], &box[3], &resolution) != 5) {
      continue;
    }
    ++cases;
    TransformPlan plan;
    plan.source = {box[0], box[1], box[2] - box[0], box[3] - box[1]};
    plan.width = plan.height = resolution;
    plan.crop = {0, 0, resolution, resolution};
    const RgbImage expected = ReadPpm(entry.path().string());
    const std::vector<uint8_t> planes = Transform(Scene(300, 200), plan);
    EXPECT_EQ(Difference(planes, expected), 0) << entry.path();
    plan.mirror = true;
    const std::vector<uint8_t> mirrored = Transform(Scene(300, 200), plan);
    std::vector<uint8_t> back = mirrored;
    for (size_t row = 0; row < back.size(); row += static_cast<size_t>(resolution)) {
      const auto begin = back.begin() + static_cast<int64_t>(row);
      std::reverse(begin, begin + resolution);
    }
    EXPECT_EQ(back, planes);
  }
  EXPECT_EQ(cases, 3);
}

TEST(ImageTransformTest, SizesFollowTorchvision) {
  // 224 of 500 x 375: shorter side 256, longer int(256 * 500 / 375) = 341, offset round(58.5) = 58.
  const TransformPlan wide = EvaluationPlan(500, 375, 224);
  EXPECT_EQ(wide.width, 341);
  EXPECT_EQ(wide.height, 256);
  EXPECT_EQ(wide.crop, (ImageBox{58, 16, 224, 224}));
  const TransformPlan tall = EvaluationPlan(375, 500, 224);
  EXPECT_EQ(tall.height, 341);
  EXPECT_EQ(tall.crop, (ImageBox{16, 58, 224, 224}));
  EXPECT_EQ(EvaluationPlan(10, 10, 128).width, 147);  // ceil(146.28...)
  EXPECT_EQ(EvaluationPlan(10, 10, 160).width, 183);  // ceil(182.86...)
  // Half to even: (147 - 128) / 2 = 9.5 gives 10, (337 - 224) / 2 = 56.5 gives 56.
  EXPECT_EQ(EvaluationPlan(10, 10, 128).crop.x, 10);
}

TEST(ImageTransformTest, WholeKeptPartEqualsPartOfTheWhole) {
  const RgbImage scene = Scene(90, 70);
  TransformPlan plan;
  plan.source = {5, 6, 80, 60};
  plan.width = 53;
  plan.height = 91;
  plan.crop = {0, 0, 53, 91};
  const std::vector<uint8_t> whole = Transform(scene, plan);
  plan.crop = {11, 17, 20, 33};
  const std::vector<uint8_t> part = Transform(scene, plan);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t y = 0; y < 33; ++y) {
      for (size_t x = 0; x < 20; ++x) {
        ASSERT_EQ(part[(c * 33 + y) * 20 + x], whole[(c * 91 + y + 17) * 53 + x + 11]);
      }
    }
  }
}

TEST(ImageTransformTest, EveryKernelGivesTheSameBytes) {
  const RgbImage scene = Scene(203, 151);
  for (const int resolution : {3, 10, 20, 28, 40, 60, 100, 190}) {  // from two taps to many
    TransformPlan plan = EvaluationPlan(203, 151, resolution);
    plan.mirror = resolution % 20 == 0;
    std::vector<uint8_t> plain(Transform(scene, plan).size());
    TransformImage(scene, plan, absl::MakeSpan(plain), TransformKernel::kPlain);
    EXPECT_EQ(plain, Transform(scene, plan)) << resolution;
  }
}

// A constant image stays constant at every size: weights sum to one however they are rounded.
TEST(ImageTransformTest, KeepsConstants) {
  for (const int value : {0, 1, 128, 254, 255}) {
    RgbImage image(113, 67);
    std::fill_n(image.pixels.get(), image.bytes(), static_cast<uint8_t>(value));
    for (const int resolution : {1, 7, 32, 150}) {
      for (const uint8_t byte : Transform(image, EvaluationPlan(113, 67, resolution))) {
        ASSERT_EQ(byte, value) << resolution;
      }
    }
  }
}

TEST(ImageTransformTest, LongThinImagesNeedNoHugeMemory) {
  const RgbImage thin = Scene(3, 40000);
  EXPECT_EQ(Transform(thin, EvaluationPlan(3, 40000, 64)).size(), 3u * 64 * 64);
  const RgbImage dot = Scene(1, 1);
  EXPECT_THAT(Transform(dot, EvaluationPlan(1, 1, 4)),
              ::testing::Each(::testing::AnyOf(dot.pixels[0], dot.pixels[1], dot.pixels[2])));
}

TEST(TrainingPlanTest, BoxesAreInsideTheImageAndOfTheDistribution) {
  Random random(3);
  int mirrored = 0;
  double area = 0;
  double log_ratio = 0;
  const int rounds = 4000;
  for (int i = 0; i < rounds; ++i) {
    const TransformPlan plan = TrainingPlan(500, 375, 32, &random);
    const ImageBox& box = plan.source;
    ASSERT_GE(box.x, 0);
    ASSERT_GE(box.y, 0);
    ASSERT_LE(box.x + box.width, 500);
    ASSERT_LE(box.y + box.height, 375);
    const double share = static_cast<double>(box.width * box.height) / (500.0 * 375);
    const double ratio = static_cast<double>(box.width) / static_cast<double>(box.height);
    ASSERT_GT(share, 0.078);
    ASSERT_GT(ratio, 0.74);
    ASSERT_LT(ratio, 1.35);
    area += share / rounds;
    log_ratio += std::log(ratio) / rounds;
    mirrored += plan.mirror ? 1 : 0;
  }
  EXPECT_NEAR(mirrored, 0.5 * rounds, 150);
  // Boxes that do not fit are drawn again, which favours small ones and wide ones: 0.4328 and
  // 0.0309 by 200,000 draws of the same rule written in Python.
  EXPECT_NEAR(area, 0.4328, 0.012);
  EXPECT_NEAR(log_ratio, 0.0309, 0.01);
}

TEST(TrainingPlanTest, ThinImagesGiveTheirMiddle) {
  Random random(1);
  EXPECT_EQ(TrainingPlan(10, 1000, 32, &random).source, (ImageBox{0, 493, 10, 13}));
  EXPECT_EQ(TrainingPlan(1000, 10, 32, &random).source, (ImageBox{493, 0, 13, 10}));
}

TEST(TrainingPlanTest, IsAFunctionOfTheSeed) {
  Random first(9);
  Random second(9);
  Random other(10);
  EXPECT_EQ(TrainingPlan(80, 60, 32, &first).source, TrainingPlan(80, 60, 32, &second).source);
  EXPECT_FALSE(TrainingPlan(80, 60, 32, &first).source == TrainingPlan(80, 60, 32, &other).source);
}

}  // namespace
}  // namespace forall
