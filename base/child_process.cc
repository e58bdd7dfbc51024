// SPDX-License-Identifier: Apache-2.0
#include "base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(100);
constexpr size_t kLongestLine = 300;
constexpr int kMostReads = 16;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void Reset(int fd) {
    Close();
    fd_ = fd;
  }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status MakePipe(Descriptor* read_end, Descriptor* write_end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot make a pipe: ", std::strerror(errno)));
  }
  read_end->Reset(ends[0]);
  write_end->Reset(ends[1]);
  return absl::OkStatus();
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// This process's environment with the changes.
std::vector<std::string> Environment(const std::vector<std::string>& changes) {
  std::vector<std::string> result = changes;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('=') + 1);
    const bool changed = std::any_of(changes.begin(), changes.end(), [&name](const auto& change) {
      return change.compare(0, name.size(), name) == 0;
    });
    if (!changed) result.push_back(text);
  }
  return result;
}

// What happens between fork and exec: plain system calls only, for another thread may have held any
// lock at the fork.
class ChildSetup {
 public:
  ChildSetup(const ChildProcess::Options& options, int log)
      : options_(options),
        log_(log),
        environment_(Environment(options.environment)),
        arguments_(Pointers(options.argv)),
        entries_(Pointers(environment_)),
        moved_(options.files.size()),
        parent_(getpid()) {}

  // Returns the error number; never when it succeeds.
  int Become() {
    prctl(PR_SET_PDEATHSIG, options_.death_signal);
    if (getppid() != parent_) return ESRCH;  // The parent died before the line above.
    // A group of its own: Ctrl-C at the terminal reaches the parent only, which then stops the
    // child in order.
    setpgid(0, 0);
    // A worker blocks the signals that it waits for; its programs must not.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (log_ >= 0) {
      dup2(log_, STDOUT_FILENO);
      dup2(log_, STDERR_FILENO);
    }
    // First out of each other's way.
    int highest = 2;
    for (const auto& file : options_.files) highest = std::max(highest, file.second);
    for (size_t i = 0; i < options_.files.size(); ++i) {
      moved_[i] = fcntl(options_.files[i].first, F_DUPFD_CLOEXEC, highest + 1);
      if (moved_[i] < 0) return errno;
    }
    for (size_t i = 0; i < options_.files.size(); ++i) {
      if (dup2(moved_[i], options_.files[i].second) < 0) return errno;
    }
    if (options_.memory_bytes > 0) {
      const auto limit = static_cast<rlim_t>(options_.memory_bytes);
      const struct rlimit bounds = {limit, limit};
      if (setrlimit(RLIMIT_DATA, &bounds) != 0) return errno;
    }
    environ = entries_.data();
    execvp(arguments_[0], arguments_.data());
    return errno;
  }

 private:
  const ChildProcess::Options& options_;
  const int log_;
  std::vector<std::string> environment_;
  std::vector<char*> arguments_;
  std::vector<char*> entries_;
  std::vector<int> moved_;
  const pid_t parent_;
};

absl::Status StartError(const std::string& program, int error) {
  const std::string message = absl::StrCat("cannot run \"", program, "\": ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  if (error == ENOEXEC) return absl::FailedPreconditionError(message);
  return absl::UnavailableError(message);
}

// Reads what is there, but not for ever what comes meanwhile. False at the end of the stream.
bool Drain(int fd, std::string* text) {
  std::array<char, 65536> buffer;
  for (int i = 0; i < kMostReads; ++i) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got > 0) {
      text->append(buffer.data(), static_cast<size_t>(got));
      continue;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
  }
  return true;
}

// Of an end that cannot be told (SIGCHLD is ignored, say), the exit code of a failure.
int WaitFor(pid_t pid, int options, int* status) {
  int result = 0;
  do {
    result = waitpid(pid, status, options);
  } while (result < 0 && errno == EINTR);
  if (result < 0) *status = 255 << 8;
  return result;
}

