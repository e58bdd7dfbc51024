// SPDX-License-Identifier: Apache-2.0
#include "data/folder/image_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

constexpr int64_t kImages = 100;
constexpr int kSide = 8;
constexpr size_t kBytes = 3 * kSide * kSide;
constexpr int64_t kQuota = int64_t{1} << 40;

std::string Checksum(char digit) { return std::string(64, digit); }

std::vector<uint8_t> Image(int64_t image) {
  std::vector<uint8_t> bytes(kBytes);
  for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<uint8_t>(image * 31 + i);
  return bytes;
}

class ImageCacheTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<ImageCache>> Open(int64_t quota = kQuota, char contents = 'a') {
    return ImageCache::Open(directory_.path(), quota, "validation", Checksum(contents), kImages,
                            kSide);
  }
  bool Holds(const ImageCache& cache, int64_t image) {
    std::vector<uint8_t> bytes(kBytes);
    return cache.Read(image, absl::MakeSpan(bytes)) && bytes == Image(image);
  }
  std::string File() {
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      return entry.path().string();
    }
    return "";
  }
  size_t Files() {
    size_t files = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(directory_.path())) {
      ++files;
    }
    return files;
  }

  TempDir directory_;
};

TEST_F(ImageCacheTest, KeepsImagesForThisAndLaterProcesses) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, Open());
    FORALL_ASSERT_OK_AND_ASSIGN(const auto other, Open());
    EXPECT_FALSE(cache->Has(7));
    EXPECT_FALSE(Holds(*cache, 7));
    cache->Write(7, Image(7));
    cache->Write(99, Image(99));
    EXPECT_TRUE(cache->Has(7));
    EXPECT_TRUE(Holds(*cache, 7));
    EXPECT_TRUE(Holds(*other, 7)) << "who mapped it before sees it";
    EXPECT_FALSE(Holds(*other, 8));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, Open());
  EXPECT_TRUE(Holds(*cache, 7));
  EXPECT_TRUE(Holds(*cache, 99));
  EXPECT_FALSE(Holds(*cache, 0));
}

// What a machine leaves behind that failed between the writing of an image and of its record, or
// the other way round.
TEST_F(ImageCacheTest, HalfWrittenImagesAreNotThere) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, Open());
    for (int64_t i = 0; i < 5; ++i) cache->Write(i, Image(i));
  }
  const std::string path = File();
  FORALL_ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(path));
  const size_t table = 4096;
  const size_t images = 8192;
  bytes.replace(images + 1 * kBytes + 50, 100, std::string(100, '\0'));  // half of it never came
  bytes.replace(table + 2 * 4, 4, std::string(4, '\0'));                 // its record never came
  bytes.replace(images + 3 * kBytes, kBytes, bytes.substr(images, kBytes));  // another image
  FORALL_ASSERT_OK(WriteFileAtomically(path, bytes));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, Open());
  EXPECT_TRUE(Holds(*cache, 0));
  EXPECT_FALSE(Holds(*cache, 1));
  EXPECT_FALSE(Holds(*cache, 2));
  EXPECT_FALSE(Holds(*cache, 3));
  EXPECT_TRUE(Holds(*cache, 4));
  cache->Write(1, Image(1));
  EXPECT_TRUE(Holds(*cache, 1));
}

TEST_F(ImageCacheTest, OtherContentsHaveAnotherFileAndTheOldOneGoes) {
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto old, Open());
    old->Write(1, Image(1));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto fresh, Open(kQuota, 'b'));
  EXPECT_FALSE(Holds(*fresh, 1));
  EXPECT_EQ(Files(), 1u);
  FORALL_ASSERT_OK(ImageCache::Open(directory_.path(), kQuota, "test", Checksum('c'), 5, kSide));
  FORALL_ASSERT_OK(
      ImageCache::Open(directory_.path(), kQuota, "validation", Checksum('b'), kImages, kSide + 1));
  EXPECT_EQ(Files(), 3u);
}

