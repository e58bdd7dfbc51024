// SPDX-License-Identifier: Apache-2.0
#include "net/certificate_files.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"
#include "net/testing/certificate_maker.h"

namespace forall {
namespace {

using ::forall::testing::CertificateMaker;
using ::forall::testing::IsOk;
using ::forall::testing::KeyPair;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class CertificateFilesTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / name, text));
    return directory_ / name;
  }

  testing::TempDir directory_;
  CertificateMaker maker_;
  const absl::Time now_ = Clock::Real()->Now();
};

TEST_F(CertificateFilesTest, PairsAreChecked) {
  const KeyPair pair = maker_.Issue({"DNS:localhost"});
  const std::string certificate = Write("a.pem", pair.certificate + maker_.authority());
  const std::string key = Write("a.key", pair.key);
  EXPECT_THAT(CheckCertificateAndKey(certificate, key, now_), IsOk());
  EXPECT_THAT(
      CheckCertificateAndKey(certificate, Write("b.key", maker_.Issue({}).key), now_),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("b.key"), HasSubstr("not the private key"), HasSubstr("a.pem"))));
  EXPECT_THAT(CheckCertificateAndKey(key, key, now_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no PEM certificate")));
  EXPECT_THAT(CheckCertificateAndKey(certificate, certificate, now_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no PEM private key")));
  EXPECT_THAT(CheckCertificateAndKey(directory_ / "gone", key, now_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("gone")));
}

TEST_F(CertificateFilesTest, CertificatesOutOfTheirTimeAreTold) {
  for (const auto& [begins, ends] :
       {std::pair(-absl::Hours(3), -absl::Hours(1)), std::pair(absl::Hours(1), absl::Hours(3))}) {
    const KeyPair pair = maker_.Issue({}, begins, ends);
    EXPECT_THAT(
        CheckCertificateAndKey(Write("a.pem", pair.certificate), Write("a.key", pair.key), now_),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("valid from")));
  }
}

TEST_F(CertificateFilesTest, AuthoritiesAreWholeCertificates) {
  EXPECT_THAT(CheckAuthorities(Write("one", maker_.authority())), IsOk());
  EXPECT_THAT(CheckAuthorities(Write("two", maker_.authority() + CertificateMaker().authority())),
              IsOk());
  EXPECT_THAT(CheckAuthorities(Write("none", "")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no PEM certificate")));
  EXPECT_THAT(
      CheckAuthorities(Write("cut", maker_.authority() + maker_.authority().substr(0, 200))),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("broken")));
}

}  // namespace
}  // namespace forall
