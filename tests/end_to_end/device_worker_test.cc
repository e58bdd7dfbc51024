// SPDX-License-Identifier: Apache-2.0
// A worker that times on another device, with that device's own program: here a script behind the
// local transport, which takes as many nanoseconds as the model's file has bytes.
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using ::testing::HasSubstr;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "." : value;
}

class DeviceWorkerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    data_ = Environment("FORALL_SOURCE_DIR") + "/build/deps";
    if (!std::filesystem::exists(data_ + "/fashion-mnist")) {
      GTEST_SKIP() << "NO TEST RAN: no Fashion-MNIST in " << data_ << ": run tools/setup.sh";
    }
    Start({"forall-controller", "--db", dir_ / "forall.db", "--listen", "127.0.0.1:0",
           "--port-file", dir_ / "port", "--supernet",
           Environment("FORALL_SOURCE_DIR") + "/supernets/fashion_mnist"});
    for (int i = 0; i < 3000 && address_.empty(); ++i) {
      const absl::StatusOr<std::string> port = ReadFile(dir_ / "port");
      if (port.ok() && !port->empty()) {
        address_ = absl::StrCat("127.0.0.1:", absl::StripAsciiWhitespace(*port));
      }
      Clock::Real()->SleepFor(absl::Milliseconds(10));
    }
    ASSERT_NE(address_, "") << *ReadFile(dir_ / "forall-controller.log");
  }

  void Start(std::vector<std::string> argv) {
    const std::string name = argv[0];
    argv[0] = absl::StrCat(Environment("FORALL_BIN_DIR"), "/", name);
    auto process = ChildProcess::Start(argv, dir_ / (name + ".log"));
    ASSERT_THAT(process, testing::IsOk());
    processes_.push_back(*std::move(process));
  }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_THAT(WriteFileAtomically(dir_ / name, text), testing::IsOk());
    ASSERT_EQ(chmod((dir_ / name).c_str(), 0755), 0);
  }

  std::string Run(const std::string& arguments) {
    const std::string command =
        absl::StrCat(Environment("FORALL_BIN_DIR"), "/forall --controller ", address_, " ",
                     arguments, " > ", dir_ / "output", " 2>&1");
    exit_code_ = WEXITSTATUS(std::system(command.c_str()));
    return *ReadFile(dir_ / "output");
  }

  testing::TempDir dir_;
  std::string data_;
  std::string address_;
  std::vector<std::unique_ptr<ChildProcess>> processes_;
  int exit_code_ = 0;
};

TEST_F(DeviceWorkerTest, OneProcessMeasuresAJobOnSeveralDevices) {
  for (const int factor : {1, 3}) {
    const std::string name = absl::StrCat("board-", factor);
    Write(name, absl::StrCat("#!/bin/sh\nn=$(wc -c <$1)\nfor i in 1 2 3 4; do echo $((n*", factor,
                             ")); done\n"));
    Write(name + ".json",
          absl::StrCat(R"({"device": ")", name, R"(", "device_class": "board", )",
                       R"("transport": {"kind": "local", "directory": ")", dir_.path(),
                       R"("}, "recipe": {"name": "tool", "argv": [")", dir_ / name,
                       R"(", "{model}"], "samples": {"from": "standard_output", )",
                       R"("format": "one_number_per_line", "unit": "ns"}}, "runs_per_call": 4})"));
  }
  Write("cpu.json", R"({"device": "pc", "runtime": "onnxruntime", "threads": 1,)"
                    R"("session_options": {"session.set_denormal_as_zero": "1"}})");
  Start({"forall-worker", "--controller", address_, "--local", "--id", "exporter", "--kinds",
         "export", "--timing", dir_ / "board-1.json", "--timing", dir_ / "board-3.json", "--timing",
         dir_ / "cpu.json", "--data", data_, "--cache", dir_ / "cache"});
  for (const std::string name : {"exporter", "board-1", "board-3", "pc-cpu"}) {
    for (int i = 0; i < 3000 && Run("workers").find(name) == std::string::npos; ++i) {
      Clock::Real()->SleepFor(absl::Milliseconds(10));
    }
  }
  EXPECT_THAT(Run("workers"), HasSubstr("tool"));
  Run("submit --supernet fashion_mnist --objective latency_ms@board-1 --objective "
      "latency_ms@board-3 --objective latency_ms@pc --objective macs --trials 3 --sampler random");
  ASSERT_EQ(exit_code_, 0) << *ReadFile(dir_ / "output");
  EXPECT_THAT(Run("watch 1"), HasSubstr("succeeded"));
  const nlohmann::json frontier =
      nlohmann::json::parse(Run("frontier 1 --format json"), nullptr, false);
  ASSERT_TRUE(frontier.is_object()) << *ReadFile(dir_ / "output");
  ASSERT_FALSE(frontier["members"].empty());
  for (const nlohmann::json& member : frontier["members"]) {
    const auto& values = member["values"];
    const auto of = [&values](const char* name) { return values.at(name).get<double>(); };
    // The same file of so many bytes, on both boards.
    EXPECT_NEAR(of("latency_ms@board-3") / of("latency_ms@board-1"), 3, 1e-6) << member;
    EXPECT_GT(of("latency_ms@pc"), 0);
  }
}

TEST_F(DeviceWorkerTest, AFileThatIsWrongEndsTheWorkerWithTheKey) {
  Write("board.json", R"({"transport": {"kind": "carrier pigeon"}, "recipe": "trtexec"})");
  Start({"forall-worker", "--controller", address_, "--timing", dir_ / "board.json", "--device",
         "board-1", "--device-class", "board"});
  const std::optional<ProgramEnd> end = processes_.back()->Wait(absl::Seconds(60));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 1);
  EXPECT_THAT(*ReadFile(dir_ / "forall-worker.log"), HasSubstr("none of local, ssh, adb"));
}

}  // namespace
}  // namespace forall
