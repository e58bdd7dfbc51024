// SPDX-License-Identifier: Apache-2.0
// Against a real sshd on the loopback interface, with keys that live as long as the test.
#include "latency/transport/ssh_transport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/testing/hostile_arguments.h"

namespace forall {
namespace {

using ::forall::testing::HostileArguments;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

std::string FindSshd() {
  for (const char* path : {"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return "";
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

bool Listens(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool there = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return there;
}

class SshTransportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (FindSshd().empty()) GTEST_SKIP() << "sshd is not installed (package openssh-server)";
    const absl::StatusOr<ProgramOutput> client = RunProgram({.argv = {"ssh", "-V"}});
    if (!client.ok()) GTEST_SKIP() << "ssh is not installed (package openssh-client)";
    // Started as root, sshd wants this folder; it is missing where sshd never ran as a service.
    if (geteuid() == 0) std::filesystem::create_directories("/run/sshd");
    FORALL_ASSERT_OK(MakeKey("host"));
    FORALL_ASSERT_OK(MakeKey("user"));
    FORALL_ASSERT_OK(MakeKey("other"));
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string user, ReadFile(dir_ / "user.pub"));
    FORALL_ASSERT_OK(WriteFileAtomically(dir_ / "authorized", user));
    ASSERT_EQ(chmod((dir_ / "authorized").c_str(), 0600), 0);
    FORALL_ASSERT_OK(StartServer());
    FORALL_ASSERT_OK(Know("host"));
  }

  absl::Status MakeKey(const std::string& name) {
    return RunProgram({.argv = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir_ / name}})
        .status();
  }

  // Believes that the host has this key.
  absl::Status Know(const std::string& key) {
    const absl::StatusOr<std::string> text = ReadFile(dir_ / (key + ".pub"));
    if (!text.ok()) return text.status();
    return WriteFileAtomically(dir_ / "known", absl::StrCat("[127.0.0.1]:", port_, " ", *text));
  }

  absl::Status StartServer() {
    // Another may take the port in between: then the next one.
    for (int attempt = 0; attempt < 5; ++attempt) {
      if (port_ == 0 || attempt > 0) port_ = FreePort();
      const std::string config =
          absl::StrCat("ListenAddress 127.0.0.1\nPort ", port_, "\nHostKey ", dir_ / "host",
                       "\nAuthorizedKeysFile ", dir_ / "authorized",
                       "\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
                       "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
                       "MaxStartups 100\n");
      const absl::Status written = WriteFileAtomically(dir_ / "config", config);
      if (!written.ok()) return written;
      absl::StatusOr<std::unique_ptr<ChildProcess>> server =
          ChildProcess::Start({FindSshd(), "-D", "-e", "-f", dir_ / "config"}, dir_ / "sshd.log");
      if (!server.ok()) return server.status();
      server_ = *std::move(server);
      for (int i = 0; i < 3000 && server_->IsRunning(); ++i) {
        if (Listens(port_)) return absl::OkStatus();
        server_->Wait(absl::Milliseconds(10)).has_value();
      }
      server_.reset();
    }
    return absl::UnavailableError(absl::StrCat("sshd does not listen: ", Log()));
  }

  std::string Log() {
    const absl::StatusOr<std::string> log = ReadFile(dir_ / "sshd.log");
    return log.ok() ? *log : "";
  }

  SshTransport::Options Options() {
    SshTransport::Options options;
    options.shell = {.directory = dir_ / "it's a device", .clock = &clock_};
    options.host = "127.0.0.1";
    options.port = port_;
    const passwd* user = getpwuid(geteuid());
    if (user != nullptr) options.user = user->pw_name;
    options.known_hosts = dir_ / "known";
    options.identity = dir_ / "user";
    return options;
  }

  std::unique_ptr<Transport> Connected() {
    absl::StatusOr<std::unique_ptr<Transport>> transport = SshTransport::Create(Options());
    return transport.ok() ? *std::move(transport) : nullptr;
  }

  // How often somebody logged in.
  int Logins() {
    const std::string log = Log();
    int count = 0;
    for (size_t at = 0; (at = log.find("Accepted publickey", at)) != std::string::npos; ++at) {
      ++count;
    }
    return count;
  }

  const TempDir dir_;
  FakeClock clock_;
  int port_ = 0;
  std::unique_ptr<ChildProcess> server_;
};

// Waits, for as long as a test may take, until a file is there.
bool Appears(const std::string& path) {
  for (int i = 0; i < 6000; ++i) {
    if (access(path.c_str(), F_OK) == 0) return true;
    Clock::Real()->SleepFor(absl::Milliseconds(10));
  }
  return false;
}

// Those of a process that are sshd too.
std::vector<int> SshdChildrenOf(int parent) {
  std::vector<int> children;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &pid)) continue;
    const absl::StatusOr<std::string> stat = ReadFile(entry->path() / "stat");
    if (!stat.ok()) continue;
    // "PID (NAME) STATE PARENT ...".
    const std::vector<std::string> fields =
        absl::StrSplit(stat->substr(stat->rfind(')') + 1), ' ', absl::SkipEmpty());
    if (fields.size() > 1 && fields[1] == absl::StrCat(parent) &&
        absl::StrContains(*stat, "(sshd")) {
      children.push_back(pid);
    }
  }
  return children;
}

