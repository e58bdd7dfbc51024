// SPDX-License-Identifier: Apache-2.0
// `forall table build` with a real controller and a real worker. The device is a script that takes
// as many nanoseconds as the model's file has bytes: every part has an overhead of its own, a
// file's, that a network has once, and no load of this machine changes a number.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/child_process.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "cli/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/table/latency_table.h"
#include "nlohmann/json.hpp"
#include "space/family.h"
#include "tests/end_to_end/lab.h"

namespace forall {
namespace {

using testing::CountingBoard;
using testing::CountingProgram;
using ::testing::HasSubstr;

class TableBuildTest : public testing::Lab {
 protected:
  void SetUp() override {
    // Two stages of one or two blocks: 22 rows at either resolution.
    nlohmann::json spec = nlohmann::json::parse(FindFamily("fashion_mnist").value()->Spec());
    spec["name"] = "tiny";
    spec["resolutions"] = {20, 24};
    spec["kernels"] = {3, 5};
    spec["expansions"] = {3, 4};
    spec["depths"] = {1, 2};
    spec["stages"] = {spec["stages"][0], spec["stages"][3]};
    Write("tiny.json", spec.dump());
    Write("tool", CountingProgram());
    Write("board.json", CountingBoard(dir_.path(), dir_ / "tool"));
    // Other tests' timing is none of this one's.
    environment_ = {absl::StrCat("FORALL_TIMING_LOCK=", dir_ / "lock")};
    controller_ = StartController(/*supernet=*/false);
    ASSERT_NE(address_, "");
    client_ = std::make_unique<Client>(ControllerEndpoint{.address = address_});
    StartWorker();
  }

  void StartWorker() {
    worker_ = Start({"forall-worker", "--controller", address_, "--timing", dir_ / "board.json",
                     "--device", "board-1", "--device-class", "board", "--cache", dir_ / "cache"});
    Await([this] { return Status("workers_active") >= 1; });
  }

  int64_t Status(const std::string& name) {
    const auto status = client_->Call(client_->fleet(), &v1::FleetService::Stub::GetServerStatus,
                                      v1::GetServerStatusRequest());
    int64_t value = 0;
    if (status.ok()) EXPECT_TRUE(absl::SimpleAtoi(status->values().at(name), &value));
    return value;
  }
  std::vector<std::string> BuildCommand(const std::string& bound) {
    return {"forall",
            "--controller",
            address_,
            "table",
            "build",
            "--device",
            "board-1",
            "--space",
            dir_ / "tiny.json",
            "-o",
            dir_ / "t.json",
            "--yaml",
            dir_.path(),
            "--profile",
            "screening",
            "--fit-subnets",
            "12",
            "--validate-subnets",
            "10",
            "--bound",
            bound};
  }
  // Its exit code; what it said is in output_.
  int Run(std::vector<std::string> argv) {
    argv[0] = testing::Program(argv[0]);
    ProgramOptions options;
    options.argv = std::move(argv);
    options.timeout = kPatience;
    const absl::StatusOr<ProgramOutput> output = RunProgram(options);
    EXPECT_THAT(output, testing::IsOk());
    if (!output.ok()) return -1;
    output_ = absl::StrCat(output->standard_output, output->standard_error);
    return output->end.exit_code;
  }

