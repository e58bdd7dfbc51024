// SPDX-License-Identifier: Apache-2.0
// The whole of `forall quickstart` in small: real controller, worker, supernet, images and clock.
// What it leaves behind must be true: model.onnx, run by ONNX Runtime on the test split, has the
// accuracy that frontier.json and the report state.
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "data/dataset.h"
#include "evaluator/accuracy/accuracy_evaluator.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "runtime/onnx_session.h"

namespace forall {
namespace {

using Json = nlohmann::json;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "." : value;
}

TEST(QuickstartTest, ExportedModelHasTheAccuracyThatTheReportStates) {
  const std::string data = Environment("FORALL_SOURCE_DIR") + "/build/deps";
  if (!std::filesystem::exists(data + "/fashion-mnist")) {
    GTEST_SKIP() << "NO TEST RAN: no images in " << data << "; tools/setup.sh fetches them";
  }
  testing::TempDir dir;
  const std::string output = dir / "out";
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto quickstart,
      ChildProcess::Start({Environment("FORALL_BIN_DIR") + "/forall", "quickstart", "--output",
                           output, "--trials", "4", "--screening-images", "200"},
                          dir / "log"));
  while (quickstart->IsRunning()) Clock::Real()->SleepFor(absl::Milliseconds(100));
  const std::string log = *ReadFile(dir / "log");

  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(output + "/frontier.json"));
  const Json json = Json::parse(text);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string model, ReadFile(output + "/model.onnx"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string report, ReadFile(output + "/report.html"));
  EXPECT_GT(json["measured_subnets"].get<int>(), 0) << log;

  const Json* knee = nullptr;
  for (const Json& member : json["members"]) {
    if (member["knee"].get<bool>()) knee = &member;
    EXPECT_THAT(report, ::testing::HasSubstr(member["keys"]["artifact_sha256"].get<std::string>()));
  }
  ASSERT_NE(knee, nullptr) << log;
  EXPECT_EQ((*knee)["keys"]["artifact_sha256"].get<std::string>(), Sha256Hex(model));

  // Every split in one go: the file, the images and this machine decide the figure.
  FORALL_ASSERT_OK_AND_ASSIGN(const auto session, OnnxSession::Create(model, SessionOptions{}));
  const int resolution = static_cast<int>(session->input_shape(0)[2]);
  for (const auto& [split, name] : {std::pair{Split::kTest, "accuracy_top1@test"},
                                    std::pair{Split::kValidation, "accuracy_top1"}}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto dataset, OpenDataset("fashion_mnist", split, data));
    FORALL_ASSERT_OK_AND_ASSIGN(
        const Accuracy accuracy,
        EvaluateAccuracy(model, *dataset, ScreeningSubset(*dataset, dataset->size()), resolution,
                         {}));
    const Json& stated = (*knee)["measurements"][name];
    EXPECT_EQ(stated["samples"].get<int64_t>(), dataset->size()) << name;
    EXPECT_NEAR(
        stated["value"].get<double>(),
        100.0 * static_cast<double>(accuracy.top1_correct) / static_cast<double>(accuracy.images),
        1e-9)
        << name;
  }
  for (const auto& [name, measurement] : (*knee)["measurements"].items()) {
    if (name.find("latency_ms") != 0) continue;
    EXPECT_EQ(measurement["fidelity"], "final");
    EXPECT_NE(measurement["verdict"], "REJECTED");
    EXPECT_LE(measurement["interval"]["low"].get<double>(), measurement["value"].get<double>());
    EXPECT_GE(measurement["interval"]["high"].get<double>(), measurement["value"].get<double>());
  }
}

}  // namespace
}  // namespace forall
