// SPDX-License-Identifier: Apache-2.0
#include "base/file_stamp.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(FileStampTest, ChangesWithContentNameAndMode) {
  const testing::TempDir dir;
  const std::string path = dir / "file";
  EXPECT_EQ(StampOf(path), std::nullopt);
  FORALL_ASSERT_OK(WriteFileAtomically(path, "one"));
  const std::optional<FileStamp> first = StampOf(path);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(StampOf(path), first);
  // Another file of the same name and size.
  FORALL_ASSERT_OK(WriteFileAtomically(path, "two"));
  const std::optional<FileStamp> second = StampOf(path);
  EXPECT_NE(second, first);
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(StampOf(path)->modified_ns, second->modified_ns);
  FileStamp aged = *StampOf(path);
  aged.changed_ns = second->changed_ns;
  EXPECT_EQ(aged, *second) << "nothing but the time of the change tells of a mode";
}

}  // namespace
}  // namespace forall
