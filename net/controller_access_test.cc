// SPDX-License-Identifier: Apache-2.0
#include "net/controller_access.h"

#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"
#include "net/testing/certificate_maker.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

class ControllerAccessTest : public ::testing::Test {
 protected:
  ControllerAccessTest() {
    const testing::KeyPair pair = maker_.Issue({"URI:forall:worker/w"});
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / "ca.pem", maker_.authority()));
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / "w.pem", pair.certificate));
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / "w.key", pair.key));
    FORALL_EXPECT_OK(WriteFileAtomically(directory_ / "token", "forall_abc\n"));
  }

  testing::TempDir directory_;
  testing::CertificateMaker maker_;
};

TEST_F(ControllerAccessTest, ATokenIsNotSentInPlainTextToAnotherMachine) {
  for (const char* address :
       {"10.0.0.5:7411", "lab.example.com:7411", "dns:///localhost:7411", "0.0.0.0:7411"}) {
    EXPECT_THAT(MakeChannelCredentials({.address = address, .token = "forall_abc"}).status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("plain text")))
        << address;
    EXPECT_THAT(MakeChannelCredentials({.address = address}), IsOk()) << address;
    EXPECT_THAT(MakeChannelCredentials({.address = address,
                                        .tls_ca = directory_ / "ca.pem",
                                        .token_file = directory_ / "token"}),
                IsOk())
        << address;
  }
  EXPECT_THAT(MakeChannelCredentials({.token = "forall_abc"}), IsOk());
}

TEST_F(ControllerAccessTest, MistakesNameTheFlag) {
  const std::string ca = directory_ / "ca.pem";
  const std::string certificate = directory_ / "w.pem";
  const std::string key = directory_ / "w.key";
  EXPECT_THAT(
      MakeChannelCredentials({.tls_ca = ca, .tls_certificate = certificate, .tls_key = key}),
      IsOk());
  EXPECT_THAT(
      MakeChannelCredentials({.tls_ca = "system", .tls_certificate = certificate, .tls_key = key}),
      IsOk());
  const std::pair<ControllerAccess, std::string> cases[] = {
      {{.tls_ca = ca, .tls_certificate = certificate}, "--tls-key"},
      {{.tls_certificate = certificate, .tls_key = key}, "--tls-ca"},
      {{.tls_ca = directory_ / "gone"}, "--tls-ca"},
      {{.tls_ca = key}, "--tls-ca"},
      {{.tls_ca = ca, .tls_certificate = ca, .tls_key = key}, "--tls-cert"},
      {{.token_file = directory_ / "gone"}, "--token-file"},
      {{.token_file = ca}, "--token-file"},
      {{.token = "two words"}, "FORALL_TOKEN"}};
  for (const auto& [access, flag] : cases) {
    const auto credentials = MakeChannelCredentials(access);
    EXPECT_FALSE(credentials.ok()) << flag;
    EXPECT_THAT(std::string(credentials.status().message()), HasSubstr(flag));
  }
}

TEST_F(ControllerAccessTest, FlagsComeBeforeTheEnvironment) {
  ControllerAccess access = {.tls_ca = "flag"};
  FillFromEnvironment([](const char* name) -> const char* { return name; }, &access);
  EXPECT_EQ(access.tls_ca, "flag");
  EXPECT_EQ(access.tls_certificate, "FORALL_TLS_CERT");
  EXPECT_EQ(access.tls_key, "FORALL_TLS_KEY");
  EXPECT_EQ(access.token_file, "FORALL_TOKEN_FILE");
  EXPECT_EQ(access.token, "FORALL_TOKEN");
  ControllerAccess none;
  FillFromEnvironment([](const char*) -> const char* { return nullptr; }, &none);
  EXPECT_EQ(none.token, "");
}

}  // namespace
}  // namespace forall
