// SPDX-License-Identifier: Apache-2.0
#include "data/fashion_mnist.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"

namespace forall {
namespace {

namespace fs = std::filesystem;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Downloaded() {
  const char* source = std::getenv("FORALL_SOURCE_DIR");
  return absl::StrCat(source == nullptr ? "." : source, "/build/deps/fashion-mnist");
}

TEST(FashionMnistTest, AbsentFilesSayHowToGetThem) {
  testing::TempDir dir;
  EXPECT_THAT(OpenDataset("fashion_mnist", Split::kTest, dir.path()),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(dir.path()), HasSubstr("run tools/setup.sh"))));
  EXPECT_THAT(OpenDataset("mnist", Split::kTest, dir.path()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("known are fashion_mnist")));
}

TEST(FashionMnistTest, MalformedJsonIsNamed) {
  for (const char* text : {"", "[]", "{\"data\": [[1, 2]]}", "{\"data\": [[256]]}",
                           "{\"data\": [[[0]]]}", "{\"data\": [[0.5]]}", "{\"data\": [[]]}"}) {
    testing::TempDir dir;
    FORALL_ASSERT_OK(WriteFileAtomically(dir.path() + "/0.json", text));
    EXPECT_THAT(OpenFashionMnist(Split::kTest, dir.path()),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(dir.path() + "/0.json is not as")))
        << text;
  }
}

TEST(FashionMnistTest, ADamagedCacheWithoutJsonIsNamed) {
  testing::TempDir dir;
  FORALL_ASSERT_OK(WriteFileAtomically(dir.path() + "/fashion_mnist.bin", "FORALLDS"));
  EXPECT_THAT(
      OpenFashionMnist(Split::kTest, dir.path()),
      StatusIs(absl::StatusCode::kDataLoss, HasSubstr("fashion_mnist.bin is not a usable")));
}

// The checksums are the definition of the dataset: a change here makes every
// stored accuracy incomparable.
TEST(FashionMnistTest, RealFilesGiveTheThreeSplitsAndADamagedCacheIsRebuilt) {
  if (!fs::exists(Downloaded() + "/9.json")) {
    GTEST_SKIP() << "NO TEST RAN: " << Downloaded() << " is absent; tools/setup.sh makes it";
  }
  testing::TempDir dir;
  for (int c = 0; c < 10; ++c) {
    fs::create_symlink(absl::StrCat(Downloaded(), "/", c, ".json"),
                       absl::StrCat(dir.path(), "/", c, ".json"));
  }
  FORALL_ASSERT_OK(WriteFileAtomically(dir.path() + "/fashion_mnist.bin", "damaged"));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto train, OpenFashionMnist(Split::kTrain, dir.path()));
  for (int c = 0; c < 10; ++c) fs::remove(absl::StrCat(dir.path(), "/", c, ".json"));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto validation,
                              OpenFashionMnist(Split::kValidation, dir.path()));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, OpenFashionMnist(Split::kTest, dir.path()));

  EXPECT_EQ(train->size(), 50000);
  EXPECT_EQ(validation->size(), 10000);
  EXPECT_EQ(test->size(), 10000);
  for (int64_t i = 0; i < test->size(); ++i) ASSERT_EQ(test->label(i), i % 10);
  EXPECT_EQ(train->checksum(), "6d874b488f420f69c8b94f01b370dd2daca1b8bd39f085b2021279f554c3ec63");
  EXPECT_EQ(validation->checksum(),
            "5a19ec73b6d38f2adac133dc3b8735758ba5ccb808c421af72eadbba99259033");
  EXPECT_EQ(test->checksum(), "08f7ac76fc643c63c6a08c7b97ebe600589e7e3c3ea3bf1e8a91b02e7a9297d2");

  // The whole training split has the mean and deviation that it is normalised
  // by.
  double sum = 0, squares = 0;
  const StoredPixels stored = train->stored_pixels().value();
  for (const uint8_t pixel : stored.bytes) {
    sum += pixel / 255.0;
    squares += pixel / 255.0 * pixel / 255.0;
  }
  const double mean = sum / stored.bytes.size();
  EXPECT_NEAR(mean, train->normalization().mean[0], 2e-3);
  EXPECT_NEAR(std::sqrt(squares / stored.bytes.size() - mean * mean),
              train->normalization().stddev[0], 2e-3);
}

}  // namespace
}  // namespace forall
