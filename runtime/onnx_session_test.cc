// SPDX-License-Identifier: Apache-2.0
#include "runtime/onnx_session.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/testing/tiny_model.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::forall::testing::TinyModel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(OnnxRuntimeTest, LoadsWithTelemetryOff) {
  FORALL_ASSERT_OK_AND_ASSIGN(OnnxRuntime * runtime, OnnxRuntime::Get());
  EXPECT_THAT(runtime->version(), ::testing::MatchesRegex("1\\.[0-9]+\\.[0-9]+.*"));
  EXPECT_THAT(runtime->ListedProviders(), ::testing::Contains("CPUExecutionProvider"));
  EXPECT_STREQ(std::getenv("ORT_DISABLE_TELEMETRY"), "1");
  FORALL_ASSERT_OK_AND_ASSIGN(OnnxRuntime * again, OnnxRuntime::Get());
  EXPECT_EQ(runtime, again);
}

TEST(OnnxSessionTest, DescribesTheModel) {
  FORALL_ASSERT_OK_AND_ASSIGN(auto session,
                              OnnxSession::Create(TinyModel{.width = 3}.Serialize(), {}));
  EXPECT_THAT(session->input_names(), ElementsAre("input"));
  EXPECT_THAT(session->output_names(), ElementsAre("output"));
  EXPECT_THAT(session->input_shape(0), ElementsAre(-1, 3));
  EXPECT_EQ(session->Metadata("forall.key"), "value");
  EXPECT_EQ(session->Metadata("no such key"), "");
}

TEST(OnnxSessionTest, RunComputes) {
  const TinyModel model{.width = 2, .weights = {1, 2, 3, -4}};
  FORALL_ASSERT_OK_AND_ASSIGN(auto session, OnnxSession::Create(model.Serialize(), {}));
  const std::vector<float> input = {1, 1, 0, 2};
  FORALL_ASSERT_OK_AND_ASSIGN(auto outputs, session->Run({TensorView{{2, 2}, input}}));
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_THAT(outputs[0].shape, ElementsAre(2, 2));
  EXPECT_THAT(outputs[0].values, ElementsAre(4, 0, 6, 0));
}

TEST(OnnxSessionTest, RunIntoFollowsBuffersAndBatches) {
  const TinyModel model{.layers = 2};
  FORALL_ASSERT_OK_AND_ASSIGN(auto session, OnnxSession::Create(model.Serialize(), {}));
  std::vector<float> input = {1, 2};
  std::vector<float> output(2);
  FORALL_ASSERT_OK(session->RunInto({{1, 2}, input}, {1, 2}, absl::MakeSpan(output)));
  EXPECT_THAT(output, ElementsAre(4, 8));
  input = {3, -1};  // The same buffer with new values.
  FORALL_ASSERT_OK(session->RunInto({{1, 2}, input}, {1, 2}, absl::MakeSpan(output)));
  EXPECT_THAT(output, ElementsAre(12, 0));
  const std::vector<float> larger_input = {1, 2, 3, 4};
  std::vector<float> larger_output(4);
  FORALL_ASSERT_OK(session->RunInto({{2, 2}, larger_input}, {2, 2}, absl::MakeSpan(larger_output)));
  EXPECT_THAT(larger_output, ElementsAre(4, 8, 12, 16));
}

TEST(OnnxSessionTest, RunIntoRefusesShapesThatDoNotFit) {
  FORALL_ASSERT_OK_AND_ASSIGN(auto session, OnnxSession::Create(TinyModel{}.Serialize(), {}));
  const std::vector<float> input = {1, 2};
  std::vector<float> output(4);
  EXPECT_THAT(session->RunInto({{1, 2}, input}, {1, 2}, absl::MakeSpan(output)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("output")));
  EXPECT_THAT(session->RunInto({{1, 3}, input}, {2, 2}, absl::MakeSpan(output)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("input")));
  EXPECT_THAT(session->RunInto({{-1, 2}, input}, {2, 2}, absl::MakeSpan(output)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not possible")));
  // Consistent with its buffer, but not what the model computes.
  EXPECT_THAT(session->RunInto({{1, 2}, input}, {2, 2}, absl::MakeSpan(output)), Not(IsOk()));
  // And the session still works.
  EXPECT_THAT(session->RunInto({{1, 2}, input}, {1, 2}, absl::MakeSpan(output).first(2)), IsOk());
}

TEST(OnnxSessionTest, RunRefusesWrongInputs) {
  FORALL_ASSERT_OK_AND_ASSIGN(auto session, OnnxSession::Create(TinyModel{}.Serialize(), {}));
  EXPECT_THAT(session->Run({}), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<float> input = {1, 2, 3};
  EXPECT_THAT(session->Run({TensorView{{1, 2}, input}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(session->Run({TensorView{{1, 3}, input}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(OnnxSessionTest, RefusesBadModels) {
  const std::string model = TinyModel{}.Serialize();
  EXPECT_THAT(OnnxSession::Create("", {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(OnnxSession::Create("not a model", {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(OnnxSession::Create(model.substr(0, model.size() / 2), {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(OnnxSession::Create(TinyModel{.activation = "NoSuchOperator"}.Serialize(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NoSuchOperator")));
  EXPECT_THAT(OnnxSession::Create(TinyModel{.element_type = 11}.Serialize(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(OnnxSessionTest, RefusesBadOptions) {
  const std::string model = TinyModel{}.Serialize();
  EXPECT_THAT(OnnxSession::Create(model, {.intra_op_threads = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("intra_op_threads")));
  EXPECT_THAT(OnnxSession::Create(model, {.provider = "NoSuchProvider"}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("NoSuchProvider")));
}

TEST(OnnxSessionTest, RunIntoFromSeveralThreads) {
  FORALL_ASSERT_OK_AND_ASSIGN(auto session, OnnxSession::Create(TinyModel{}.Serialize(), {}));
  constexpr int kThreads = 4;
  std::vector<int> wrong(kThreads, 0);
  {
    std::vector<Thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back("run", [&session, &wrong, t] {
        std::vector<float> input(2);
        std::vector<float> output(2);
        for (int i = 0; i < 50; ++i) {
          input = {static_cast<float>(t), static_cast<float>(i)};
          const bool ok = session->RunInto({{1, 2}, input}, {1, 2}, absl::MakeSpan(output)).ok() &&
                          output[0] == 2 * input[0] && output[1] == 2 * input[1];
          if (!ok) ++wrong[static_cast<size_t>(t)];
        }
      });
    }
  }
  EXPECT_THAT(wrong, ::testing::Each(0));
}

}  // namespace
}  // namespace forall
