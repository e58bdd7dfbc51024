// SPDX-License-Identifier: Apache-2.0
// The test program is its own measuring child, with a backend whose models misbehave as their bytes
// say.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/thread.h"
#include "gtest/gtest.h"
#include "latency/child/child_wire.h"
#include "latency/child/measuring_child.h"

namespace forall {
namespace {

void HangForEver() {
  while (true) pause();
}

absl::Status Told(bool done) {
  return done ? absl::OkStatus() : absl::ErrnoToStatus(errno, "attempt");
}

// What a model that has taken over its process would try; the error is the kernel's.
absl::Status Attempt(const std::string& what) {
  const std::vector<std::string> words = absl::StrSplit(what, ' ');
  const int number = std::atoi(words.back().c_str());
  if (words[0] == "connect") {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(number));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return Told(fd >= 0 &&
                connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) == 0);
  }
  if (words[0] == "read") return Told(open(words[1].c_str(), O_RDONLY | O_CLOEXEC) >= 0);
  if (words[0] == "signal") return Told(kill(number, 0) == 0);
  if (words[0] == "program") {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    return Told(pid > 0);
  }
  if (words[0] == "thread") {
    Thread thread("attempt", [] {});
    thread.Join();
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(what);
}

class ScriptedModel : public PreparedModel {
 public:
  explicit ScriptedModel(std::string script) : script_(std::move(script)) {}

  absl::Status Run() override {
    if (script_ == "crash") raise(SIGSEGV);
    if (script_ == "exit") _exit(7);
    if (script_ == "hang") HangForEver();
    if (script_ == "killed") raise(SIGKILL);
    if (script_ == "memory") {
      std::vector<std::unique_ptr<char[]>> blocks;
      while (true) blocks.push_back(std::make_unique<char[]>(size_t{16} << 20));
    }
    if (absl::StartsWith(script_, "announce ")) {
      const int64_t bytes = std::atoll(script_.c_str() + 9);
      if (write(kChildSocket, &bytes, sizeof(bytes)) == sizeof(bytes)) HangForEver();
    }
    if (absl::StartsWith(script_, "say ")) {
      SendFrame(kChildSocket, script_.substr(4)).IgnoreError();
      HangForEver();
    }
    if (script_ == "error") return absl::UnimplementedError("no such operator");
    if (absl::StartsWith(script_, "attempt ")) return Attempt(script_.substr(8));
    // Crashes the first process that runs it.
    if (absl::StartsWith(script_, "/") && access(script_.c_str(), F_OK) == 0) {
      unlink(script_.c_str());
      raise(SIGABRT);
    }
    Clock::Real()->SleepFor(absl::Microseconds(100));
    return absl::OkStatus();
  }

 private:
  const std::string script_;
};

class ScriptedBackend : public LatencyBackend {
 public:
  absl::StatusOr<std::unique_ptr<PreparedModel>> Prepare(absl::string_view model,
                                                         SessionMemory /*memory*/) override {
    if (model == "invalid") return absl::InvalidArgumentError("this is no model");
    if (model == "hang while loading") HangForEver();
    if (model == "crash while loading") raise(SIGSEGV);
    if (model == "holds 48 MiB") held_.assign(size_t{48} << 20, 'x');
    return std::unique_ptr<PreparedModel>(new ScriptedModel(std::string(model)));
  }
  BackendDescription Describe() const override { return {.runtime = "scripted"}; }

 private:
  std::string held_;
};

absl::StatusOr<std::unique_ptr<LatencyBackend>> MakeScripted(absl::string_view configuration) {
  if (configuration != "scripted") return absl::FailedPreconditionError("no such backend");
  return std::unique_ptr<LatencyBackend>(new ScriptedBackend());
}

}  // namespace
}  // namespace forall

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == forall::kMeasuringChild) {
    return forall::MeasuringChildMain(&forall::MakeScripted, argc, argv);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
