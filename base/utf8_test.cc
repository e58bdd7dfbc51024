// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(Utf8Test, CharactersOfEveryLength) {
  EXPECT_EQ(Utf8CharacterLength("a"), 1);
  EXPECT_EQ(Utf8CharacterLength(absl::string_view("\0", 1)), 1);
  EXPECT_EQ(Utf8CharacterLength("\xc3\xa4"), 2);
  EXPECT_EQ(Utf8CharacterLength("\xe2\x82\xac"), 3);
  EXPECT_EQ(Utf8CharacterLength("\xf0\x9f\x98\x80"), 4);
  EXPECT_EQ(Utf8CharacterLength("\xf4\x8f\xbf\xbf"), 4) << "U+10FFFF";
}

TEST(Utf8Test, WhatIsNoCharacter) {
  for (const char* text : {"", "\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98",  // cut
                           "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80",          // overlong
                           "\xed\xa0\x80", "\xed\xbf\xbf",                          // surrogates
                           "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3z"}) {
    EXPECT_EQ(Utf8CharacterLength(text), 0) << text;
  }
}

TEST(Utf8Test, PrefixEndsBeforeWhatIsWrong) {
  EXPECT_EQ(Utf8PrefixLength(""), 0);
  EXPECT_EQ(Utf8PrefixLength("a\xc3\xa4z"), 4);
  EXPECT_EQ(Utf8PrefixLength("a\xc3\xa4\xffz"), 3);
}

}  // namespace
}  // namespace forall
