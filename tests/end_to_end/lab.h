// SPDX-License-Identifier: Apache-2.0
// A controller with the shipped supernet, and whatever else a test starts beside it.
#ifndef FORALL_TESTS_END_TO_END_LAB_H_
#define FORALL_TESTS_END_TO_END_LAB_H_

#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"

namespace forall::testing {

inline std::string EnvironmentOr(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}
inline std::string SourceDir() { return EnvironmentOr("FORALL_SOURCE_DIR", "."); }
inline std::string Program(const std::string& name) {
  return absl::StrCat(EnvironmentOr("FORALL_BIN_DIR", "."), "/", name);
}

// What a worker is told of a board whose program prints, for a model file of n bytes, four times
// n * factor nanoseconds; `program` is where that script lies, `folder` the board's.
inline std::string CountingBoard(const std::string& folder, const std::string& program,
                                 const std::string& more = "") {
  return absl::StrCat(R"({"transport": {"kind": "local", "directory": ")", folder,
                      R"("}, "recipe": {"name": "tool", "argv": [")", program,
                      R"(", "{model}"], "samples": {"from": "standard_output", )",
                      R"("format": "one_number_per_line", "unit": "ns"}}, "runs_per_call": 4)",
                      more, "}");
}
inline std::string CountingProgram(int factor = 1) {
  return absl::StrCat("#!/bin/sh\nn=$(wc -c <$1)\nfor i in 1 2 3 4; do echo $((n*", factor,
                      ")); done\n");
}

class Lab : public ::testing::Test {
 protected:
  static constexpr absl::Duration kPatience = absl::Minutes(3);

  // The folder of datasets; skips the test, which ends SetUp, where there are none.
  static std::string Data() { return SourceDir() + "/build/deps"; }
  static bool HasData() { return std::filesystem::exists(Data() + "/fashion-mnist"); }

  // With the shipped supernet unless told otherwise, and `more` flags; address_ is where it
  // listens.
  std::unique_ptr<ChildProcess> StartController(bool supernet = true,
                                                const std::vector<std::string>& more = {}) {
    std::vector<std::string> argv = {"forall-controller", "--db",        dir_ / "forall.db",
                                     "--listen",          "127.0.0.1:0", "--port-file",
                                     dir_ / "port"};
    if (supernet) {
      argv.insert(argv.end(), {"--supernet", SourceDir() + "/supernets/fashion_mnist"});
    }
    argv.insert(argv.end(), more.begin(), more.end());
    std::unique_ptr<ChildProcess> controller = Start(argv);
    Await([&] {
      const absl::StatusOr<std::string> port = ReadFile(dir_ / "port");
      if (port.ok() && !port->empty()) {
        address_ = absl::StrCat("127.0.0.1:", absl::StripAsciiWhitespace(*port));
      }
      return !address_.empty();
    });
    EXPECT_NE(address_, "") << *ReadFile(dir_ / "forall-controller.log");
    return controller;
  }

  // What it says is in dir_ / LOG.log, where LOG is its own name unless told otherwise.
  std::unique_ptr<ChildProcess> Start(std::vector<std::string> argv, const std::string& log = "") {
    ChildProcess::Options options;
    options.log_path = dir_ / ((log.empty() ? argv[0] : log) + ".log");
    argv[0] = Program(argv[0]);
    options.argv = std::move(argv);
    options.environment = environment_;
    absl::StatusOr<std::unique_ptr<ChildProcess>> process = ChildProcess::Start(options);
    EXPECT_THAT(process, IsOk());
    return process.ok() ? *std::move(process) : nullptr;
  }

  // forall with these arguments, as a shell reads them: what it said on both streams. Its exit code
  // is in exit_code_.
  std::string Run(const std::string& arguments) {
    const std::string command = absl::StrCat(Program("forall"), " --controller ", address_, " ",
                                             arguments, " > ", dir_ / "output", " 2>&1");
    exit_code_ = WEXITSTATUS(std::system(command.c_str()));
    return *ReadFile(dir_ / "output");
  }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_THAT(WriteFileAtomically(dir_ / name, text), IsOk());
    ASSERT_EQ(chmod((dir_ / name).c_str(), 0755), 0);
  }

  // Until it is so, or patience ends.
  template <typename Condition>
  static void Await(Condition condition) {
    const absl::Time deadline = Clock::Real()->Now() + kPatience;
    while (!condition() && Clock::Real()->Now() < deadline) {
      Clock::Real()->SleepFor(absl::Milliseconds(10));
    }
  }
  void AwaitWorker(const std::string& name) {
    Await([&] { return Run("workers").find(name) != std::string::npos; });
  }

  TempDir dir_;
  std::vector<std::string> environment_;  // of what Start starts, beside the test's own
  std::string address_;
  int exit_code_ = 0;
};

}  // namespace forall::testing

#endif  // FORALL_TESTS_END_TO_END_LAB_H_
