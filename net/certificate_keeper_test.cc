// SPDX-License-Identifier: Apache-2.0
#include "net/certificate_keeper.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"
#include "net/testing/certificate_maker.h"

namespace forall {
namespace {

using ::forall::testing::CertificateMaker;
using ::forall::testing::KeyPair;
using ::forall::testing::StatusIs;

class CertificateKeeperTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / name, text));
  }
  absl::StatusOr<std::unique_ptr<CertificateKeeper>> Keep() {
    return CertificateKeeper::Create({.certificate = directory_ / "a.pem",
                                      .key = directory_ / "a.key",
                                      .authorities = directory_ / "ca.pem",
                                      .refresh = absl::Milliseconds(5)});
  }
  static bool Becomes(const std::string& path, const std::string& text) {
    const absl::Time deadline = Clock::Real()->Now() + absl::Minutes(1);
    while (Clock::Real()->Now() < deadline) {
      if (ReadFile(path).value_or("") == text) return true;
      Clock::Real()->SleepFor(absl::Milliseconds(2));
    }
    return false;
  }

  testing::TempDir directory_;
  const CertificateMaker maker_;
};

TEST_F(CertificateKeeperTest, TakesOverWhatIsSound) {
  const KeyPair first = maker_.Issue({"DNS:a"});
  const KeyPair second = maker_.Issue({"DNS:b"});
  Write("ca.pem", maker_.authority());
  Write("a.pem", first.certificate);
  Write("a.key", second.key);
  EXPECT_THAT(Keep().status(), StatusIs(absl::StatusCode::kInvalidArgument));
  Write("a.key", first.key);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<CertificateKeeper> keeper, Keep());
  const std::string path = keeper->certificate();
  EXPECT_EQ(ReadFile(path).value_or(""), first.certificate);
  EXPECT_EQ(ReadFile(keeper->key()).value_or(""), first.key);
  EXPECT_EQ(ReadFile(keeper->authorities()).value_or(""), maker_.authority());

  // Half of a change is none.
  Write("a.key", second.key);
  Clock::Real()->SleepFor(absl::Milliseconds(50));
  EXPECT_EQ(ReadFile(keeper->key()).value_or(""), first.key);
  Write("ca.pem", "garbage");
  Write("a.pem", second.certificate);
  Clock::Real()->SleepFor(absl::Milliseconds(50));
  EXPECT_EQ(ReadFile(path).value_or(""), first.certificate);
  Write("ca.pem", maker_.authority());
  EXPECT_TRUE(Becomes(path, second.certificate));
  EXPECT_TRUE(Becomes(keeper->key(), second.key));
  EXPECT_EQ(keeper->certificate(), path);
}

TEST_F(CertificateKeeperTest, SaysWhenWhatServesEnds) {
  const auto in_hours = [](absl::Time end) {
    return absl::ToDoubleHours(end - Clock::Real()->Now());
  };
  const KeyPair first = maker_.Issue({"DNS:a"}, -absl::Hours(1), absl::Hours(5));
  Write("ca.pem", maker_.authority());
  // Its own comes first; what follows is on the way to the authority.
  Write("a.pem", first.certificate + maker_.Issue({"DNS:b"}).certificate);
  Write("a.key", first.key);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<CertificateKeeper> keeper, Keep());
  EXPECT_NEAR(in_hours(keeper->ends().certificate), 5, 0.1);
  const absl::Time authorities = keeper->ends().authorities;
  EXPECT_GT(in_hours(authorities), 20);
  EXPECT_LT(authorities, absl::InfiniteFuture());
  const KeyPair second = maker_.Issue({"DNS:a"}, -absl::Hours(1), absl::Hours(9));
  Write("a.pem", second.certificate);
  Write("a.key", second.key);
  EXPECT_TRUE(Becomes(keeper->certificate(), second.certificate));
  for (int i = 0; i < 1000 && in_hours(keeper->ends().certificate) < 8; ++i) {
    Clock::Real()->SleepFor(absl::Milliseconds(5));
  }
  EXPECT_NEAR(in_hours(keeper->ends().certificate), 9, 0.1);
  EXPECT_EQ(keeper->ends().authorities, authorities);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto alone, CertificateKeeper::Create(
                            {.certificate = directory_ / "a.pem", .key = directory_ / "a.key"}));
  EXPECT_EQ(alone->ends().authorities, absl::InfiniteFuture());
}

// The files do not change any more; what was not sound when it came becomes so.
TEST_F(CertificateKeeperTest, WhatIsNotSoundYetIsTriedAgain) {
  const KeyPair first = maker_.Issue({"DNS:a"});
  Write("ca.pem", maker_.authority());
  Write("a.pem", first.certificate);
  Write("a.key", first.key);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<CertificateKeeper> keeper, Keep());
  const KeyPair second = maker_.Issue({"DNS:b"}, absl::Seconds(2));
  Write("a.pem", second.certificate);
  Write("a.key", second.key);
  EXPECT_TRUE(Becomes(keeper->certificate(), second.certificate));
}

}  // namespace
}  // namespace forall
