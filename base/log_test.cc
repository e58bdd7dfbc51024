// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string Logged(const std::string& text) {
  ::testing::internal::CaptureStderr();
  FORALL_LOG(INFO) << "job accepted job=" << text;
  return ::testing::internal::GetCapturedStderr();
}

TEST(LogTest, ALineIsALineWhateverIsInIt) {
  const std::string line = Logged("x\nE1129 00:00:00.000 forged.cc:1] y\r\tz");
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_THAT(line, EndsWith("job=x\\nE1129 00:00:00.000 forged.cc:1] y\\r\\tz\n"));
}

TEST(LogTest, TerminalsAreNotSpokenTo) {
  EXPECT_THAT(Logged("\x1b[2J\x7f"), EndsWith("job=\\x1b[2J\\x7f\n"));
  EXPECT_THAT(Logged(std::string("a\0b", 3)), EndsWith("job=a\\x00b\n"));
  EXPECT_THAT(Logged("\xc2\x9b"
                     "31m"),
              EndsWith("job=\\x9b31m\n"));
}

TEST(LogTest, OtherTextIsLeftAlone) {
  for (const char* const text : {"D\xc3\xbcsseldorf", "\xc2\xa0", "\xc2", "\\n", "\xff"}) {
    EXPECT_THAT(Logged(text), HasSubstr(std::string("job=") + text + "\n"));
  }
}

}  // namespace
}  // namespace forall
