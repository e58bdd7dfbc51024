// SPDX-License-Identifier: Apache-2.0
#include "base/sha256.h"

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
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

// RFC 4231, test cases 1, 2 and 6.
TEST(HmacSha256Test, MatchesPublishedVectors) {
  EXPECT_EQ(absl::BytesToHexString(HmacSha256(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(absl::BytesToHexString(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(
      absl::BytesToHexString(HmacSha256(std::string(131, '\xaa'),
                                        "Test Using Larger Than Block-Size Key - Hash Key First")),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacSha256Test, AKeyThatSignsManyMessagesSignsAsOneDoes) {
  for (const std::string& key :
       {std::string("Jefe"), std::string(20, '\x0b'), std::string(131, '\xaa')}) {
    HmacSha256Key many(key);
    for (const std::string& message : {std::string("Hi There"), std::string(),
                                       std::string(1000, 'x'), std::string("Hi There")}) {
      EXPECT_EQ(many.Sign(message), HmacSha256(key, message));
    }
    HmacSha256Key moved = std::move(many);
    EXPECT_EQ(moved.Sign("Hi There"), HmacSha256(key, "Hi There"));
  }
}

}  // namespace
}  // namespace forall
