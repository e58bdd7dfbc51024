// SPDX-License-Identifier: Apache-2.0
// What docs/security.md says, done by the programs: certificates of deploy/tls, tokens, workers
// that are who their certificates say.
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/lab.h"

namespace forall {
namespace {

using ::testing::AllOf;
using testing::CountingBoard;
using testing::CountingProgram;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

class TlsTest : public testing::Lab {
 protected:
  void SetUp() override {
    if (std::system("command -v openssl > /dev/null") != 0) {
      GTEST_SKIP() << "NO TEST RAN: no openssl, which makes certificates: run tools/setup.sh";
    }
    Make("--server 127.0.0.1,localhost --worker board-1,spare-* --worker board-2");
    controller_ = StartController(
        /*supernet=*/false, {"--tls-cert", dir_ / "tls/server.pem", "--tls-key",
                             dir_ / "tls/server.key", "--tls-client-ca", dir_ / "tls/ca.pem"});
    ASSERT_NE(address_, "");
    Write("board", CountingProgram());
  }

  void Make(const std::string& arguments) {
    const std::string command =
        absl::StrCat(testing::SourceDir(), "/deploy/tls/make-certificates.sh ", dir_ / "tls", " ",
                     arguments, " > ", dir_ / "made", " 2>&1");
    ASSERT_EQ(std::system(command.c_str()), 0) << *ReadFile(dir_ / "made");
  }

  // Into dir_ / NAME.token.
  void AddToken(const std::string& name, const std::string& role) {
    const std::string command =
        absl::StrCat("umask 077; ", testing::Program("forall-controller"), " token add --db ",
                     dir_ / "forall.db", " --name ", name, " --role ", role, " > ",
                     dir_ / (name + ".token"), " 2> ", dir_ / "token.log");
    ASSERT_EQ(std::system(command.c_str()), 0) << *ReadFile(dir_ / "token.log");
  }
  std::string RunAs(const std::string& name, const std::string& arguments) {
    return Run(absl::StrCat(
        "--tls-ca ", dir_ / "tls/ca.pem",
        name.empty() ? "" : absl::StrCat(" --token-file ", dir_ / name, ".token"), " ", arguments));
  }
  // A worker for a board of its own, with the certificate of worker `of`.
  std::unique_ptr<ChildProcess> StartWorker(const std::string& id, const std::string& of) {
    Write(id + ".json", CountingBoard(dir_.path(), dir_ / "board",
                                      absl::StrCat(R"(, "device": ")", id, R"(", "worker": ")", id,
                                                   R"(", "device_class": "board")")));
    return Start({"forall-worker", "--controller", address_, "--tls-ca", dir_ / "tls/ca.pem",
                  "--tls-cert", dir_ / absl::StrCat("tls/worker-", of, ".pem"), "--tls-key",
                  dir_ / absl::StrCat("tls/worker-", of, ".key"), "--timing", dir_ / (id + ".json"),
                  "--cache", dir_ / "cache"});
  }

  std::unique_ptr<ChildProcess> controller_;
};

TEST_F(TlsTest, StrangersAreKeptOutAndWorkersAreWhoTheirCertificatesSay) {
  EXPECT_THAT(RunAs("", "workers"), HasSubstr("wants a token"));
  EXPECT_EQ(exit_code_, 6);
  AddToken("alice", "submit");
  AddToken("root", "admin");
  EXPECT_THAT(RunAs("alice", "jobs"), Not(HasSubstr("forall:")));
  EXPECT_EQ(exit_code_, 0);

  const auto first = StartWorker("board-1", "board-1");
  const auto spare = StartWorker("spare-7", "board-1");
  for (const char* id : {"board-1", "spare-7"}) {
    Await([&] { return absl::StrContains(RunAs("alice", "workers"), id); });
    EXPECT_THAT(RunAs("alice", "workers"), HasSubstr(id)) << *ReadFile(dir_ / "forall-worker.log");
  }
  const auto liar = StartWorker("board-3", "board-2");
  const std::optional<ProgramEnd> end = liar->Wait(absl::Minutes(2));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 1);
  EXPECT_THAT(*ReadFile(dir_ / "forall-worker.log"), HasSubstr("may act as worker board-2 only"));
  EXPECT_THAT(RunAs("alice", "workers"), Not(HasSubstr("board-3")));

  EXPECT_THAT(RunAs("alice", "drain board-1"), HasSubstr("has the role submit"));
  EXPECT_EQ(exit_code_, 6);
  RunAs("root", "drain board-1");
  EXPECT_EQ(exit_code_, 0);
  const std::optional<ProgramEnd> drained = first->Wait(absl::Minutes(2));
  ASSERT_TRUE(drained.has_value());
  EXPECT_EQ(drained->exit_code, 0);

  const std::string audit = *ReadFile(dir_ / "forall.db.audit.jsonl");
  EXPECT_THAT(audit, AllOf(HasSubstr(R"("who":"worker certificate:board-1,spare-*")"),
                           HasSubstr(R"("who":"token:root")"),
                           HasSubstr("FleetService.DrainWorker"), HasSubstr("UNAUTHENTICATED")));
  EXPECT_THAT(
      audit,
      Not(HasSubstr(std::string(absl::StripAsciiWhitespace(*ReadFile(dir_ / "root.token"))))));
}

TEST_F(TlsTest, ClientsSayWhatIsMissing) {
  EXPECT_THAT(Run("--tls-ca /nowhere/ca.pem jobs"), HasSubstr("--tls-ca"));
  EXPECT_EQ(exit_code_, 2);
  EXPECT_THAT(Run("--token-file /nowhere/token jobs"), HasSubstr("--token-file"));
  EXPECT_EQ(exit_code_, 2);
  ASSERT_THAT(WriteFileAtomically(dir_ / "bad.token", "forall_unknown\n"), IsOk());
  EXPECT_THAT(RunAs("bad", "jobs"), HasSubstr("not known here"));
  EXPECT_EQ(exit_code_, 6);
  const auto open =
      Start({"forall-controller", "--db", dir_ / "other.db", "--listen", "0.0.0.0:0"});
  const std::optional<ProgramEnd> end = open->Wait(absl::Minutes(1));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 1);
  EXPECT_THAT(*ReadFile(dir_ / "forall-controller.log"), HasSubstr("--tls-cert"));
}

}  // namespace
}  // namespace forall
