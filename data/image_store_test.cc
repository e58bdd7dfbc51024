// SPDX-License-Identifier: Apache-2.0
#include "data/image_store.h"

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ImageFormat kTwoByOne = {2, 1, 1, 2};

std::string Store() {
  ImageStoreContent content;
  content.labels = {std::string("\0\1", 2), std::string("\1", 1), std::string()};
  content.pixels = {"abcd", "ef", ""};
  return SerializeImageStore(kTwoByOne, content);
}

TEST(ImageStoreTest, RoundTripsEverySplit) {
  FORALL_ASSERT_OK_AND_ASSIGN(auto train,
                              ImageStoreSplit::Parse(Store(), Split::kTrain, kTwoByOne, "memory"));
  EXPECT_THAT(train->labels(), ElementsAre(0, 1));
  EXPECT_THAT(train->pixels(), ElementsAre('a', 'b', 'c', 'd'));
  FORALL_ASSERT_OK_AND_ASSIGN(
      auto validation, ImageStoreSplit::Parse(Store(), Split::kValidation, kTwoByOne, "memory"));
  EXPECT_THAT(validation->pixels(), ElementsAre('e', 'f'));
  EXPECT_NE(train->checksum(), validation->checksum());
  FORALL_ASSERT_OK_AND_ASSIGN(auto test,
                              ImageStoreSplit::Parse(Store(), Split::kTest, kTwoByOne, "memory"));
  EXPECT_EQ(test->size(), 0);
}

TEST(ImageStoreTest, MapsAFile) {
  testing::TempDir dir;
  const std::string path = dir.path() + "/x.bin";
  FORALL_ASSERT_OK(WriteFileAtomically(path, Store()));
  FORALL_ASSERT_OK_AND_ASSIGN(auto train, ImageStoreSplit::Open(path, Split::kTrain, kTwoByOne));
  EXPECT_EQ(train->size(), 2);
  EXPECT_THAT(ImageStoreSplit::Open(dir.path() + "/none", Split::kTrain, kTwoByOne),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST(ImageStoreTest, EveryTruncationIsRefused) {
  const std::string good = Store();
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_THAT(ImageStoreSplit::Parse(good.substr(0, length), Split::kTrain, kTwoByOne, "cut.bin"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("cut.bin")))
        << length;
  }
  EXPECT_THAT(ImageStoreSplit::Parse(good + "x", Split::kTrain, kTwoByOne, "m"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bytes after the last image")));
}

TEST(ImageStoreTest, AFlippedByteIsNoticedAndNamesTheSplit) {
  std::string bad = Store();
  bad[bad.size() - 1] ^= 1;  // a pixel of the validation split
  EXPECT_THAT(ImageStoreSplit::Parse(bad, Split::kValidation, kTwoByOne, "m"),
              StatusIs(absl::StatusCode::kDataLoss,
                       HasSubstr("the validation split does not have its checksum")));
  FORALL_EXPECT_OK(ImageStoreSplit::Parse(bad, Split::kTrain, kTwoByOne, "m"));
}

TEST(ImageStoreTest, AbsurdCountsAndLabelsAreRefused) {
  std::string bad = Store();
  for (int i = 0; i < 8; ++i) bad[28 + i] = '\xff';  // the train split's number of images
  EXPECT_THAT(ImageStoreSplit::Parse(bad, Split::kTrain, kTwoByOne, "m"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("cut short")));
  ImageStoreContent content;
  content.labels = {"\7", "", ""};
  content.pixels = {"ab", "", ""};
  EXPECT_THAT(ImageStoreSplit::Parse(SerializeImageStore(kTwoByOne, content), Split::kTrain,
                                     kTwoByOne, "m"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("a label is no class")));
  EXPECT_THAT(ImageStoreSplit::Parse(Store(), Split::kTrain, {2, 1, 2, 1}, "m"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("another shape")));
}

}  // namespace
}  // namespace forall
