// SPDX-License-Identifier: Apache-2.0
// A worker that times on another device, with that device's own program: here a script behind the
// local transport, which takes as many nanoseconds as the model's file has bytes.
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/end_to_end/lab.h"

namespace forall {
namespace {

using testing::CountingBoard;
using testing::CountingProgram;
using ::testing::HasSubstr;

class DeviceWorkerTest : public testing::Lab {
 protected:
  void SetUp() override {
    if (!HasData())
      GTEST_SKIP() << "NO TEST RAN: no Fashion-MNIST in " << Data() << ": run tools/setup.sh";
    controller_ = StartController();
  }

  std::unique_ptr<ChildProcess> controller_;
};

TEST_F(DeviceWorkerTest, OneProcessMeasuresAJobOnSeveralDevices) {
  for (const int factor : {1, 3}) {
    const std::string name = absl::StrCat("board-", factor);
    Write(name, CountingProgram(factor));
    Write(name + ".json",
          CountingBoard(dir_.path(), dir_ / name,
                        absl::StrCat(R"(, "device": ")", name, R"(", "device_class": "board")")));
  }
  Write("cpu.json", R"({"device": "pc", "runtime": "onnxruntime", "threads": 1,)"
                    R"("session_options": {"session.set_denormal_as_zero": "1"}})");
  const auto worker =
      Start({"forall-worker", "--controller", address_, "--local", "--id", "exporter", "--kinds",
             "export", "--timing", dir_ / "board-1.json", "--timing", dir_ / "board-3.json",
             "--timing", dir_ / "cpu.json", "--data", Data(), "--cache", dir_ / "cache"});
  for (const std::string name : {"exporter", "board-1", "board-3", "pc-cpu"}) AwaitWorker(name);
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

  // Why trials are not on a frontier: of all, and of one.
  Run("submit --supernet fashion_mnist --objective latency_ms@board-1 --objective macs "
      "--constraint 'latency_ms@board-1<=0.0001' --trials 3 --sampler random");
  ASSERT_EQ(exit_code_, 0) << *ReadFile(dir_ / "output");
  Run("watch 2");
  EXPECT_THAT(Run("frontier 2"), HasSubstr("3 trials were infeasible: forall jobs 2 says why"));
  const std::string job = Run("jobs 2");
  EXPECT_EQ(exit_code_, 0) << job;
  EXPECT_THAT(job, HasSubstr("latency_ms@board-1 is above 0.0001"));
  EXPECT_THAT(job, HasSubstr("forall trial 2/trials/1"));
  const std::string trial = Run("trial 2/trials/1");
  EXPECT_EQ(exit_code_, 0) << trial;
  EXPECT_THAT(trial, HasSubstr(" is above 0.0001"));
  EXPECT_THAT(trial, HasSubstr("TRUSTED"));
  Run("trial 2/trials/9");
  EXPECT_EQ(exit_code_, 4);
}

TEST_F(DeviceWorkerTest, AFileIsCheckedWithoutAController) {
  Write("board", CountingProgram(1));
  Write("board.json", CountingBoard(dir_.path(), dir_ / "board",
                                    R"(, "device": "board-1", "device_class": "board")"));
  for (const bool there : {true, false}) {
    if (!there) unlink((dir_ / "board").c_str());
    const auto worker = Start({"forall-worker", "--controller", "127.0.0.1:1", "--check", "--local",
                               "--timing", dir_ / "board.json"});
    const std::optional<ProgramEnd> end = worker->Wait(absl::Seconds(60));
    ASSERT_TRUE(end.has_value());
    const std::string said = *ReadFile(dir_ / "forall-worker.log");
    EXPECT_EQ(end->exit_code, there ? 0 : 2) << said;
    EXPECT_THAT(said, HasSubstr(there ? "worker board-1, by " : "board.json: recipe: "));
  }
}

TEST_F(DeviceWorkerTest, AFileThatIsWrongEndsTheWorkerWithTheKey) {
  Write("board.json", R"({"transport": {"kind": "carrier pigeon"}, "recipe": "trtexec"})");
  const auto worker =
      Start({"forall-worker", "--controller", address_, "--timing", dir_ / "board.json", "--device",
             "board-1", "--device-class", "board"});
  const std::optional<ProgramEnd> end = worker->Wait(absl::Seconds(60));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 2);
  EXPECT_THAT(*ReadFile(dir_ / "forall-worker.log"), HasSubstr("none of local, ssh, adb"));
}

}  // namespace
}  // namespace forall
