// SPDX-License-Identifier: Apache-2.0
#include "base/child_process.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

ProgramOptions Shell(const std::string& script) {
  ProgramOptions options;
  options.argv = {"sh", "-c", script};
  return options;
}

TEST(RunProgramTest, KeepsBothStreamsAndTheExitCode) {
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output,
                              RunProgram(Shell("echo out; echo err >&2; exit 3")));
  EXPECT_EQ(output.standard_output, "out\n");
  EXPECT_EQ(output.standard_error, "err\n");
  EXPECT_EQ(output.end.exit_code, 3);
  EXPECT_FALSE(output.end.ok());
  EXPECT_EQ(output.end.ToString(), "exit code 3");
}

TEST(RunProgramTest, PassesInputLargerThanAPipe) {
  ProgramOptions options = Shell("cat");
  options.standard_input.assign(3 << 20, 'x');
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, RunProgram(options));
  EXPECT_TRUE(output.standard_output == options.standard_input);
}

TEST(RunProgramTest, AProgramThatDoesNotReadItsInputIsNoHarm) {
  ProgramOptions options = Shell("exec 0<&-; sleep 0.1; echo fine");
  options.standard_input.assign(3 << 20, 'x');
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, RunProgram(options));
  EXPECT_EQ(output.standard_output, "fine\n");
}

TEST(RunProgramTest, TheEnvironmentIsThisOneWithTheChanges) {
  ProgramOptions options = Shell("printf %s \"$HERE-$PATH\"");
  options.environment = {"HERE=there"};
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, RunProgram(options));
  EXPECT_EQ(output.standard_output, std::string("there-") + getenv("PATH"));
}

TEST(RunProgramTest, ALateProgramIsKilledWithItsChildren) {
  const TempDir dir;
  ProgramOptions options = Shell("(sleep 1; touch " + (dir / "late") + ") & sleep 100");
  options.timeout = absl::Milliseconds(200);
  EXPECT_THAT(RunProgram(options), StatusIs(absl::StatusCode::kDeadlineExceeded));
  Clock::Real()->SleepFor(absl::Milliseconds(1200));
  EXPECT_NE(access((dir / "late").c_str(), F_OK), 0);
}

TEST(RunProgramTest, CancellationKills) {
  ProgramOptions options = Shell("sleep 100");
  int asked = 0;
  options.cancelled = [&asked] { return ++asked > 2; };
  EXPECT_THAT(RunProgram(options), StatusIs(absl::StatusCode::kCancelled));
}

TEST(RunProgramTest, EndlessOutputIsRefused) {
  ProgramOptions options = Shell("yes");
  options.most_output_bytes = 1 << 20;
  EXPECT_THAT(RunProgram(options), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(RunProgramTest, AMissingProgramIsAnErrorNotAnExitCode) {
  ProgramOptions options;
  options.argv = {"no-such-program-anywhere"};
  EXPECT_THAT(RunProgram(options),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no-such-program-anywhere")));
  options.argv = {"/etc/passwd"};
  EXPECT_THAT(RunProgram(options), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST(RunProgramTest, ASignalIsToldByName) {
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, RunProgram(Shell("kill -SEGV $$")));
  EXPECT_EQ(output.end.signal, SIGSEGV);
  EXPECT_THAT(output.end.ToString(), HasSubstr("signal 11"));
}

TEST(ChildProcessTest, GivesDescriptorsUnderTheirNumbers) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ChildProcess::Options options;
  options.argv = {"sh", "-c", "head -c 4 <&3; echo done >&3"};
  const TempDir dir;
  options.log_path = dir / "log";
  options.files = {{pair[1], 3}};
  FORALL_ASSERT_OK_AND_ASSIGN(const auto child, ChildProcess::Start(options));
  close(pair[1]);
  ASSERT_EQ(write(pair[0], "ping", 4), 4);
  char answer[16] = {};
  EXPECT_EQ(read(pair[0], answer, sizeof(answer)), 5);
  EXPECT_STREQ(answer, "done\n");
  close(pair[0]);
  ASSERT_TRUE(child->Wait(absl::Seconds(10)).has_value());
  EXPECT_TRUE(child->end()->ok());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string log, ReadFile(dir / "log"));
  EXPECT_EQ(log, "ping");
}

TEST(ChildProcessTest, StopKillsOneThatWillNotHear) {
  const TempDir dir;
  const std::string ready = dir / "ready";
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto child,
      ChildProcess::Start({.argv = {"sh", "-c", "trap '' TERM; touch " + ready + "; sleep 100"}}));
  while (access(ready.c_str(), F_OK) != 0) Clock::Real()->SleepFor(absl::Milliseconds(5));
  EXPECT_TRUE(child->IsRunning());
  child->Stop(absl::Milliseconds(100));
  EXPECT_FALSE(child->IsRunning());
  EXPECT_EQ(child->end()->signal, SIGKILL);
}

TEST(LastLineTest, IsTheLastThatSaysSomething) {
  EXPECT_EQ(LastLine("one\ntwo\n\n"), "two");
  EXPECT_EQ(LastLine(""), "");
  EXPECT_EQ(LastLine(std::string(1000, 'x')).size(), 300u);
}

}  // namespace
}  // namespace forall
