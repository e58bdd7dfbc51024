// SPDX-License-Identifier: Apache-2.0
#include "base/sha256.h"

#include <string>

#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

// FIPS 180-2, appendix B.
TEST(Sha256Test, MatchesPublishedVectors) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256Test, FileDigestEqualsDigestOfItsBytes) {
  testing::TempDir dir;
  std::string content(3 << 20, 'x');
  content += "tail";
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "f", content));
  EXPECT_THAT(Sha256OfFile(dir / "f"), testing::IsOkAndHolds(Sha256Hex(content)));
  EXPECT_THAT(Sha256OfFile(dir / "absent"), testing::StatusIs(absl::StatusCode::kNotFound));
}

TEST(Sha256Test, RecognisesADigest) {
  EXPECT_TRUE(IsSha256Hex(Sha256Hex("")));
  EXPECT_FALSE(IsSha256Hex("abc"));
  EXPECT_FALSE(IsSha256Hex(std::string(64, 'G')));
}

}  // namespace
}  // namespace forall
