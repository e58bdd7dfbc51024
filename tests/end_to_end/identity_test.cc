// SPDX-License-Identifier: Apache-2.0
// Two forall-worker processes that want to be one worker.
#include <signal.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/lab.h"

namespace forall {
namespace {

using ::testing::AllOf;
using testing::CountingBoard;
using testing::CountingProgram;
using ::testing::HasSubstr;
using ::testing::Not;

class IdentityTest : public testing::Lab {
 protected:
  void SetUp() override {
    controller_ = StartController(/*supernet=*/false, {"--heartbeat", "500ms"});
    ASSERT_NE(address_, "");
    Write("board", CountingProgram());
    Write("board.json", CountingBoard(dir_.path(), dir_ / "board",
                                      R"(, "device": "board", "device_class": "board")"));
  }

  // What it says is in its own log; its cache folder is CACHE.
  std::unique_ptr<ChildProcess> StartWorker(const std::string& log, const std::string& cache) {
    return Start({"forall-worker", "--controller", address_, "--timing", dir_ / "board.json",
                  "--cache", dir_ / cache},
                 log);
  }
  std::string Log(const std::string& log) { return ReadFile(dir_ / (log + ".log")).value_or(""); }
  // How often the log says it.
  int Count(const std::string& log, const std::string& what) {
    const std::string text = Log(log);
    int count = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
      ++count;
    }
    return count;
  }
  void AwaitLog(const std::string& log, const std::string& what, int times = 1) {
    Await([&] { return Count(log, what) >= times; });
    ASSERT_GE(Count(log, what), times) << what << " in:\n" << Log(log);
  }

  std::unique_ptr<ChildProcess> controller_;
};

TEST_F(IdentityTest, SecondProcessWaitsUntilTheFirstHasGone) {
  const auto first = StartWorker("first", "cache-1");
  AwaitLog("first", "registered worker=workers/board");
  const auto second = StartWorker("second", "cache-2");
  AwaitLog("second", "refuses this worker");
  EXPECT_THAT(Log("second"), AllOf(HasSubstr("workers/board is another process"),
                                   HasSubstr("from ipv4:127.0.0.1:"), HasSubstr("--id"),
                                   Not(HasSubstr("registered worker="))));

  // It is stopped, not dead: what it says when it goes on is not the worker's word any more.
  ASSERT_EQ(kill(first->pid(), SIGSTOP), 0);
  AwaitLog("second", "registered worker=workers/board");
  ASSERT_EQ(kill(first->pid(), SIGCONT), 0);
  AwaitLog("first", "is not the worker any more");
  AwaitLog("first", "refuses this worker");
  EXPECT_THAT(Run("workers"), HasSubstr("workers/board"));
  EXPECT_EQ(Count("first", "registered worker="), 1);

  // It stood by, and has its place back once the other has gone.
  ASSERT_EQ(kill(second->pid(), SIGKILL), 0);
  AwaitLog("first", "registered worker=", 2);
  // Each refusal was told once, however often it was met.
  EXPECT_EQ(Count("second", "refuses this worker"), 1);
  EXPECT_EQ(Count("first", "refuses this worker"), 1);
}

TEST_F(IdentityTest, RestartOfOneInstallationIsBackAtOnceAndASecondOneBesideItIsToldSo) {
  const auto first = StartWorker("first", "cache");
  AwaitLog("first", "registered worker=workers/board");
  const auto second = StartWorker("second", "cache");
  const std::optional<ProgramEnd> end = second->Wait(absl::Minutes(1));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 1);
  EXPECT_THAT(Log("second"), AllOf(HasSubstr("worker board runs here already"),
                                   HasSubstr(absl::StrCat("as process ", first->pid()))));

  ASSERT_EQ(kill(first->pid(), SIGKILL), 0);
  ASSERT_TRUE(first->Wait(absl::Minutes(1)).has_value());
  const auto third = StartWorker("third", "cache");
  AwaitLog("third", "registered worker=workers/board");
  EXPECT_EQ(Count("third", "refuses this worker"), 0);
}

TEST_F(IdentityTest, WorkerThatWasDrainedMakesRoomForAnotherInstallation) {
  const auto first = StartWorker("first", "cache-1");
  AwaitLog("first", "registered worker=workers/board");
  ASSERT_EQ(kill(first->pid(), SIGTERM), 0);
  ASSERT_TRUE(first->Wait(absl::Minutes(1)).has_value());
  const auto second = StartWorker("second", "cache-2");
  AwaitLog("second", "registered worker=workers/board");
  EXPECT_EQ(Count("second", "refuses this worker"), 0);
}

}  // namespace
}  // namespace forall
