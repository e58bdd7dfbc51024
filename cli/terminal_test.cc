// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace forall {
namespace {

class TerminalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    unsetenv("COLUMNS");
    controlling_ = posix_openpt(O_RDWR | O_NOCTTY);
    ASSERT_GE(controlling_, 0);
    ASSERT_EQ(grantpt(controlling_), 0);
    ASSERT_EQ(unlockpt(controlling_), 0);
    terminal_ = open(ptsname(controlling_), O_RDWR | O_NOCTTY);
    ASSERT_GE(terminal_, 0);
  }
  void TearDown() override {
    unsetenv("COLUMNS");
    close(terminal_);
    close(controlling_);
  }
  void Resize(unsigned short columns) {
    winsize size = {};
    size.ws_row = 24;
    size.ws_col = columns;
    ASSERT_EQ(ioctl(terminal_, TIOCSWINSZ, &size), 0);
  }

  int controlling_ = -1;
  int terminal_ = -1;
};

TEST_F(TerminalTest, IsAsWideAsItSays) {
  Resize(123);
  EXPECT_EQ(TerminalWidth(terminal_), 123u);
  Resize(0);
  EXPECT_EQ(TerminalWidth(terminal_), 80u);
}

TEST_F(TerminalTest, ColumnsComeFirstWhereTheyAreANumber) {
  Resize(123);
  setenv("COLUMNS", "100", 1);
  EXPECT_EQ(TerminalWidth(terminal_), 100u);
  for (const char* const wrong : {"", "wide", "0", "-5", "99999999999"}) {
    setenv("COLUMNS", wrong, 1);
    EXPECT_EQ(TerminalWidth(terminal_), 123u) << wrong;
  }
}

TEST_F(TerminalTest, AFileGetsEverything) {
  setenv("COLUMNS", "100", 1);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(TerminalWidth(ends[1]), 0u);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace forall
