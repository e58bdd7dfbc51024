// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/numbers.h"

namespace forall {
namespace {

constexpr size_t kUsual = 80;
constexpr int kWidest = 100'000;

}  // namespace

size_t TerminalWidth(int descriptor) {
  if (isatty(descriptor) == 0) return 0;
  const char* const columns = std::getenv("COLUMNS");
  int wanted = 0;
  if (columns != nullptr && absl::SimpleAtoi(columns, &wanted) && wanted > 0 && wanted <= kWidest) {
    return static_cast<size_t>(wanted);
  }
  winsize size = {};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return kUsual;
}

size_t OutputWidth() { return TerminalWidth(STDOUT_FILENO); }

}  // namespace forall
