// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/sysfs.h"

#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/sensor/testing/recorded_tree.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::RecordedTree;
using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SysfsTest, ReadsOneIntegerAndNothingElse) {
  RecordedTree tree;
  const LocalSysfs files(tree.root());
  for (const std::string& text :
       {std::string("42"), std::string("42\n"), std::string(" 42 \n"), std::string("42\0", 3)}) {
    tree.Write("sys/value", text);
    EXPECT_THAT(files.ReadInteger("sys/value"), IsOkAndHolds(42)) << text;
  }
  tree.Write("sys/value", "-9223372036854775808\n");
  EXPECT_THAT(files.ReadInteger("sys/value"), IsOkAndHolds(INT64_MIN));
  for (const char* text : {"", "\n", "x", "4 2", "4.2", "0x10", "9223372036854775808", "42 mA",
                           "--1", "1e3", "\xff\xfe"}) {
    tree.Write("sys/value", text);
    EXPECT_THAT(files.ReadInteger("sys/value"),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("sys/value")))
        << text;
  }
  EXPECT_THAT(files.ReadInteger("sys/other"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(SysfsTest, QuotesWhatIsNoNumberWithoutItsControlCharacters) {
  RecordedTree tree;
  tree.Write("sys/value", "\x1b[31mred");
  EXPECT_THAT(LocalSysfs(tree.root()).ReadInteger("sys/value"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("\\x1b[31mred")));
}

TEST(SysfsTest, ListsNamesInOrder) {
  RecordedTree tree;
  tree.Write("sys/b/x", "");
  tree.Write("sys/a", "");
  const LocalSysfs files(tree.root());
  EXPECT_THAT(files.List("sys"), ElementsAre("a", "b"));
  EXPECT_THAT(files.List("sys/a"), IsEmpty());
  EXPECT_THAT(files.List("sys/none"), IsEmpty());
}

}  // namespace
}  // namespace forall
