// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/shell_text.h"

#include <string>
#include <vector>

#include "base/child_process.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/testing/hostile_arguments.h"

namespace forall {
namespace {

using ::forall::testing::HostileArguments;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(ShellTextTest, AShellTakesEveryArgumentAsItIs) {
  std::vector<std::string> argv = {"printf", "<%s>"};
  std::string expected;
  for (const std::string& argument : HostileArguments()) {
    argv.push_back(argument);
    expected += "<" + argument + ">";
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string command, ShellCommand(argv));
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output,
                              RunProgram({.argv = {"sh", "-c", command}}));
  EXPECT_EQ(output.standard_output, expected);
}

TEST(ShellTextTest, AZeroByteIsRefused) {
  EXPECT_THAT(ShellQuoted(std::string("a\0b", 3)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("zero byte")));
}

TEST(ShellTextTest, ExportsAreValuesOnly) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string exports,
                              ShellExports({"A_1=$(touch /nowhere)", "B='", "C="}));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const ProgramOutput output,
      RunProgram({.argv = {"sh", "-c", exports + "printf '%s|%s|%s' \"$A_1\" \"$B\" \"$C\""}}));
  EXPECT_EQ(output.standard_output, "$(touch /nowhere)|'|");
  for (const char* wrong : {"A", "=x", "1A=x", "A B=x", "A;id=x", "$(id)=x"}) {
    EXPECT_THAT(ShellExports({wrong}), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
  }
}

TEST(ShellTextTest, ExtensionsAreNoPaths) {
  FORALL_EXPECT_OK(CheckExtension("onnx"));
  FORALL_EXPECT_OK(CheckExtension("tar.gz"));
  for (const char* wrong : {"", "a/b", "a b", "'", "longer.than.sixteen"}) {
    EXPECT_THAT(CheckExtension(wrong), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
  }
}

}  // namespace
}  // namespace forall
