// SPDX-License-Identifier: Apache-2.0
#include "base/secret.h"

#include <set>

#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(SecretTest, BytesAreNew) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(SecretBytes(32));
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_EQ(SecretBytes(1000).size(), 1000u);
  EXPECT_EQ(SecretBytes(0), "");
}

TEST(SecretTest, ComparesWhole) {
  EXPECT_TRUE(EqualsInConstantTime("", ""));
  EXPECT_TRUE(EqualsInConstantTime("abc", "abc"));
  EXPECT_FALSE(EqualsInConstantTime("abc", "abd"));
  EXPECT_FALSE(EqualsInConstantTime("abc", "ab"));
}

}  // namespace
}  // namespace forall
