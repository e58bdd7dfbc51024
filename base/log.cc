// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace forall {
namespace {

std::atomic<int> min_level{static_cast<int>(LogLevel::INFO)};

void WriteLine(const std::string& line) {
  // One write per line, so that lines of threads and processes do not mix.
  [[maybe_unused]] const ssize_t count = write(STDERR_FILENO, line.data(), line.size());
}

// Texts of strangers are in the lines too: none may begin a line of its own, or talk to a terminal.
// Control characters are written as \n, \t, \r and \xNN, also those of Unicode (U+0080 to U+009F).
std::string OnOneLine(const std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string line;
  line.reserve(text.size() + 1);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (byte == '\n') {
      line += "\\n";
    } else if (byte == '\t') {
      line += "\\t";
    } else if (byte == '\r') {
      line += "\\r";
    } else if (byte < 0x20 || byte == 0x7f) {
      line += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
      line += {'\\', 'x', kHex[next >> 4], kHex[next & 15]};
      ++i;
    } else {
      line += text[i];
    }
  }
  line += '\n';
  return line;
}

const char* BaseName(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash == nullptr ? file : slash + 1;
}

}  // namespace

void SetLogLevel(LogLevel level) { min_level.store(static_cast<int>(level)); }
LogLevel MinLogLevel() { return static_cast<LogLevel>(min_level.load(std::memory_order_relaxed)); }

LogLine::LogLine(LogLevel level, const char* file, int line) : level_(level) {
  static constexpr char kLetters[] = "DIWE";
  stream_ << kLetters[static_cast<int>(level_)]
          << absl::FormatTime("%m%d %H:%M:%E3S", absl::Now(), absl::LocalTimeZone()) << ' '
          << BaseName(file) << ':' << line << "] ";
}

LogLine::~LogLine() { WriteLine(OnOneLine(stream_.str())); }

CheckFailure::CheckFailure(const char* file, int line, const char* condition) {
  stream_ << "F " << BaseName(file) << ':' << line << "] broken invariant: " << condition << ' ';
}

CheckFailure::~CheckFailure() {
  WriteLine(OnOneLine(stream_.str()));
  std::abort();
}

}  // namespace forall
