// SPDX-License-Identifier: Apache-2.0
#include "base/long_duration.h"

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(LongDurationTest, ReadsDaysAndWhatAbseilReads) {
  EXPECT_EQ(ParseLongDuration("90d"), absl::Hours(90 * 24));
  EXPECT_EQ(ParseLongDuration("0d"), absl::ZeroDuration());
  EXPECT_EQ(ParseLongDuration("36h"), absl::Hours(36));
  EXPECT_EQ(ParseLongDuration("1h30m"), absl::Minutes(90));
  for (const char* text : {"", "d", "-1d", "1.5d", "100000d", "90", "-2h", "inf", "1w", "1d2h"}) {
    EXPECT_EQ(ParseLongDuration(text), std::nullopt) << text;
  }
}

TEST(LongDurationTest, IsReadAsItIsWritten) {
  for (const char* text : {"90d", "36h", "1h30m"}) {
    EXPECT_EQ(LongDurationText(*ParseLongDuration(text)), text);
  }
}

}  // namespace
}  // namespace forall