// A program that stops reading its input is no reason for this one to be killed.
class IgnoreBrokenPipe {
 public:
  IgnoreBrokenPipe() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~IgnoreBrokenPipe() {
    if (sigismember(&before_, SIGPIPE) == 0) {
      const struct timespec now = {};
      while (sigtimedwait(&set_, nullptr, &now) == SIGPIPE) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  IgnoreBrokenPipe(const IgnoreBrokenPipe&) = delete;
  IgnoreBrokenPipe& operator=(const IgnoreBrokenPipe&) = delete;

 private:
  sigset_t set_;
  sigset_t before_;
};

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

}  // namespace

std::string ProgramEnd::ToString() const {
  if (signal == 0) return absl::StrCat("exit code ", exit_code);
  return absl::StrCat("signal ", signal, " (", strsignal(signal), ")");
}

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& argv, const std::string& log_path) {
  Options options;
  options.argv = argv;
  options.log_path = log_path;
  return Start(options);
}

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(const Options& options) {
  if (options.argv.empty()) return absl::InvalidArgumentError("a program to run must have a name");
  Descriptor log;
  if (!options.log_path.empty()) {
    log.Reset(open(options.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (log.get() < 0) {
      return absl::PermissionDeniedError(
          absl::StrCat("cannot write ", options.log_path, ": ", std::strerror(errno)));
    }
  }
  // Closed by a successful exec; else it carries the error number.
  Descriptor failure_read;
  Descriptor failure_write;
  FORALL_RETURN_IF_ERROR(MakePipe(&failure_read, &failure_write));
  ChildSetup setup(options, log.get());
  const pid_t pid = fork();
  if (pid < 0) {
    return absl::UnavailableError(absl::StrCat("cannot start a process: ", std::strerror(errno)));
  }
  if (pid == 0) {
    const int error = setup.Become();
    const ssize_t written = write(failure_write.get(), &error, sizeof(error));
    _exit(written == sizeof(error) ? 127 : 126);
  }
  failure_write.Close();
  int error = 0;
  ssize_t got = 0;
  do {
    got = read(failure_read.get(), &error, sizeof(error));
  } while (got < 0 && errno == EINTR);
  if (got == sizeof(error)) {
    int status = 0;
    WaitFor(pid, 0, &status);
    return StartError(options.argv[0], error);
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid));
}

void ChildProcess::NoteEnd(int wait_status) {
  pid_ = -1;
  end_.emplace();
  if (WIFSIGNALED(wait_status)) {
    end_->signal = WTERMSIG(wait_status);
  } else {
    end_->exit_code = WEXITSTATUS(wait_status);
  }
}

bool ChildProcess::IsRunning() {
  if (pid_ <= 0) return false;
  int status = 0;
  if (WaitFor(pid_, WNOHANG, &status) == 0) return true;
  NoteEnd(status);
  return false;
}

std::optional<ProgramEnd> ChildProcess::Wait(absl::Duration patience) {
  const absl::Duration step = absl::Milliseconds(1);
  for (absl::Duration waited; waited < patience && IsRunning(); waited += step) {
    Clock::Real()->SleepFor(step);
  }
  IsRunning();
  return end_;
}

void ChildProcess::Stop(absl::Duration patience) {
  if (!IsRunning()) return;
  if (patience > absl::ZeroDuration()) {
    kill(-pid_, SIGTERM);
    if (Wait(patience).has_value()) return;
  }
  kill(-pid_, SIGKILL);
  int status = 0;
  WaitFor(pid_, 0, &status);
  NoteEnd(status);
}

absl::StatusOr<ProgramOutput> RunProgram(const ProgramOptions& options) {
  Descriptor in_read;
  Descriptor in_write;
  Descriptor out_read;
  Descriptor out_write;
  Descriptor err_read;
  Descriptor err_write;
  FORALL_RETURN_IF_ERROR(MakePipe(&in_read, &in_write));
  FORALL_RETURN_IF_ERROR(MakePipe(&out_read, &out_write));
  FORALL_RETURN_IF_ERROR(MakePipe(&err_read, &err_write));
  ChildProcess::Options child_options;
  child_options.argv = options.argv;
  child_options.environment = options.environment;
  child_options.files = {{in_read.get(), 0}, {out_write.get(), 1}, {err_write.get(), 2}};
  const std::string& name = options.argv.empty() ? std::string() : options.argv[0];
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<ChildProcess> child,
                          ChildProcess::Start(child_options));
  in_read.Close();
  out_write.Close();
  err_write.Close();
  for (const int fd : {in_write.get(), out_read.get(), err_read.get()}) SetNonBlocking(fd);
  if (options.standard_input.empty()) in_write.Close();

  const IgnoreBrokenPipe ignore;
  ProgramOutput output;
  const int64_t start = Clock::Real()->SteadyNanos();
  size_t sent = 0;
  bool out_open = true;
  bool err_open = true;
  while (out_open || err_open) {
    const absl::Duration left =
        options.timeout - absl::Nanoseconds(Clock::Real()->SteadyNanos() - start);
    absl::Status stop;
    if (left <= absl::ZeroDuration()) {
      stop = absl::DeadlineExceededError(absl::StrCat("\"", name, "\" did not end within ",
                                                      absl::FormatDuration(options.timeout)));
    } else if (options.cancelled && options.cancelled()) {
      stop = absl::CancelledError(absl::StrCat("\"", name, "\" was stopped"));
    } else if (static_cast<int64_t>(
                   std::max(output.standard_output.size(), output.standard_error.size())) >
               options.most_output_bytes) {
      stop = absl::ResourceExhaustedError(
          absl::StrCat("\"", name, "\" printed more than ", options.most_output_bytes, " bytes"));
    }
    if (!stop.ok()) {
      // Its own children too: it leads a group.
      kill(-child->pid(), SIGKILL);
      child->Stop(absl::ZeroDuration());
      return stop;
    }
    // A descriptor of -1 is passed over.
    struct pollfd waits[] = {{out_open ? out_read.get() : -1, POLLIN, 0},
                             {err_open ? err_read.get() : -1, POLLIN, 0},
                             {in_write.get(), POLLOUT, 0}};
    poll(waits, 3,
         static_cast<int>(
             absl::ToInt64Milliseconds(std::min(kPollInterval, left + absl::Milliseconds(1)))));
    if (waits[0].revents != 0) out_open = Drain(out_read.get(), &output.standard_output);
    if (waits[1].revents != 0) err_open = Drain(err_read.get(), &output.standard_error);
    if (waits[2].revents != 0) {
      const ssize_t wrote = write(in_write.get(), options.standard_input.data() + sent,
                                  options.standard_input.size() - sent);
      if (wrote > 0) sent += static_cast<size_t>(wrote);
      const bool failed = wrote < 0 && errno != EAGAIN && errno != EINTR;
      if (failed || sent == options.standard_input.size()) in_write.Close();
    }
  }
  // Its streams are closed; it may still be at work.
  while (!child->Wait(kPollInterval).has_value()) {
    const bool late = absl::Nanoseconds(Clock::Real()->SteadyNanos() - start) >= options.timeout;
    if (!late && !(options.cancelled && options.cancelled())) continue;
    kill(-child->pid(), SIGKILL);
    child->Stop(absl::ZeroDuration());
    if (!late) return absl::CancelledError(absl::StrCat("\"", name, "\" was stopped"));
    return absl::DeadlineExceededError(
        absl::StrCat("\"", name, "\" did not end within ", absl::FormatDuration(options.timeout)));
  }
  output.end = *child->end();
  return output;
}

std::string LastLine(const std::string& text) {
  const std::string trimmed(absl::StripTrailingAsciiWhitespace(text));
  const size_t begin = trimmed.rfind('\n');
  return trimmed.substr(begin == std::string::npos ? 0 : begin + 1).substr(0, kLongestLine);
}

}  // namespace forall
