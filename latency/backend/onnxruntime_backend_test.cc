// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/onnxruntime_backend.h"

#include <memory>
#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/measure/harness.h"
#include "runtime/testing/tiny_model.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::forall::testing::TinyModel;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(OnnxRuntimeBackendTest, PreparesAndRunsInBothKindsOfMemory) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto backend, OnnxRuntimeBackend::Create({.batch = 3}));
  for (const SessionMemory memory : {SessionMemory::kReused, SessionMemory::kFresh}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto model,
                                backend->Prepare(TinyModel{.width = 8}.Serialize(), memory));
    FORALL_EXPECT_OK(model->Run());
    FORALL_EXPECT_OK(model->Run());
  }
}

TEST(OnnxRuntimeBackendTest, DescribesItself) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto backend,
                              OnnxRuntimeBackend::Create({.threads = 2, .batch = 4}));
  const BackendDescription description = backend->Describe();
  EXPECT_EQ(description.runtime, "onnxruntime");
  EXPECT_THAT(description.runtime_version, ::testing::StartsWith("1."));
  EXPECT_EQ(description.provider, "cpu");
  EXPECT_EQ(description.threads, 2);
  EXPECT_EQ(description.batch, 4);
}

TEST(OnnxRuntimeBackendTest, RefusesWhatItCannotRun) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto backend, OnnxRuntimeBackend::Create({}));
  EXPECT_THAT(backend->Prepare("no model", SessionMemory::kReused),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(OnnxRuntimeBackend::Create({.threads = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("threads")));
  EXPECT_THAT(OnnxRuntimeBackend::Create({.provider = "NoSuchProvider"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NoSuchProvider")));
  EXPECT_THAT(OnnxRuntimeBackend::Create({.precision = "fp16"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("recipe")));
  EXPECT_THAT(OnnxRuntimeBackend::Create({.engine_cache = "/tmp"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("engine_cache")));
  // Known, but Apple's.
  FORALL_ASSERT_OK_AND_ASSIGN(const auto elsewhere,
                              OnnxRuntimeBackend::Create({.provider = "CoreML"}));
  EXPECT_THAT(elsewhere->Prepare(TinyModel{}.Serialize(), SessionMemory::kReused),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("CoreML")));
}

TEST(OnnxRuntimeBackendTest, SettingsMakeAnotherProfile) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto backend,
      OnnxRuntimeBackend::Create({.session_config = {{"session.set_denormal_as_zero", "1"}}}));
  EXPECT_EQ(backend->Describe().settings.at("session.set_denormal_as_zero"), "1");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto model,
                              backend->Prepare(TinyModel{}.Serialize(), SessionMemory::kFresh));
  FORALL_EXPECT_OK(model->Run());
}

// The real thing once through, on a machine that may be as busy as it likes.
TEST(OnnxRuntimeBackendTest, IsMeasuredByTheHarness) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto backend, OnnxRuntimeBackend::Create({}));
  const EnvironmentProbe probe;
  LocalSessions sessions({.backend = backend.get(),
                          .reference_model = TinyModel{.width = 96, .layers = 4}.Serialize()});
  LatencyHarness::Options options;
  options.sessions = &sessions;
  options.probe = &probe;
  options.attempts = 1;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto harness, LatencyHarness::Create(options));
  const std::string model = TinyModel{.width = 96, .layers = 16}.Serialize();
  for (const char* name : {"screening", "final"}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const Profile profile, ProfileNamed(name));
    FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result, harness->Measure(model, profile));
    EXPECT_GT(result.ratio_low, 0);
    EXPECT_LE(result.ratio_low, result.ratio);
    EXPECT_LE(result.ratio, result.ratio_high);
    EXPECT_GT(result.median_ns, 0);
    EXPECT_EQ(static_cast<int>(result.sessions.size()), profile.sessions);
    EXPECT_EQ(result.CandidateSamples().size(), result.ReferenceSamples().size());
    EXPECT_THAT(result.environment, Contains(Pair("architecture", ::testing::Not(""))));
  }
}

}  // namespace
}  // namespace forall
