// SPDX-License-Identifier: Apache-2.0
#include "base/json_depth.h"

#include <string>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;

TEST(JsonDepthTest, CountsNestingAndNotBracketsInStrings) {
  EXPECT_THAT(CheckJsonDepth(std::string(kMaxJsonDepth, '[')), IsOk());
  EXPECT_THAT(CheckJsonDepth(std::string(kMaxJsonDepth + 1, '[')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CheckJsonDepth(std::string(kMaxJsonDepth, '[') + "{"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  std::string flat;
  for (int i = 0; i < 1000; ++i) flat += "[{}],";
  EXPECT_THAT(CheckJsonDepth(flat), IsOk());
  EXPECT_THAT(CheckJsonDepth("\"" + std::string(100, '[') + "\\\"" + std::string(100, '{') + "\""),
              IsOk());
  EXPECT_THAT(CheckJsonDepth("\"\\\\\"" + std::string(100, '[')),
              StatusIs(absl::StatusCode::kInvalidArgument))
      << "the backslash before the quote is itself escaped: the string has ended";
  EXPECT_THAT(CheckJsonDepth(""), IsOk());
  EXPECT_THAT(CheckJsonDepth("]]]]["), IsOk());
}

}  // namespace
}  // namespace forall
