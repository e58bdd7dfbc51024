// SPDX-License-Identifier: Apache-2.0
#include "data/stored_dataset.h"

#include <algorithm>
#include <memory>
#include <set>

#include "base/testing/matchers.h"
#include "base/thread.h"
#include "data/resize.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

constexpr int kSide = 8;
constexpr int64_t kImages = 600;  // more than one block of resized images

std::unique_ptr<StoredDataset> Toy() {
  const ImageFormat format = {3, 1, kSide, kSide};
  ImageStoreContent content;
  for (int64_t i = 0; i < kImages; ++i) {
    content.labels[0].push_back(static_cast<char>(i % 3));
    for (int p = 0; p < kSide * kSide; ++p) {
      content.pixels[0].push_back(static_cast<char>((i * 7 + p * 3) % 256));
    }
  }
  auto store =
      ImageStoreSplit::Parse(SerializeImageStore(format, content), Split::kTrain, format, "toy");
  return std::make_unique<StoredDataset>(
      DatasetDescription{"toy", format, {"a", "b", "c"}, {{0.5f}, {0.25f}}}, Split::kTrain,
      *std::move(store));
}

TEST(StoredDatasetTest, NormalizesAtTheStoredResolution) {
  const auto toy = Toy();
  std::vector<float> out(2 * kSide * kSide);
  FORALL_ASSERT_OK(toy->Load({3, 0}, kSide, absl::MakeSpan(out)));
  EXPECT_FLOAT_EQ(out[0], (21 / 255.0f - 0.5f) / 0.25f);
  EXPECT_FLOAT_EQ(out[kSide * kSide + 1], (3 / 255.0f - 0.5f) / 0.25f);
  EXPECT_EQ(toy->label(3), 0);
}

TEST(StoredDatasetTest, OtherResolutionsAreResizedWhateverTheOrderOfAsking) {
  const auto toy = Toy();
  std::vector<float> native(kSide * kSide);
  FORALL_ASSERT_OK(toy->Load({599}, kSide, absl::MakeSpan(native)));
  std::vector<float> expected(25);
  PlaneResizer(kSide, 5).Resize(native, absl::MakeSpan(expected));
  std::vector<float> out(3 * 25);
  FORALL_ASSERT_OK(toy->Load({2, 599, 599}, 5, absl::MakeSpan(out)));
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), out.begin() + 25));
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), out.begin() + 50));
}

TEST(StoredDatasetTest, ThreadsThatAskAtOnceGetTheSameImages) {
  const auto toy = Toy();
  std::vector<int64_t> all(kImages);
  for (int64_t i = 0; i < kImages; ++i) all[i] = i;
  std::vector<std::vector<float>> outs(4, std::vector<float>(kImages * 36));
  {
    std::vector<Thread> threads;
    for (auto& out : outs) {
      threads.emplace_back("load",
                           [&] { FORALL_EXPECT_OK(toy->Load(all, 6, absl::MakeSpan(out))); });
    }
  }
  for (const auto& out : outs) EXPECT_EQ(out, outs[0]);
}

TEST(StoredDatasetTest, BadRequestsNameTheField) {
  const auto toy = Toy();
  std::vector<float> out(kSide * kSide);
  EXPECT_THAT(toy->Load({600}, kSide, absl::MakeSpan(out)),
              StatusIs(absl::StatusCode::kOutOfRange,
                       HasSubstr("image 600 is not in 0..599 of the train split of toy")));
  EXPECT_THAT(toy->Load({-1}, kSide, absl::MakeSpan(out)), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(toy->Load({0}, 0, absl::MakeSpan(out)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("resolution: 0")));
  EXPECT_THAT(toy->Load({0, 1}, kSide, absl::MakeSpan(out)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("output: holds 64 values")));
}

TEST(ScreeningSubsetTest, IsBalancedNestedAndWithoutRepeats) {
  const auto toy = Toy();
  const std::vector<int64_t> large = ScreeningSubset(*toy, 90);
  const std::vector<int64_t> small = ScreeningSubset(*toy, 31);
  ASSERT_EQ(large.size(), 90u);
  EXPECT_TRUE(std::equal(small.begin(), small.end(), large.begin()));
  EXPECT_EQ(std::set<int64_t>(large.begin(), large.end()).size(), 90u);
  int per_class[3] = {0, 0, 0};
  for (const int64_t i : large) ++per_class[toy->label(i)];
  EXPECT_THAT(per_class, ::testing::Each(30));
  EXPECT_FALSE(std::is_sorted(large.begin(), large.end()));
  EXPECT_EQ(ScreeningSubset(*toy, 10000).size(), static_cast<size_t>(kImages));
}

TEST(SplitTest, NamesRoundTripAndErrorsListThem) {
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    EXPECT_THAT(ParseSplit(SplitName(split)), testing::IsOkAndHolds(split));
  }
  EXPECT_THAT(ParseSplit("dev"), StatusIs(absl::StatusCode::kInvalidArgument,
                                          HasSubstr("\"dev\" must be one of train, validation")));
}

}  // namespace
}  // namespace forall
