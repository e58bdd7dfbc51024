// SPDX-License-Identifier: Apache-2.0
#include "search/report/html_text.h"

#include <cmath>

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(HtmlTextTest, EscapesMarkupAndControlCharacters) {
  EXPECT_EQ(EscapeHtml("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(EscapeHtml(absl::string_view("a\0b\x1b", 4)),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_EQ(EscapeHtml("Größe\n"), "Größe\n");
}

TEST(HtmlTextTest, SeparatesThousands) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatDecimal(1234567.891, 2), "1,234,567.89");
  EXPECT_EQ(FormatDecimal(-1234.5, 1),
            "\xE2\x88\x92"
            "1,234.5");
  EXPECT_EQ(FormatDecimal(NAN, 2), "–");
  EXPECT_EQ(FormatDecimal(INFINITY, 2), "–");
}

TEST(HtmlTextTest, ShortensKeys) {
  EXPECT_EQ(KeyHtml(""), "–");
  EXPECT_EQ(KeyHtml("abc"), "<code title=\"abc\">abc</code>");
  EXPECT_EQ(KeyHtml("0123456789abcdef"), "<code title=\"0123456789abcdef\">01234567…</code>");
}

TEST(HtmlTextTest, ShowsTimesInUtcAndNoneForNone) {
  google::protobuf::Timestamp timestamp;
  EXPECT_EQ(FormatUtc(timestamp), "–");
  timestamp.set_seconds(1740832496);
  EXPECT_EQ(FormatUtc(timestamp), "2025-03-01 12:34:56 UTC");
}

TEST(HtmlTextTest, TakesTheLastSegment) {
  EXPECT_EQ(LastSegment("searchJobs/3/trials/17"), "17");
  EXPECT_EQ(LastSegment("plain"), "plain");
  EXPECT_EQ(LastSegment(""), "");
}

}  // namespace
}  // namespace forall
