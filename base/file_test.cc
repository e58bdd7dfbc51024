// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(FileTest, WritesAndReadsBack) {
  testing::TempDir dir;
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "a", "one"));
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "a", "two"));
  EXPECT_THAT(ReadFile(dir / "a"), IsOkAndHolds("two"));
  // No temporary file stays behind.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(FileTest, ErrorsNameThePath) {
  testing::TempDir dir;
  EXPECT_THAT(ReadFile(dir / "absent"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent")));
  EXPECT_THAT(ReadFile(dir.path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(dir.path())));
  EXPECT_THAT(WriteFileAtomically(dir / "no/such", "x"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(FileTest, RefusesAFileAboveTheLimit) {
  testing::TempDir dir;
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "big", std::string(100, 'x')));
  EXPECT_THAT(ReadFile(dir / "big", 99), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(FileTest, AHugeFileIsRefusedBeforeMemoryIsTaken) {
  testing::TempDir dir;
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "sparse", ""));
  std::filesystem::resize_file(dir / "sparse", uint64_t{1} << 40);
  EXPECT_THAT(ReadFile(dir / "sparse", uint64_t{1} << 30),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("sparse")));
}

TEST(FileTest, NothingIsWrittenOverWhatIsNoRegularFile) {
  testing::TempDir dir;
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  for (const std::string& path : {dir / "pipe", dir.path()}) {
    EXPECT_THAT(WriteFileAtomically(path, "x"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no regular file")));
  }
  EXPECT_TRUE(std::filesystem::is_fifo(dir / "pipe"));
}

TEST(FileTest, ADirectoryTakesAnothersPlace) {
  testing::TempDir dir;
  for (const char* content : {"one", "two"}) {
    FORALL_ASSERT_OK(CreateDirectories(dir / "fresh"));
    FORALL_ASSERT_OK(WriteFileAtomically(dir / "fresh/a", content));
    FORALL_ASSERT_OK(ReplaceDirectory(dir / "fresh", dir / "kept"));
    EXPECT_THAT(ReadFile(dir / "kept/a"), IsOkAndHolds(content));
    EXPECT_FALSE(std::filesystem::exists(dir / "fresh"));
  }
  EXPECT_THAT(ReplaceDirectory(dir / "absent", dir / "kept"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("kept")));
  EXPECT_THAT(ReadFile(dir / "kept/a"), IsOkAndHolds("two"));
}

TEST(FileTest, MapsAFile) {
  testing::TempDir dir;
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "m", "mapped"));
  FORALL_ASSERT_OK_AND_ASSIGN(auto file, MappedFile::Open(dir / "m"));
  EXPECT_EQ(file->bytes(), "mapped");
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "e", ""));
  FORALL_ASSERT_OK_AND_ASSIGN(auto empty, MappedFile::Open(dir / "e"));
  EXPECT_EQ(empty->bytes().size(), 0u);
}

}  // namespace
}  // namespace forall
