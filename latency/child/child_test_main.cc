// SPDX-License-Identifier: Apache-2.0
// The test program is its own measuring child, with a backend whose models misbehave as their bytes
// say.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "base/clock.h"
#include "gtest/gtest.h"
#include "latency/child/measuring_child.h"

namespace forall {
namespace {

void HangForEver() {
  while (true) pause();
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
    if (script_ == "error") return absl::UnimplementedError("no such operator");
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
    return forall::MeasuringChildMain(&forall::MakeScripted);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
