// SPDX-License-Identifier: Apache-2.0
// Against the kernel that is there, in processes that are really confined. Where it refuses a
// namespace or a filter, the tests of that are skipped and say so.
#include "latency/child/confinement.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/child/child_sessions.h"
#include "latency/child/measuring_child.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr UserIds kNobodyIds = {65534, 65534};

ChildSessions::Options Scripted(const Confinement& confinement) {
  ChildSessions::Options options;
  options.command = MeasuringChildCommand();
  options.configuration = "scripted";
  options.description.runtime = "scripted";
  options.reference_model = "fast";
  options.confinement = confinement;
  return options;
}

absl::Status Attempt(const Confinement& confinement, const std::string& what) {
  Profile profile = *ProfileNamed("screening");
  profile.max_runs = 2;
  profile.min_duration = absl::ZeroDuration();
  return ChildSessions(Scripted(confinement))
      .Run(absl::StrCat("attempt ", what), profile, {})
      .status();
}

// A socket of this test's on loopback, which listens.
class Listener {
 public:
  Listener() {
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const plain = reinterpret_cast<struct sockaddr*>(&address);
    EXPECT_EQ(bind(fd_, plain, size), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
    EXPECT_EQ(getsockname(fd_, plain, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { close(fd_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  int port() const { return port_; }

  // 0, or the error number.
  int Connect() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int result = connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address));
    const int error = result == 0 ? 0 : errno;
    close(fd);
    return error;
  }

 private:
  const int fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port_ = 0;
};

// What the kernel refuses of a confinement here, as a worker is told it.
std::vector<std::string> Refusals(const Confinement& confinement) {
  absl::StatusOr<std::vector<std::string>> refusals =
      TryConfinement(MeasuringChildCommand(), confinement);
  EXPECT_THAT(refusals, IsOk());
  return refusals.ok() ? *std::move(refusals) : std::vector<std::string>();
}

std::string RefusalOf(const std::string& control, const std::vector<std::string>& refusals) {
  for (const std::string& refusal : refusals) {
    if (absl::StartsWith(refusal, control)) return refusal;
  }
  return "";
}

// A line of /proc/PID/status, without its name.
std::string StatusLine(pid_t pid, const std::string& name) {
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat("/proc/", pid, "/status"));
  EXPECT_THAT(text, IsOk());
  for (const absl::string_view line : absl::StrSplit(text.value_or(""), '\n')) {
    if (absl::StartsWith(line, absl::StrCat(name, ":"))) {
      return std::string(absl::StripAsciiWhitespace(line.substr(name.size() + 1)));
    }
  }
  return "none";
}

std::string NetworkOf(const std::string& process) {
  return std::filesystem::read_symlink(absl::StrCat("/proc/", process, "/ns/net")).string();
}

// The result of `what` in a process of its own; 200: it did not end by itself.
int InAFork(const std::function<int()>& what) {
  const pid_t pid = fork();
  if (pid == 0) _exit(what());
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

Confinement AsNobody() {
  Confinement confinement;
  if (geteuid() == 0) confinement.user = kNobodyIds;
  return confinement;
}

TEST(ConfinementTest, AModelCannotReachTheNetwork) {
  const Listener listener;
  ASSERT_EQ(listener.Connect(), 0) << "it does listen";
  const Confinement confinement = AsNobody();
  const std::vector<std::string> refusals = Refusals(confinement);
  if (refusals.size() > 1) GTEST_SKIP() << "NO TEST RAN: " << refusals[0] << "; " << refusals[1];
  FORALL_EXPECT_OK(Attempt(confinement, "thread")) << "it does start";
  EXPECT_THAT(Attempt(confinement, absl::StrCat("connect ", listener.port())), Not(IsOk()));
}

TEST(ConfinementTest, ItsProcessHasANetworkOfItsOwn) {
  const Confinement confinement = AsNobody();
  const std::string refusal = RefusalOf("network", Refusals(confinement));
  if (!refusal.empty()) GTEST_SKIP() << "NO TEST RAN: " << refusal;
  ChildSessions sessions(Scripted(confinement));
  FORALL_ASSERT_OK(sessions.Check());
  EXPECT_NE(NetworkOf(absl::StrCat(sessions.pid())), NetworkOf("self"));
}

TEST(ConfinementTest, ItsProcessHasNoPrivileges) {
  ChildSessions sessions(Scripted(AsNobody()));
  FORALL_ASSERT_OK(sessions.Check());
  EXPECT_EQ(StatusLine(sessions.pid(), "NoNewPrivs"), "1");
  EXPECT_EQ(StatusLine(sessions.pid(), "CapEff"), "0000000000000000");
  EXPECT_EQ(StatusLine(sessions.pid(), "CapPrm"), "0000000000000000");
  const std::string refusal = RefusalOf("filter", Refusals(AsNobody()));
  if (!refusal.empty()) GTEST_SKIP() << "NO TEST OF THE FILTER RAN: " << refusal;
  EXPECT_EQ(StatusLine(sessions.pid(), "Seccomp"), "2");
}

TEST(ConfinementTest, RootMeasuresAsAnother) {
  if (geteuid() != 0) GTEST_SKIP() << "NO TEST RAN: only root can become another user";
  const TempDir dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
  const std::string secret = dir / "secret";
  FORALL_ASSERT_OK(WriteFileAtomically(secret, "of root's"));
  std::filesystem::permissions(
      secret, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  FORALL_EXPECT_OK(Attempt({}, absl::StrCat("read ", secret))) << "root can";
  EXPECT_THAT(Attempt({.user = kNobodyIds}, absl::StrCat("read ", secret)),
              StatusIs(absl::StatusCode::kPermissionDenied));

  ChildSessions sessions(Scripted({.user = kNobodyIds}));
  FORALL_ASSERT_OK(sessions.Check());
  EXPECT_EQ(StatusLine(sessions.pid(), "Uid"), "65534\t65534\t65534\t65534");
  EXPECT_EQ(StatusLine(sessions.pid(), "Gid"), "65534\t65534\t65534\t65534");
  EXPECT_EQ(StatusLine(sessions.pid(), "Groups"), "");
}

TEST(ConfinementTest, AnotherUsersMemoryIsMeasuredAllTheSame) {
  ChildSessions sessions(Scripted(AsNobody()));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<LoneModel> lone,
                              sessions.LoadAlone("holds 48 MiB", {}));
  ChildSessions plain(Scripted({}));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<LoneModel> own,
                              plain.LoadAlone("holds 48 MiB", {}));
  const absl::StatusOr<int64_t> usual = own->PeakMemoryBytes();
  if (!usual.ok()) GTEST_SKIP() << "NO TEST RAN: " << usual.status();
  FORALL_ASSERT_OK_AND_ASSIGN(const int64_t bytes, lone->PeakMemoryBytes());
  EXPECT_GE(bytes, int64_t{48} << 20);
}

TEST(ConfinementTest, AModelStartsNoProgramAndSignalsNobody) {
  const std::string refusal = RefusalOf("filter", Refusals({}));
  if (!refusal.empty()) GTEST_SKIP() << "NO TEST RAN: " << refusal;
  EXPECT_THAT(Attempt({}, "program"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Attempt({}, absl::StrCat("signal ", getpid())),
              StatusIs(absl::StatusCode::kPermissionDenied));
  FORALL_EXPECT_OK(Attempt({}, "thread"));
}

TEST(ConfinementTest, TheNamespaceAloneKeepsTheNetworkOut) {
  const Listener listener;
  const int result = InAFork([&listener] {
    if (!LeaveNetwork().ok()) return 201;
    return listener.Connect();
  });
  if (result == 201) GTEST_SKIP() << "NO TEST RAN: the kernel refuses the namespace";
  EXPECT_EQ(result, ENETUNREACH);
}

TEST(ConfinementTest, TheFilterAloneKeepsTheNetworkOut) {
  const Listener listener;
  const int result = InAFork([&listener] {
    if (!FilterSystemCalls().ok()) return 201;
    return listener.Connect();
  });
  if (result == 201) GTEST_SKIP() << "NO TEST RAN: the kernel refuses the filter";
  EXPECT_EQ(result, EPERM);
}

TEST(ConfinementTest, WhoeverIsNotRootHasThemToo) {
  const Listener listener;
  const int result = InAFork([&listener] {
    if (geteuid() == 0 && !BecomeUser(kNobodyIds).ok()) return 202;
    const std::string before = NetworkOf("self");
    const absl::StatusOr<std::vector<std::string>> refusals = Confine({}, {});
    if (!refusals.ok()) return 203;
    if (!refusals->empty()) return 201;
    if (NetworkOf("self") == before) return 204;
    if (StatusLine(getpid(), "CapEff") != "0000000000000000") return 205;
    return listener.Connect() == 0 ? 206 : 0;
  });
  if (result == 201) GTEST_SKIP() << "NO TEST RAN: the kernel refuses namespace or filter";
  EXPECT_EQ(result, 0);
}

TEST(ConfinementTest, AnAcceleratorMayTalkToItselfOnly) {
  const Listener listener;
  const int result = InAFork([&listener] {
    if (!FilterSystemCalls(/*local_sockets=*/true).ok()) return 201;
    if (listener.Connect() != EPERM) return 202;
    if (socket(AF_INET6, SOCK_DGRAM, 0) >= 0 || socket(AF_NETLINK, SOCK_RAW, 0) >= 0) return 203;
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? 0 : 204;
  });
  if (result == 201) GTEST_SKIP() << "NO TEST RAN: the kernel refuses the filter";
  EXPECT_EQ(result, 0);
}

// The first filter takes the part of a kernel, or of a container, that allows no namespaces.
TEST(ConfinementTest, WhatIsRefusedIsTold) {
  const int result = InAFork([] {
    if (!FilterSystemCalls().ok()) return 201;
    const absl::StatusOr<std::vector<std::string>> refusals = Confine({}, {});
    if (!refusals.ok() || refusals->size() != 1) return 202;
    if (!absl::StartsWith((*refusals)[0], "network: ")) return 203;
    return absl::StrContains((*refusals)[0], "refused sockets all the same") ? 0 : 204;
  });
  if (result == 201) GTEST_SKIP() << "NO TEST RAN: the kernel refuses the filter";
  EXPECT_EQ(result, 0);
}

TEST(ConfinementTest, AUserThatCannotBeLeftIsAnError) {
  const int result = InAFork([] {
    if (geteuid() == 0 && !BecomeUser(kNobodyIds).ok()) return 201;
    if (BecomeUser({0, 0}).code() != absl::StatusCode::kFailedPrecondition) return 202;
    const absl::StatusOr<std::vector<std::string>> refusals = Confine({.user = UserIds{0, 0}}, {});
    return refusals.status().code() == absl::StatusCode::kFailedPrecondition ? 0 : 203;
  });
  EXPECT_EQ(result, 0);
  // The numbers that would leave everything as it is.
  EXPECT_THAT(BecomeUser({static_cast<uid_t>(-1), 0}),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  // And a measuring process that cannot is not used.
  if (geteuid() != 0) return;
  const Confinement impossible = {.user = UserIds{static_cast<uid_t>(-1), 1}};
  EXPECT_THAT(TryConfinement(MeasuringChildCommand(), impossible),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no such user")));
  EXPECT_THAT(ChildSessions(Scripted(impossible)).Check(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no such user")));
}

TEST(ConfinementTest, WhatThePresentUserAloneCanReadIsReadBefore) {
  if (geteuid() != 0) GTEST_SKIP() << "NO TEST RAN: only root can become another user";
  EXPECT_EQ(InAFork([] {
              uid_t uid = 1;
              if (!Confine({.user = kNobodyIds}, [&uid] { uid = geteuid(); }).ok()) return 201;
              return uid == 0 && geteuid() == kNobodyIds.uid ? 0 : 202;
            }),
            0);
}

TEST(ConfinementTest, UsersAreFoundByNameAndNumber) {
  EXPECT_THAT(ConfinementAs("no-such-user"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ConfinementAs("0:no-such-group"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ConfinementAs("4294967295"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ConfinementAs("0:4294967295"), StatusIs(absl::StatusCode::kInvalidArgument));
  if (geteuid() != 0) {
    EXPECT_THAT(ConfinementAs("0"), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_FALSE(ConfinementAs("")->user.has_value());
    return;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const Confinement usual, ConfinementAs(""));
  ASSERT_TRUE(usual.user.has_value());
  EXPECT_NE(usual.user->uid, 0u);
  FORALL_ASSERT_OK_AND_ASSIGN(const Confinement numbers, ConfinementAs("12:34"));
  EXPECT_EQ(numbers.user->uid, 12u);
  EXPECT_EQ(numbers.user->gid, 34u);
  FORALL_ASSERT_OK_AND_ASSIGN(const Confinement root, ConfinementAs("root"));
  EXPECT_FALSE(root.user.has_value()) << "it stays who it is";
}

TEST(ConfinementTest, TextsSurviveTheJourney) {
  FORALL_ASSERT_OK_AND_ASSIGN(const Confinement some,
                              ConfinementFromText(ConfinementToText({.user = UserIds{7, 8}})));
  EXPECT_EQ(some.user->uid, 7u);
  EXPECT_EQ(some.user->gid, 8u);
  EXPECT_FALSE(some.local_sockets);
  EXPECT_FALSE(ConfinementFromText(ConfinementToText({}))->user.has_value());
  const Confinement sockets = {.user = UserIds{7, 8}, .local_sockets = true};
  EXPECT_TRUE(ConfinementFromText(ConfinementToText(sockets))->local_sockets);
  EXPECT_EQ(ConfinementFromText(ConfinementToText(sockets))->user->gid, 8u);
  for (const char* const text : {"", ":", "1", "1:2:3", "-1:2", "as-is "}) {
    EXPECT_THAT(ConfinementFromText(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(ConfinementTest, FoldersSayWhoMayWrite) {
  const TempDir dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms::owner_all);
  EXPECT_THAT(MayWriteIn(dir.path(), {geteuid(), getegid()}),
              ::forall::testing::IsOkAndHolds(true));
  EXPECT_THAT(MayWriteIn(dir.path(), {geteuid() + 1, getegid() + 1}),
              ::forall::testing::IsOkAndHolds(false));
  std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
  EXPECT_THAT(MayWriteIn(dir.path(), {geteuid() + 1, getegid() + 1}),
              ::forall::testing::IsOkAndHolds(true));
  EXPECT_THAT(MayWriteIn(dir / "none", {0, 0}), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace forall