TEST_F(SshTransportTest, RunsProgramsThroughOneConnection) {
  const auto transport = Connected();
  ASSERT_NE(transport, nullptr);
  for (const int code : {0, 3, 255}) {
    FORALL_ASSERT_OK_AND_ASSIGN(
        const ProgramOutput output,
        transport->Run(
            {.argv = {"sh", "-c", absl::StrCat("cat; echo out; echo \"$V\" >&2; exit ", code)},
             .environment = {"V=it's $HOME"}}));
    EXPECT_EQ(output.standard_output, "out\n");
    EXPECT_EQ(output.standard_error, "it's $HOME\n");
    EXPECT_EQ(output.end.exit_code, code);
    EXPECT_EQ(output.end.signal, 0);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput crashed,
                              transport->Run({.argv = {"sh", "-c", "kill -SEGV $$"}}));
  EXPECT_EQ(crashed.end.signal, SIGSEGV);
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput missing,
                              transport->Run({.argv = {"no-such-program-anywhere"}}));
  EXPECT_EQ(missing.end.exit_code, 127);
  EXPECT_EQ(Logins(), 1);
  EXPECT_EQ(transport->Describe().kind, "ssh");
  EXPECT_THAT(transport->Describe().target, HasSubstr(absl::StrCat("@127.0.0.1:", port_)));
}

TEST_F(SshTransportTest, ArgumentsArriveAsTheyAre) {
  const auto transport = Connected();
  ASSERT_NE(transport, nullptr);
  TransportRun run = {.argv = {"printf", "<%s>"}};
  std::string expected;
  for (const std::string& argument : HostileArguments()) {
    run.argv.push_back(argument);
    expected += "<" + argument + ">";
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, transport->Run(run));
  EXPECT_EQ(output.standard_output, expected);
}

TEST_F(SshTransportTest, PushesOnceByHash) {
  const auto transport = Connected();
  ASSERT_NE(transport, nullptr);
  std::string bytes(3 << 20, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 3);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, transport->Push(bytes, "onnx"));
  EXPECT_EQ(path, dir_ / ("it's a device/forall/" + Sha256Hex(bytes) + ".onnx"));
  struct stat first = {};
  ASSERT_EQ(stat(path.c_str(), &first), 0);
  EXPECT_THAT(transport->Push(bytes, "onnx"), IsOkAndHolds(path));
  struct stat second = {};
  ASSERT_EQ(stat(path.c_str(), &second), 0);
  EXPECT_EQ(first.st_ino, second.st_ino) << "sent anew";
  EXPECT_TRUE(*transport->Fetch(path, 4 << 20) == bytes);
  // Of the same size, yet broken.
  std::string broken = bytes;
  broken[5] ^= 1;
  FORALL_ASSERT_OK(WriteFileAtomically(path, broken));
  EXPECT_THAT(transport->Push(bytes, "onnx"), IsOkAndHolds(path));
  EXPECT_TRUE(*transport->Fetch(path, 4 << 20) == bytes);
  EXPECT_THAT(transport->Fetch(path + ".no", 100), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(transport->Fetch(path, 100000), StatusIs(absl::StatusCode::kResourceExhausted));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(transport->directory())) {
    EXPECT_EQ(entry.path().extension(), ".onnx") << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 1);
  FORALL_ASSERT_OK(WriteFileAtomically(dir_ / "text", "42\n"));
  EXPECT_THAT(transport->ReadText(dir_ / "text"), IsOkAndHolds("42"));
  FORALL_EXPECT_OK(transport->ReadSensors().status());
}

TEST_F(SshTransportTest, TheCacheForgets) {
  SshTransport::Options options = Options();
  options.shell.cache_bytes = 2500;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto transport, SshTransport::Create(options));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string a, transport->Push(std::string(1000, 'a'), "x"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string b, transport->Push(std::string(1000, 'b'), "x"));
  const struct timeval long_ago[2] = {};
  ASSERT_EQ(utimes(a.c_str(), long_ago), 0);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string c, transport->Push(std::string(1000, 'c'), "x"));
  EXPECT_FALSE(std::filesystem::exists(a));
  EXPECT_TRUE(std::filesystem::exists(b));
  EXPECT_TRUE(std::filesystem::exists(c));
}

TEST_F(SshTransportTest, AnUnknownHostKeyIsRefused) {
  FORALL_ASSERT_OK(Know("other"));
  const auto transport = Connected();
  ASSERT_NE(transport, nullptr);
  EXPECT_THAT(transport->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("host key")));
  FORALL_ASSERT_OK(WriteFileAtomically(dir_ / "known", ""));
  EXPECT_THAT(transport->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("host key")));
  EXPECT_THAT(ReadFile(dir_ / "known"), IsOkAndHolds("")) << "learned without being told to";
  FORALL_ASSERT_OK(Know("host"));
  FORALL_EXPECT_OK(transport->Run({.argv = {"true"}}).status());
}

