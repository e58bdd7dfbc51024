// SPDX-License-Identifier: Apache-2.0
#include "base/cut_text.h"

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(CutTextTest, KeepsWholeCharacters) {
  EXPECT_EQ(CutText("abc", 3), "abc");
  EXPECT_EQ(CutText("abc", 2), "ab");
  const std::string umlauts = "a\xC3\xA4\xE2\x82\xAC";  // a, a-umlaut, euro sign
  EXPECT_EQ(CutText(umlauts, 6), umlauts);
  EXPECT_EQ(CutText(umlauts, 5), "a\xC3\xA4");
  EXPECT_EQ(CutText(umlauts, 4), "a\xC3\xA4");
  EXPECT_EQ(CutText(umlauts, 2), "a");
  EXPECT_EQ(CutText("\xC3\xA4", 1), "");
}

}  // namespace
}  // namespace forall
