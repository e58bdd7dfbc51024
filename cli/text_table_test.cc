// SPDX-License-Identifier: Apache-2.0
#include "cli/text_table.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::HasSubstr;

TEST(TextTableTest, IsAsWideAsItTakes) {
  TextTable table({"A", "LONG", ""});
  table.AddRow({"value", "x", "last"});
  EXPECT_EQ(table.Render(), "A      LONG\nvalue  x     last\n");
  EXPECT_EQ(table.Render(100), table.Render());
}

TEST(TextTableTest, WideCellsGoOnBetweenWords) {
  TextTable table({"JOB", "OBJECTIVES", "NAME"});
  table.AddRow({"1", "accuracy_top1 latency_ms macs", "a"});
  EXPECT_EQ(table.Render(24),
            "JOB  OBJECTIVES     NAME\n"
            "1    accuracy_top1  a\n"
            "     latency_ms\n"
            "     macs\n")
      << "between words as long as that is enough";
  EXPECT_EQ(table.Render(36),
            "JOB  OBJECTIVES                NAME\n"
            "1    accuracy_top1 latency_ms  a\n"
            "     macs\n");
}

TEST(TextTableTest, LongWordsAreBrokenAtTheirMarksAndNothingIsLost) {
  TextTable table({"WORKER", "DEVICE", "N"});
  const std::string worker = "workers/a-very-long-name-of-a-worker-in-a-rack";
  const std::string device(40, 'd');
  table.AddRow({worker, device, "12345"});
  const std::string text = table.Render(40);
  std::string first;
  std::string second;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  for (const std::string& line : lines) {
    EXPECT_LE(line.size(), 40u) << line;
    if (line == "WORKER" || line.find("DEVICE") != std::string::npos) continue;
    const size_t d = line.find('d', 17);
    first += line.substr(0, line.find("  "));
    if (d != std::string::npos) second += line.substr(d, line.find_first_not_of('d', d) - d);
  }
  EXPECT_EQ(first, worker);
  EXPECT_EQ(second, device);
  EXPECT_THAT(text, HasSubstr("12345"));
}

TEST(TextTableTest, CountsCharactersNotBytes) {
  TextTable table({"τ", "B"});
  table.AddRow({"äöü äöü", "b"});
  EXPECT_EQ(table.Render(7),
            "τ    B\n"
            "äöü  b\n"
            "äöü\n");
}

}  // namespace
}  // namespace forall
