// SPDX-License-Identifier: Apache-2.0
#include "latency/device/device_file.h"

#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using testing::StatusIs;
using ::testing::UnorderedElementsAre;

TEST(DeviceFileTest, RuntimeWithEverySetting) {
  FORALL_ASSERT_OK_AND_ASSIGN(const DeviceFile file, ParseDeviceFile(R"({
    "device": "orin-1", "device_class": "orin", "worker": "orin-trt",
    "runtime": "onnxruntime", "provider": "TensorRT", "precision": "fp16", "threads": 4,
    "provider_options": {"trt_max_workspace_size": 1073741824},
    "session_options": {"session.set_denormal_as_zero": "1"},
    "cpu_fallback": false, "engine_cache": "/engines", "cold_cache": true,
    "build_timeout_seconds": 900, "run_timeout_seconds": 60, "memory_mib": 2048,
    "gate": {"max_celsius": 60, "patience_seconds": 30}})"));
  EXPECT_EQ(file.device, "orin-1");
  EXPECT_EQ(file.device_class, "orin");
  EXPECT_EQ(file.worker, "orin-trt");
  EXPECT_EQ(file.command, "");
  EXPECT_EQ(file.gate.max_celsius, 60);
  EXPECT_EQ(file.gate.patience, absl::Seconds(30));
  const OnnxRuntimeBackend::Options& backend = file.runtime.backend;
  EXPECT_EQ(backend.provider, "TensorRT");
  EXPECT_EQ(backend.precision, "fp16");
  EXPECT_EQ(backend.threads, 4);
  EXPECT_THAT(backend.provider_options,
              UnorderedElementsAre(Pair("trt_max_workspace_size", "1073741824")));
  EXPECT_THAT(backend.session_config,
              UnorderedElementsAre(Pair("session.set_denormal_as_zero", "1")));
  EXPECT_FALSE(backend.allow_cpu_fallback);
  EXPECT_EQ(backend.engine_cache, "/engines");
  EXPECT_TRUE(file.runtime.cold_cache);
  EXPECT_EQ(file.runtime.build_limit, absl::Minutes(15));
  EXPECT_EQ(file.runtime.run_limit, absl::Minutes(1));
  EXPECT_EQ(file.runtime.memory_bytes, int64_t{2048} << 20);
}

TEST(DeviceFileTest, EnginesTakeMinutesToBuild) {
  FORALL_ASSERT_OK_AND_ASSIGN(const DeviceFile plain,
                              ParseDeviceFile(R"({"runtime": "onnxruntime"})"));
  EXPECT_EQ(plain.runtime.build_limit, absl::Minutes(1));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const DeviceFile engines,
      ParseDeviceFile(
          R"({"runtime": "onnxruntime", "provider": "TensorRT", "engine_cache": "/engines"})"));
  EXPECT_EQ(engines.runtime.build_limit, absl::Minutes(20));
}

TEST(DeviceFileTest, AnythingElseIsADeviceElsewhere) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const DeviceFile file,
      ParseDeviceFile(
          R"({"device": "a", "transport": {"kind": "adb"}, "recipe": "trtexec", "threads": 2})"));
  EXPECT_EQ(file.device, "a");
  EXPECT_EQ(file.command, R"({"transport":{"kind":"adb"},"recipe":"trtexec","threads":2})");
}

TEST(DeviceFileTest, ErrorsNameTheKey) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[]", "JSON object"},
      {"{", "JSON object"},
      {R"({"runtime": "tflite"})", "runtime"},
      {R"({"runtime": "onnxruntime", "provider": "TensorRt"})", "CUDA, TensorRT"},
      {R"({"runtime": "onnxruntime", "precision": "fp16"})", "recipe"},
      {R"({"runtime": "onnxruntime", "threads": 0})", "threads"},
      {R"({"runtime": "onnxruntime", "thread": 1})", "thread: unknown"},
      {R"({"runtime": "onnxruntime", "cold_cache": 1})", "cold_cache"},
      {R"({"runtime": "onnxruntime", "engine_cache": "/x"})", "engine_cache"},
      {R"({"runtime": "onnxruntime", "provider_options": {"a": "b"}})", "provider_options"},
      {R"({"runtime": "onnxruntime", "session_options": {"a": []}})", "session_options.a"},
      {R"({"runtime": "onnxruntime", "session_options": []})", "session_options"},
      {R"({"runtime": "onnxruntime", "recipe": "trtexec"})", "recipe: unknown"},
      {R"({"runtime": "onnxruntime", "gate": 60})", "gate"},
      {R"({"runtime": "onnxruntime", "gate": {"celsius": 60}})", "gate.celsius: unknown"},
      {R"({"device": 3, "recipe": "trtexec"})", "device"},
  };
  for (const auto& [text, words] : cases) {
    EXPECT_THAT(ParseDeviceFile(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << text;
  }
}

}  // namespace
}  // namespace forall