  std::unique_ptr<ChildProcess> controller_;
  std::unique_ptr<ChildProcess> worker_;
  std::unique_ptr<Client> client_;
  std::string output_;
};

TEST_F(TableBuildTest, MeasuresCorrectsValidatesAndGoesOnAfterAKill) {
  {
    // Both are killed in the middle.
    const std::unique_ptr<ChildProcess> command = Start(BuildCommand("1%"));
    Await([&] { return Status("measurements") >= 8 || !command->IsRunning(); });
    command->Stop(absl::ZeroDuration());
    worker_->Stop(absl::ZeroDuration());
  }
  const int64_t before = Status("measurements");
  EXPECT_GE(before, 8) << *ReadFile(dir_ / "forall.log");
  StartWorker();
  ASSERT_EQ(Run(BuildCommand("1%")), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("44 rows of tiny, 12 networks to correct and 10 to validate"));
  EXPECT_THAT(output_, HasSubstr("corrected"));
  // Each row and each network once, whatever was killed; two rows of the head are the same at both
  // resolutions.
  constexpr int64_t kDifferent = 42 + 12 + 10;
  EXPECT_EQ(Status("measurements"), kDifferent);
  // Nothing is left to be measured.
  ASSERT_EQ(Run(BuildCommand("1%")), 0) << output_;
  EXPECT_EQ(Status("measurements"), kDifferent);

  FORALL_ASSERT_OK_AND_ASSIGN(const std::string json, ReadFile(dir_ / "t.json"));
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyTable table, ParseLatencyTable(json));
  EXPECT_EQ(table.conditions.device, "board-1");
  EXPECT_EQ(table.provenance.at("space"), "tiny");
  EXPECT_EQ(table.provenance.at("measured_device"), "devices/board-1");
  EXPECT_EQ(table.rows(), 44u);
  ASSERT_TRUE(table.validation.has_value());
  EXPECT_TRUE(table.validation->good);
  // A file has a head of its own, and a row so much too much.
  EXPECT_GT(table.validation->additive.bias, 0.0001);
  EXPECT_LT(table.validation->corrected->mean_relative_error,
            0.5 * table.validation->additive.mean_relative_error);
  for (const char* resolution : {"20", "24"}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string yaml,
                                ReadFile(dir_ / absl::StrCat(resolution, "_lookup_table.yaml")));
    EXPECT_THAT(ParsePublishedTable(yaml, 1), testing::IsOk());
    EXPECT_THAT(yaml, HasSubstr("# measured_device: devices/board-1"));
  }

  ASSERT_EQ(Run({"forall", "--controller", address_, "table", "validate", dir_ / "t.json",
                 "--space", dir_ / "tiny.json", "--subnets", "10", "--profile", "screening",
                 "--csv", dir_ / "v.csv"}),
            0)
      << output_;
  EXPECT_EQ(Status("measurements"), kDifferent + 10) << "fresh networks";
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string csv, ReadFile(dir_ / "v.csv"));
  EXPECT_EQ((std::vector<std::string>(absl::StrSplit(csv, '\n'))).size(), 12u);
}

TEST_F(TableBuildTest, WhatCannotBeWrittenInTheEndIsNotMeasuredAgain) {
  // A disk that is full: this process' files end before a table does.
  std::vector<std::string> command = BuildCommand("50%");
  command[0] = testing::Program("forall");
  command.insert(command.begin(),
                 {"/bin/sh", "-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"});
  ProgramOptions options;
  options.argv = command;
  options.timeout = kPatience;
  FORALL_ASSERT_OK_AND_ASSIGN(const ProgramOutput output, RunProgram(options));
  EXPECT_EQ(output.end.exit_code, 1) << output.standard_error;
  EXPECT_THAT(output.standard_error, HasSubstr("the controller keeps what was measured"));
  const int64_t measured = Status("measurements");
  EXPECT_GT(measured, 0);
  ASSERT_EQ(Run(BuildCommand("50%")), 0) << output_;
  EXPECT_EQ(Status("measurements"), measured);
}

TEST_F(TableBuildTest, ATableThatMissesTheBoundIsNotCalledGood) {
  // Without a correction that would take the bias away.
  std::vector<std::string> command = BuildCommand("0.0001%");
  command[16] = "0";
  ASSERT_EQ(Run(command), 1) << output_;
  EXPECT_THAT(output_, HasSubstr("the table is not good"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string json, ReadFile(dir_ / "t.json"));
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyTable table, ParseLatencyTable(json));
  EXPECT_FALSE(table.validation->good);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string yaml, ReadFile(dir_ / "20_lookup_table.yaml"));
  EXPECT_THAT(yaml, HasSubstr("# validation: NOT GOOD"));
}

TEST_F(TableBuildTest, SaysWhatIsWrongBeforeItMeasures) {
  std::vector<std::string> command = BuildCommand("10%");
  command[6] = "nobody";
  EXPECT_EQ(Run(command), 4) << output_;
  EXPECT_THAT(output_, HasSubstr("there are devices/board-1"));
  command = BuildCommand("ten");
  EXPECT_EQ(Run(command), 2) << output_;
  command = BuildCommand("10%");
  command[8] = "ofa_resnet50";
  EXPECT_EQ(Run(command), 5) << output_;
  EXPECT_THAT(output_, HasSubstr("inverted residual"));
  command = BuildCommand("10%");
  command[10] = "/no/such/folder/t.json";
  EXPECT_EQ(Run(command), 2) << output_;
  command[10] = dir_.path();
  EXPECT_EQ(Run(command), 2) << output_;
  EXPECT_THAT(output_, HasSubstr("is no regular file"));
  EXPECT_EQ(Status("measurements"), 0);
}

}  // namespace
}  // namespace forall
