// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/device_plan.h"

#include <string>
#include <vector>

#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "evaluator/worker/device_probe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StatusIs;
using testing::TempDir;

class PlanDevicesTest : public ::testing::Test {
 protected:
  std::string File(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(dir_ / name, text).ok());
    return dir_ / name;
  }
  const TempDir dir_;
  const std::string elsewhere_ =
      R"("transport": {"kind": "adb", "serial": "X"}, "recipe": "trtexec"})";
};

TEST_F(PlanDevicesTest, WithoutFilesItIsThisMachine) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto plans, PlanDevices(WorkerFlags()));
  ASSERT_EQ(plans.size(), 1u);
  EXPECT_EQ(plans[0].device, IdFromHostname());
  EXPECT_EQ(plans[0].worker_id, IdFromHostname());
  EXPECT_THAT(plans[0].kinds, IsEmpty());
  EXPECT_FALSE(plans[0].file.has_value());
}

TEST_F(PlanDevicesTest, OneFileMayLeaveTheNamesToFlags) {
  WorkerFlags flags;
  flags.timing = {File("orin.json", "{" + elsewhere_)};
  EXPECT_THAT(PlanDevices(flags), StatusIs(absl::StatusCode::kInvalidArgument,
                                           AllOf(HasSubstr("orin.json"), HasSubstr("--device"))));
  flags.device = "orin-1";
  flags.device_class = "orin";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto plans, PlanDevices(flags));
  ASSERT_EQ(plans.size(), 1u);
  EXPECT_EQ(plans[0].device, "orin-1");
  EXPECT_EQ(plans[0].worker_id, "orin-1");
  EXPECT_THAT(plans[0].kinds, ElementsAre(v1::Task::LATENCY));
}

TEST_F(PlanDevicesTest, SeveralDevicesAreSeveralWorkers) {
  WorkerFlags flags;
  flags.local = true;
  flags.id = "desk";
  flags.kinds = {v1::Task::EXPORT};
  flags.timing = {
      File("a.json", R"({"device": "pixel", "device_class": "snapdragon", )" + elsewhere_),
      File("b.json", R"({"device": "desk", "runtime": "onnxruntime", "threads": 2})"),
      File("c.json", R"({"device": "desk", "worker": "desk-cold", "runtime": "onnxruntime", )"
                     R"("cold_cache": true})")};
  FORALL_ASSERT_OK_AND_ASSIGN(const auto plans, PlanDevices(flags));
  std::vector<std::string> names;
  for (const DevicePlan& plan : plans) names.push_back(plan.worker_id + " on " + plan.device);
  EXPECT_THAT(names, ElementsAre("desk on " + IdFromHostname(), "pixel on pixel",
                                 "desk-cpu on desk", "desk-cold on desk"));
  EXPECT_THAT(plans[0].kinds, ElementsAre(v1::Task::EXPORT));
  EXPECT_TRUE(plans[3].file->runtime.cold_cache);
}

TEST_F(PlanDevicesTest, SaysWhatIsWrong) {
  WorkerFlags flags;
  const std::string cpu = R"({"device": "desk", "runtime": "onnxruntime"})";
  flags.timing = {File("a.json", cpu), File("b.json", cpu)};
  EXPECT_THAT(PlanDevices(flags), StatusIs(absl::StatusCode::kInvalidArgument,
                                           AllOf(HasSubstr("desk-cpu"), HasSubstr("worker"))));
  const std::string orin = R"({"device": "orin", "device_class": "o", )";
  flags.timing = {File("a.json", orin + elsewhere_),
                  File("b.json", orin + R"("worker": "other", )" + elsewhere_)};
  EXPECT_THAT(PlanDevices(flags),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two pieces of hardware")));
  flags.timing = {File("bad.json", R"({"device": "Bad Name", "runtime": "onnxruntime"})")};
  EXPECT_THAT(PlanDevices(flags),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad.json")));
  flags.timing = {dir_ / "none.json"};
  EXPECT_THAT(PlanDevices(flags),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("none.json")));
  flags.timing = {File("many.json", R"({"runtime": "onnxruntime", "threads": 1000})")};
  EXPECT_THAT(PlanDevices(flags),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("many.json"), HasSubstr("threads: 1000"))));
  // What lies deeper is told before anybody goes to the device, and before what flags could say.
  flags.timing = {File("deep.json", R"({"transport": {"kind": "ssh"}, "recipe": "trtexec"})")};
  EXPECT_THAT(PlanDevices(flags), StatusIs(absl::StatusCode::kInvalidArgument,
                                           AllOf(HasSubstr("deep.json"), HasSubstr("transport"))));
  flags.timing = {File("odd.json", R"({"devise": "a", )" + elsewhere_)};
  EXPECT_THAT(PlanDevices(flags), StatusIs(absl::StatusCode::kInvalidArgument,
                                           AllOf(HasSubstr("devise"), HasSubstr("device_class"))));
}

}  // namespace
}  // namespace forall
