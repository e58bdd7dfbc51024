// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/half_model.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "onnx/onnx_pb.h"
#include "runtime/onnx_session.h"
#include "supernet/half.h"
#include "supernet/onnx/exporter.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::Describe;
using ::forall::testing::DescribedSubnet;
using ::forall::testing::RandomSupernet;
using ::forall::testing::StatusIs;
using ::forall::testing::TinyFamilies;
using ::testing::HasSubstr;

absl::StatusOr<std::string> Build(const DescribedSubnet& subject) {
  OnnxExportOptions options;
  options.metadata = {{kMetadataRecipe, "fp32"}, {"note", "kept"}};
  return BuildOnnxModel(subject.network, subject.weights, options);
}

std::vector<float> Logits(const std::string& model, const Tensor& images) {
  const auto session = OnnxSession::Create(model, SessionOptions());
  FORALL_EXPECT_OK(session.status());
  if (!session.ok()) return {};
  const TensorView view{images.shape, images.values};
  const auto outputs = (*session)->Run({&view, 1});
  FORALL_EXPECT_OK(outputs.status());
  return outputs.ok() ? (*outputs)[0].values : std::vector<float>();
}

Tensor RandomImages(const Network& network, int64_t count) {
  Tensor images;
  images.shape = {count, network.input.channels, network.input.height, network.input.width};
  Random random(5);
  for (int64_t i = 0; i < count * network.input.elements(); ++i) {
    images.values.push_back(static_cast<float>(random.Gaussian()));
  }
  return images;
}

TEST(HalfModelTest, AgreesWithTheFloatModelToHalfPrecision) {
  for (const auto& family : TinyFamilies()) {
    const auto supernet = RandomSupernet(*family);
    const SearchSpace& space = family->search_space();
    Random random(3);
    for (int trial = 0; trial < 5; ++trial) {
      const Architecture architecture = trial == 0 ? space.Largest() : space.Sample(&random);
      SCOPED_TRACE(space.ToJson(architecture));
      const DescribedSubnet subject = Describe(*supernet, architecture);
      FORALL_ASSERT_OK_AND_ASSIGN(const std::string model, Build(subject));
      FORALL_ASSERT_OK_AND_ASSIGN(const std::string half, ToHalfModel(model));
      FORALL_ASSERT_OK(CheckOnnxModel(half));
      const Tensor images = RandomImages(subject.network, 3);
      const std::vector<float> expected = Logits(model, images);
      const std::vector<float> actual = Logits(half, images);
      ASSERT_EQ(actual.size(), expected.size());
      float scale = 1;
      for (const float logit : expected) scale = std::max(scale, std::abs(logit));
      bool differs = false;
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(actual[i], expected[i], 0.02f * scale);
        differs = differs || actual[i] != expected[i];
      }
      EXPECT_TRUE(differs) << "a model whose weights were rounded gives the same logits";
    }
  }
}

TEST(HalfModelTest, EveryWeightIsTheRoundedOneAndTheEndsStayFloat) {
  const auto supernet = testing::TinySupernet();
  const DescribedSubnet subject = Describe(*supernet, supernet->family().search_space().Largest());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string bytes, Build(subject));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string half_bytes, ToHalfModel(bytes));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string again, ToHalfModel(bytes));
  EXPECT_EQ(half_bytes, again);
  onnx::ModelProto model;
  onnx::ModelProto half;
  ASSERT_TRUE(model.ParseFromString(bytes) && half.ParseFromString(half_bytes));
  ASSERT_EQ(half.graph().initializer_size(), model.graph().initializer_size());
  for (int t = 0; t < half.graph().initializer_size(); ++t) {
    const onnx::TensorProto& from = model.graph().initializer(t);
    const onnx::TensorProto& to = half.graph().initializer(t);
    EXPECT_EQ(to.name(), from.name());
    EXPECT_EQ(to.data_type(), onnx::TensorProto::FLOAT16);
    ASSERT_EQ(to.raw_data().size() * 2, from.raw_data().size());
    for (size_t i = 0; i < from.raw_data().size() / 4; ++i) {
      float value;
      uint16_t bits;
      std::memcpy(&value, from.raw_data().data() + 4 * i, 4);
      std::memcpy(&bits, to.raw_data().data() + 2 * i, 2);
      ASSERT_EQ(bits, FloatToHalf(value)) << from.name() << " " << i;
    }
  }
  EXPECT_EQ(half.graph().node(0).op_type(), "Cast");
  EXPECT_EQ(half.graph().input(0).SerializeAsString(), model.graph().input(0).SerializeAsString());
  EXPECT_EQ(half.graph().output(0).SerializeAsString(),
            model.graph().output(0).SerializeAsString());
  EXPECT_EQ(half.metadata_props(0).value(), "fp16");
  EXPECT_EQ(half.metadata_props(1).value(), "kept");
}

TEST(HalfModelTest, NamesWhatHalfCannotHold) {
  const auto supernet = testing::TinySupernet();
  DescribedSubnet subject = Describe(*supernet, supernet->family().search_space().Smallest());
  subject.weights.layers.back()[0][3] = 70000.0f;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string large, Build(subject));
  EXPECT_THAT(ToHalfModel(large),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("classifier.linear.weight[3]: 70000 is beyond 65504")));
  subject.weights.layers.back()[0][3] = 1.0f;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string model, Build(subject));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string half, ToHalfModel(model));
  EXPECT_THAT(ToHalfModel(half),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("only float32")));
  EXPECT_THAT(ToHalfModel("no model"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace forall
