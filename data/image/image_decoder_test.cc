// SPDX-License-Identifier: Apache-2.0
#include "data/image/image_decoder.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "data/image/testing/test_images.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::EncodeJpeg;
using ::forall::testing::EncodePng;
using ::forall::testing::ReadPpm;
using ::forall::testing::ReferenceFolder;
using ::forall::testing::Scene;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::StatusCode kDamaged = absl::StatusCode::kDataLoss;

std::string Reference(const std::string& name) {
  return ReadFile(ReferenceFolder() + "images/" + name).value();
}

std::vector<std::string> ReferenceNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(ReferenceFolder() + "images")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Every kind of file there is, bit for bit.
TEST(ImageDecoderTest, GivesWhatPilGives) {
  const std::vector<std::string> names = ReferenceNames();
  ASSERT_GE(names.size(), 40u);
  for (const std::string& name : names) {
    FORALL_ASSERT_OK_AND_ASSIGN(const RgbImage image, DecodeImage(Reference(name)));
    const RgbImage expected = ReadPpm(ReferenceFolder() + "decoded/" + name + ".ppm");
    ASSERT_EQ(image.width, expected.width) << name;
    ASSERT_EQ(image.height, expected.height) << name;
    int most = 0;
    for (size_t i = 0; i < expected.bytes(); ++i) {
      most = std::max(most, std::abs(image.pixels[i] - expected.pixels[i]));
    }
    EXPECT_EQ(most, 0) << name;
  }
}

TEST(ImageDecoderTest, PngIsLossless) {
  const RgbImage scene = Scene(61, 47);
  FORALL_ASSERT_OK_AND_ASSIGN(const RgbImage image, DecodeImage(EncodePng(scene)));
  EXPECT_TRUE(std::equal(scene.row(0), scene.row(47), image.row(0)));
}

TEST(ImageDecoderTest, SaysWhatOtherFilesLookLike) {
  const auto expect = [](absl::string_view bytes, const char* what) {
    EXPECT_THAT(DecodeImage(bytes).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what)));
  };
  expect("", "an empty file");
  expect("GIF89a....", "a GIF");
  expect("BM........", "a BMP");
  expect("RIFF....WEBPVP8 ", "a WebP");
  expect("RIFF", "something else");
  expect(absl::string_view("II*\0........", 12), "a TIFF");
  expect("....ftypheic......", "a HEIF");
  expect("<html>Not found</html>", "XML");
  expect("\xff\xd8", "cut short");
  expect("anything else", "something else");
}

// Wherever a file ends, it is an error and says so; no prefix is taken for an image.
TEST(ImageDecoderTest, AFileCutShortIsAnError) {
  for (const char* name : {"420.jpg", "progressive.jpg", "restarts.jpg", "arithmetic.jpg",
                           "rgb8.png", "interlaced_6_16.png", "palette4.png"}) {
    const std::string bytes = Reference(name);
    for (size_t size = 8; size < bytes.size(); size += 7) {
      EXPECT_THAT(DecodeImage(bytes.substr(0, size)).status(), StatusIs(kDamaged, HasSubstr(":")))
          << name << " cut to " << size;
    }
  }
  const std::string jpeg = Reference("444.jpg");
  EXPECT_THAT(DecodeImage(jpeg.substr(0, jpeg.size() / 2)).status(),
              StatusIs(kDamaged, HasSubstr("JPEG: cut short")));
  const std::string png = Reference("rgb8.png");
  EXPECT_THAT(DecodeImage(png.substr(0, png.size() / 2)).status(),
              StatusIs(kDamaged, HasSubstr("PNG: cut short")));
}

TEST(ImageDecoderTest, DamagedDataAreAnError) {
  std::string png = Reference("rgb8.png");
  png[png.size() / 2] ^= 0x10;
  EXPECT_THAT(DecodeImage(png).status(), StatusIs(kDamaged, HasSubstr("PNG: ")));
  // A stray marker in the middle of the compressed data of a baseline JPEG.
  std::string jpeg = Reference("444.jpg");
  jpeg[jpeg.size() / 2] = '\xff';
  jpeg[jpeg.size() / 2 + 1] = '\xd9';
  EXPECT_THAT(DecodeImage(jpeg).status(), StatusIs(kDamaged, HasSubstr("JPEG: ")));
  // Random damage: any answer but a crash; sanitizers watch.
  Random random(5);
  for (const std::string& name : ReferenceNames()) {
    const std::string good = Reference(name);
    for (int round = 0; round < 20; ++round) {
      std::string bad = good;
      for (int i = 0; i < 4; ++i) {
        bad[random.Uniform(bad.size())] = static_cast<char>(random.Uniform(256));
      }
      DecodeImage(bad, {1 << 20}).IgnoreError();
    }
  }
}

TEST(ImageDecoderTest, AbsurdSizesAreRefusedByTheHeader) {
  std::string jpeg = Reference("444.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  for (size_t i = 5; i < 9; ++i) jpeg[frame + i] = '\xf0';
  EXPECT_THAT(DecodeImage(jpeg).status(), StatusIs(absl::StatusCode::kResourceExhausted,
                                                   HasSubstr("61680 x 61680 pixels; at most")));
  std::string png = EncodePng(Scene(3, 2));
  for (size_t i : {16u, 20u}) {
    png.replace(i, 4, std::string("\x7f\xff\xff\xff", 4));
  }
  EXPECT_FALSE(DecodeImage(png).ok());  // its checksum is another one now

  const std::string large = EncodePng(Scene(40, 30));
  FORALL_EXPECT_OK(DecodeImage(large, {1200}).status());
  EXPECT_THAT(DecodeImage(large, {1199}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("40 x 30")));
  const std::string photo = EncodeJpeg(Scene(40, 30), 90);
  FORALL_EXPECT_OK(DecodeImage(photo, {1200}).status());
  EXPECT_THAT(DecodeImage(photo, {1199}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("40 x 30")));
}

TEST(ImageDecoderTest, WhatFollowsTheImageDoesNotCount) {
  const RgbImage scene = Scene(20, 10);
  FORALL_EXPECT_OK(DecodeImage(EncodeJpeg(scene, 80) + "trailing").status());
  FORALL_EXPECT_OK(DecodeImage(EncodePng(scene) + "trailing").status());
}

}  // namespace
}  // namespace forall
