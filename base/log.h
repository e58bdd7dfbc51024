// SPDX-License-Identifier: Apache-2.0
// FORALL_LOG(INFO) << "job accepted job=" << job; one line per state change, to standard error,
// key=value pairs at the end. The edge logs a failure once; inner layers return status and are
// silent.
#ifndef FORALL_BASE_LOG_H_
#define FORALL_BASE_LOG_H_

#include <ostream>
#include <sstream>

#include "absl/strings/string_view.h"

// Abseil's Debian build has its own string_view, with operator<<; nothing else is needed here.

namespace forall {

enum class LogLevel { DEBUG = 0, INFO = 1, WARNING = 2, ERROR = 3 };

// Lines below `level` are dropped. INFO at the start. Thread-safe.
void SetLogLevel(LogLevel level);
LogLevel MinLogLevel();

// One line, written whole when it goes out of scope. Use the macro.
class LogLine {
 public:
  LogLine(LogLevel level, const char* file, int line);
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;
  std::ostream& stream() { return stream_; }

 private:
  LogLevel level_;
  std::ostringstream stream_;
};

}  // namespace forall

#define FORALL_LOG(level)                                    \
  if (::forall::LogLevel::level < ::forall::MinLogLevel()) { \
  } else                                                     \
    ::forall::LogLine(::forall::LogLevel::level, __FILE__, __LINE__).stream()

// For broken invariants of our own code only: nothing that a client, a file or the database sends
// may abort.
#define FORALL_CHECK(condition) \
  if (condition) {              \
  } else                        \
    ::forall::CheckFailure(__FILE__, __LINE__, #condition).stream()

namespace forall {

// Prints and aborts when it goes out of scope. Use the macro.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

}  // namespace forall

#endif  // FORALL_BASE_LOG_H_
