// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/reference_network.h"

#include <cmath>
#include <vector>

#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "runtime/onnx_session.h"

namespace forall {
namespace {

TEST(ReferenceNetworkTest, IsTheSameEveryTime) {
  FORALL_ASSERT_OK_AND_ASSIGN(const ReferenceNetwork one, BuildReferenceNetwork());
  FORALL_ASSERT_OK_AND_ASSIGN(const ReferenceNetwork two, BuildReferenceNetwork());
  EXPECT_EQ(one.onnx, two.onnx);
  EXPECT_EQ(one.sha256, Sha256Hex(one.onnx));
}

TEST(ReferenceNetworkTest, RunsOnImagesOf28AndGivesOrdinaryNumbers) {
  FORALL_ASSERT_OK_AND_ASSIGN(const ReferenceNetwork reference, BuildReferenceNetwork());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto session,
                              OnnxSession::Create(reference.onnx, SessionOptions{}));
  const std::vector<float> image(28 * 28, 0.5f);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<Tensor> outputs,
                              session->Run({TensorView{{1, 1, 28, 28}, image}}));
  ASSERT_EQ(outputs.at(0).values.size(), 10u);
  for (const float logit : outputs[0].values) {
    EXPECT_TRUE(std::isnormal(logit)) << logit;
    EXPECT_LT(std::abs(logit), 1e3f);
  }
}

}  // namespace
}  // namespace forall