TEST_F(SshTransportTest, AKeyThatIsNotAuthorizedIsRefused) {
  SshTransport::Options options = Options();
  options.identity = dir_ / "other";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto transport, SshTransport::Create(options));
  EXPECT_THAT(transport->Run({.argv = {"true"}}), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(SshTransportTest, ADeviceThatCannotBeReachedIsTriedAgainAndUnavailable) {
  server_.reset();
  const auto transport = Connected();
  ASSERT_NE(transport, nullptr);
  const absl::Time start = clock_.Now();
  EXPECT_THAT(transport->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("127.0.0.1")));
  EXPECT_EQ(clock_.Now() - start, absl::Seconds(1 + 2 + 4));
  FORALL_ASSERT_OK(StartServer());
  FORALL_ASSERT_OK(Know("host"));
}

TEST_F(SshTransportTest, ALostConnectionIsMadeAnewAndWhatIsLeftIsKilled) {
  const auto transport = Connected();
  ASSERT_NE(transport, nullptr);
  // The first run waits to be cut off; the second finds that it was.
  const std::string first = dir_ / "first";
  const std::string script =
      absl::StrCat("if [ -e '", first, "' ]; then echo again; else echo $$ > '", first,
                   ".new'; mv '", first, ".new' '", first, "'; exec sleep 1000; fi");
  Thread killer("killer", [&] {
    if (!Appears(first)) return;
    // The server's process of this connection, and for an ordinary user the one that it serves by.
    for (const int session : SshdChildrenOf(server_->pid())) {
      for (const int pid : SshdChildrenOf(session)) kill(pid, SIGKILL);
      kill(session, SIGKILL);
    }
  });
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output,
                              transport->Run({.argv = {"sh", "-c", script}}));
  killer.Join();
  EXPECT_EQ(output.standard_output, "again\n");
  EXPECT_EQ(Logins(), 2);
  // The program of the first attempt is gone.
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(first));
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(text, &pid));
  bool gone = false;
  for (int i = 0; i < 3000 && !gone; ++i) {
    const absl::StatusOr<std::string> status = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));
    gone = !status.ok() || status->empty();
    if (!gone) Clock::Real()->SleepFor(absl::Milliseconds(10));
  }
  EXPECT_TRUE(gone);
}

TEST_F(SshTransportTest, AnOverrunIsKilledOnTheDevice) {
  const auto transport = Connected();
  ASSERT_NE(transport, nullptr);
  FORALL_ASSERT_OK(transport->Run({.argv = {"true"}}).status());
  const std::string pid_file = dir_ / "pid";
  int asked = 0;
  const auto cancelled = [&] { return ++asked > 1 && access(pid_file.c_str(), F_OK) == 0; };
  EXPECT_THAT(
      transport->Run({.argv = {"sh", "-c", "echo $$ > \"$1.new\"; mv \"$1.new\" \"$1\"; sleep 1000",
                               "sh", pid_file},
                      .cancelled = cancelled}),
      StatusIs(absl::StatusCode::kCancelled));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(pid_file));
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(text, &pid));
  bool gone = false;
  for (int i = 0; i < 3000 && !gone; ++i) {
    const absl::StatusOr<std::string> status = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));
    gone = !status.ok() || status->empty();
    if (!gone) Clock::Real()->SleepFor(absl::Milliseconds(10));
  }
  EXPECT_TRUE(gone);
  EXPECT_THAT(transport->Run({.argv = {"sleep", "1000"}, .timeout = absl::Milliseconds(300)}),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("sleep")));
  FORALL_EXPECT_OK(transport->Run({.argv = {"true"}}).status());
  EXPECT_EQ(Logins(), 1);
}

TEST(SshTransportOptionsTest, WhatCannotBeMeantIsRefused) {
  const SshTransport::Options fine = {.shell = {.directory = "/tmp"}, .host = "board"};
  FORALL_EXPECT_OK(SshTransport::Create(fine).status());
  const auto refused = [&](auto change) {
    SshTransport::Options options = fine;
    change(&options);
    return SshTransport::Create(options).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](auto* o) { o->host = ""; }));
  EXPECT_TRUE(refused([](auto* o) { o->host = "-oProxyCommand=id"; }));
  EXPECT_TRUE(refused([](auto* o) { o->host = "a b"; }));
  EXPECT_TRUE(refused([](auto* o) { o->user = "-x"; }));
  EXPECT_TRUE(refused([](auto* o) { o->port = 70000; }));
  EXPECT_TRUE(refused([](auto* o) { o->shell.directory = "relative"; }));
  EXPECT_TRUE(refused([](auto* o) { o->shell.cpu_mask = "0x; id"; }));
  EXPECT_TRUE(refused([](auto* o) { o->shell.attempts = 0; }));
  SshTransport::Options absent = fine;
  absent.program = "/no/such/ssh";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto transport, SshTransport::Create(absent));
  EXPECT_THAT(transport->Run({.argv = {"true"}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("openssh-client")));
}

}  // namespace
}  // namespace forall
