// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/authorizer.h"

#include <map>
#include <memory>
#include <string>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AuthorizerTest : public ::testing::Test {
 protected:
  AuthorizerTest() {
    for (const auto& [name, role, worker] :
         {std::tuple("alice", Role::kSubmit, ""), std::tuple("farm", Role::kWork, ""),
          std::tuple("pi", Role::kWork, "pi5-*"), std::tuple("root", Role::kAdmin, "")}) {
      tokens_[name] = *AddToken(path_, name, role, worker, absl::FromUnixSeconds(1));
    }
    book_ = *TokenBook::Create({.path = path_});
  }

  absl::StatusOr<Caller> Identify(const Credentials& credentials, bool this_machine_only = false) {
    return Authorizer({.tokens = book_.get(), .this_machine_only = this_machine_only})
        .Identify(credentials);
  }
  Credentials Bearer(const std::string& name) { return {{"Bearer " + tokens_.at(name)}, {}}; }
  static const AccessRule& Rule(const google::protobuf::Message& request) {
    return *FindRule(request.GetDescriptor());
  }

  testing::TempDir directory_;
  const std::string path_ = directory_ / "db.tokens";
  std::map<std::string, std::string> tokens_;
  std::unique_ptr<TokenBook> book_;
};

TEST_F(AuthorizerTest, LoopbackIsOpenOnlyWithoutAFileOfTokens) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<TokenBook> none,
                              TokenBook::Create({.path = directory_ / "none"}));
  const Authorizer open({.tokens = none.get(), .this_machine_only = true});
  FORALL_ASSERT_OK_AND_ASSIGN(const Caller anybody, open.Identify({}));
  EXPECT_EQ(anybody.role, Role::kAdmin);
  const Authorizer reached({.tokens = none.get(), .this_machine_only = false});
  EXPECT_THAT(reached.Identify({}), StatusIs(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(Identify({}, /*this_machine_only=*/true),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("token add")));
}

TEST_F(AuthorizerTest, TokensAreKnownOrRefused) {
  FORALL_ASSERT_OK_AND_ASSIGN(const Caller alice, Identify(Bearer("alice")));
  EXPECT_EQ(alice.who, "token:alice");
  EXPECT_EQ(alice.role, Role::kSubmit);
  EXPECT_THAT(Identify({{"bearer " + tokens_["root"]}, {}}), IsOk());
  for (const std::string& bad :
       {std::string("Bearer x"), "Bearer " + tokens_["alice"] + " ", "Basic " + tokens_["alice"],
        tokens_["alice"], std::string("Bearer "), std::string()}) {
    EXPECT_THAT(Identify({{bad}, {}}), StatusIs(absl::StatusCode::kUnauthenticated)) << bad;
  }
  const std::string good = "Bearer " + tokens_["alice"];
  EXPECT_THAT(Identify({{good, good}, {}}), StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST_F(AuthorizerTest, CertificatesAreWorkers) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Caller caller,
      Identify({{}, {"forall:worker/pi", "forall:worker/lab-*", "https://example.com/"}}));
  EXPECT_EQ(caller.role, Role::kWork);
  EXPECT_THAT(caller.bindings, ElementsAre(ElementsAre("pi", "lab-*")));
  for (const char* uri : {"forall:worker/", "forall:worker/*", "forall:worker/A b",
                          "forall:admin/x", "spiffe://lab/worker/pi", "xforall:worker/pi"}) {
    EXPECT_THAT(Identify({{}, {uri}}),
                StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("names no worker")))
        << uri;
  }
  // A token that is not known is refused beside whatever certificate.
  EXPECT_THAT(Identify({{"Bearer x"}, {"forall:worker/pi"}}),
              StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST_F(AuthorizerTest, WorkersActAsThemselves) {
  const v1::HeartbeatRequest heartbeat;
  const AccessRule& rule = Rule(heartbeat);
  const auto permit = [&](const Credentials& credentials, const std::string& worker) {
    const absl::StatusOr<Caller> caller = Identify(credentials);
    EXPECT_THAT(caller, IsOk());
    return Authorizer::Permit(*caller, rule, worker);
  };
  const Credentials certificate = {{}, {"forall:worker/pi", "forall:worker/lab-*"}};
  EXPECT_THAT(permit(certificate, "workers/pi"), IsOk());
  EXPECT_THAT(permit(certificate, "workers/lab-7"), IsOk());
  for (const char* other : {"workers/pi5", "workers/lab", "", "pi/workers", "workers/workers/pi"}) {
    EXPECT_THAT(permit(certificate, other),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("pi, lab-*")))
        << other;
  }
  EXPECT_THAT(permit(Bearer("farm"), "workers/anything"), IsOk());
  EXPECT_THAT(permit(Bearer("pi"), "workers/pi5-1"), IsOk());
  EXPECT_THAT(permit(Bearer("pi"), "workers/pi"), StatusIs(absl::StatusCode::kPermissionDenied));
  // Both bind.
  Credentials both = Bearer("farm");
  both.certificate_uris = {"forall:worker/pi"};
  EXPECT_THAT(permit(both, "workers/pi"), IsOk());
  EXPECT_THAT(permit(both, "workers/other"), StatusIs(absl::StatusCode::kPermissionDenied));
  both = Bearer("pi");
  both.certificate_uris = {"forall:worker/pi"};
  EXPECT_THAT(permit(both, "workers/pi"), StatusIs(absl::StatusCode::kPermissionDenied));
  // An operator may step in for any.
  EXPECT_THAT(permit(Bearer("root"), "workers/anything"), IsOk());
}

TEST_F(AuthorizerTest, RolesAreTold) {
  FORALL_ASSERT_OK_AND_ASSIGN(const Caller farm, Identify(Bearer("farm")));
  EXPECT_THAT(Authorizer::Permit(farm, Rule(v1::SubmitSearchJobRequest()), ""),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("submit, admin")));
  FORALL_ASSERT_OK_AND_ASSIGN(const Caller alice, Identify(Bearer("alice")));
  EXPECT_THAT(Authorizer::Permit(alice, Rule(v1::HeartbeatRequest()), "workers/w"),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("work, admin")));
  EXPECT_THAT(Authorizer::Permit(alice, Rule(v1::SubmitSearchJobRequest()), ""), IsOk());
}

TEST(AccessRulesTest, UnknownRequestsHaveNoRule) {
  EXPECT_EQ(FindRule(v1::SearchJob::descriptor()), nullptr);
  EXPECT_EQ(ForeignAccessOf("/grpc.health.v1.Health/Check"), ForeignAccess::kOpen);
  EXPECT_EQ(ForeignAccessOf("/forall.v1.FleetService/Heartbeat"), ForeignAccess::kOurs);
  for (const char* path : {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "",
                           "/grpc.health.v1.HealthX/Check", "grpc.health.v1.Health/Check"}) {
    EXPECT_EQ(ForeignAccessOf(path), ForeignAccess::kIdentified) << path;
  }
}

}  // namespace
}  // namespace forall
