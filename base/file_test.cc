// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

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
