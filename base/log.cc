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

LogLine::~LogLine() {
  stream_ << '\n';
  WriteLine(stream_.str());
}

CheckFailure::CheckFailure(const char* file, int line, const char* condition) {
  stream_ << "F " << BaseName(file) << ':' << line << "] broken invariant: " << condition << ' ';
}

CheckFailure::~CheckFailure() {
  stream_ << '\n';
  WriteLine(stream_.str());
  std::abort();
}

}  // namespace forall