TEST_F(ImageCacheTest, AFileThatIsNotOursIsReplaced) {
  FORALL_ASSERT_OK(Open());
  const std::string path = File();
  for (const std::string& bytes :
       {std::string("short"), std::string(4096 * 2 + 100 * kBytes, 'x')}) {
    FORALL_ASSERT_OK(WriteFileAtomically(path, bytes));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, Open());
    EXPECT_FALSE(Holds(*cache, 1));
    cache->Write(1, Image(1));
    EXPECT_TRUE(Holds(*cache, 1));
  }
}

TEST_F(ImageCacheTest, AFullCacheTakesNothingMore) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, Open(/*quota=*/4096));
  cache->Write(1, Image(1));  // the header alone has used the quota up
  EXPECT_FALSE(cache->Has(1));
  EXPECT_FALSE(Holds(*cache, 1));
}

TEST_F(ImageCacheTest, TakesSpaceForWhatIsThereOnly) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, ImageCache::Open(directory_.path(), kQuota, "train",
                                                                 Checksum('a'), 1'281'167, 224));
  struct stat info;
  ASSERT_EQ(stat(File().c_str(), &info), 0);
  EXPECT_GT(info.st_size, int64_t{179} << 30);
  EXPECT_LT(info.st_blocks * 512, 1 << 20);
}

TEST_F(ImageCacheTest, AFolderThatCannotBeMadeIsAnError) {
  FORALL_ASSERT_OK(WriteFileAtomically(directory_ / "file", "x"));
  EXPECT_FALSE(
      ImageCache::Open(directory_ / "file/cache", kQuota, "test", Checksum('a'), 5, kSide).ok());
}

TEST_F(ImageCacheTest, ThreadsAndProcessesShareIt) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto cache, Open());
  const auto use = [](ImageCache* mine) {
    std::vector<uint8_t> bytes(kBytes);
    bool good = true;
    for (int64_t i = 0; i < kImages; ++i) {
      if (mine->Read(i, absl::MakeSpan(bytes))) {
        good = good && bytes == Image(i);
      } else {
        mine->Write(i, Image(i));
      }
    }
    return good;
  };
  const pid_t child = fork();
  if (child == 0) {
    const auto own = Open();
    _exit(own.ok() && use(own->get()) ? 0 : 1);
  }
  std::vector<Thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back("user", [&] { good += use(cache.get()) ? 1 : 0; });
  }
  threads.clear();
  int status = 1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(good, 4);
  for (int64_t i = 0; i < kImages; ++i) EXPECT_TRUE(Holds(*cache, i));
}

TEST(ImageCacheOptionsTest, ComeFromTheEnvironment) {
  unsetenv("FORALL_IMAGE_CACHE");
  unsetenv("FORALL_IMAGE_CACHE_GIB");
  FORALL_ASSERT_OK_AND_ASSIGN(ImageCacheOptions options, ImageCacheOptions::FromEnvironment());
  EXPECT_TRUE(options.enabled);
  EXPECT_EQ(options.directory, "");
  EXPECT_EQ(options.quota_bytes, int64_t{64} << 30);
  setenv("FORALL_IMAGE_CACHE", "off", 1);
  FORALL_ASSERT_OK_AND_ASSIGN(options, ImageCacheOptions::FromEnvironment());
  EXPECT_FALSE(options.enabled);
  setenv("FORALL_IMAGE_CACHE", "/fast", 1);
  setenv("FORALL_IMAGE_CACHE_GIB", "7", 1);
  FORALL_ASSERT_OK_AND_ASSIGN(options, ImageCacheOptions::FromEnvironment());
  EXPECT_EQ(options.directory, "/fast");
  EXPECT_EQ(options.quota_bytes, int64_t{7} << 30);
  for (const char* bad : {"0", "-1", "many", "1.5"}) {
    setenv("FORALL_IMAGE_CACHE_GIB", bad, 1);
    EXPECT_THAT(ImageCacheOptions::FromEnvironment(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FORALL_IMAGE_CACHE_GIB")));
  }
  unsetenv("FORALL_IMAGE_CACHE");
  unsetenv("FORALL_IMAGE_CACHE_GIB");
}

}  // namespace
}  // namespace forall
