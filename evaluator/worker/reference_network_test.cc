// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/reference_network.h"

#include <cmath>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "runtime/onnx_session.h"
#include "space/network_blocks.h"
#include "supernet/onnx/exporter.h"

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

// What lookup tables are measured with: every part of a network runs alone.
TEST(FormulaModelTest, EveryPartOfANetworkIsAModel) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("fashion_mnist"));
  FORALL_ASSERT_OK_AND_ASSIGN(const Network network,
                              family->Describe(family->search_space().Largest()));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LayerRange> parts, PartsOf(network));
  for (const LayerRange& range : parts) {
    FORALL_ASSERT_OK_AND_ASSIGN(const Network part, CutNetwork(network, range));
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string model, BuildFormulaModel(part));
    FORALL_EXPECT_OK(CheckOnnxModel(model));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto session, OnnxSession::Create(model, SessionOptions{}));
    const FeatureShape& in = part.input;
    const FeatureShape& out = part.layers.back().out;
    const std::vector<float> values(static_cast<size_t>(in.elements()), 0.5f);
    FORALL_ASSERT_OK_AND_ASSIGN(
        const std::vector<Tensor> outputs,
        session->Run({TensorView{{1, in.channels, in.height, in.width}, values}}));
    EXPECT_EQ(outputs.at(0).values.size(), static_cast<size_t>(out.elements()))
        << part.layers[0].name;
    // Denormal numbers would be slow ones.
    for (const float value : outputs[0].values) {
      EXPECT_TRUE(value == 0 || std::isnormal(value)) << part.layers[0].name;
    }
  }
}

}  // namespace
}  // namespace forall
