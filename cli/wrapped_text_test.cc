// SPDX-License-Identifier: Apache-2.0
#include "cli/wrapped_text.h"

#include <string>

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(WrappedTextTest, BreaksAtBlanksAndIndents) {
  EXPECT_EQ(WrappedText("", "one two three", 2, 8), "one two\n  three\n");
  EXPECT_EQ(WrappedText("head  ", "one two", 6, 10), "head  one\n      two\n");
  EXPECT_EQ(WrappedText("", "", 2, 8), "\n");
}

TEST(WrappedTextTest, LongWordsHaveALineOfTheirOwn) {
  EXPECT_EQ(WrappedText("", "a bbbbbbbbbbbb c", 2, 6), "a\n  bbbbbbbbbbbb\n  c\n");
}

TEST(WrappedTextTest, CommandsNoTerminal) {
  EXPECT_EQ(WrappedText("", "a\x1b[31m\r\nb\x7f", 2, 40), "a [31m b\n");
}

}  // namespace
}  // namespace forall
