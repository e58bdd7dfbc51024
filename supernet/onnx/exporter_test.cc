// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/exporter.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "onnx/onnx_pb.h"
#include "runtime/onnx_session.h"
#include "supernet/testing/reference_network.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::Describe;
using ::forall::testing::DescribedSubnet;
using ::forall::testing::RandomSupernet;
using ::forall::testing::RunReference;
using ::forall::testing::StatusIs;
using ::forall::testing::TinySupernet;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tensor RandomImages(const Network& network, int64_t count, uint64_t seed) {
  Tensor images;
  images.shape = {count, network.input.channels, network.input.height, network.input.width};
  Random random(seed);
  for (int64_t i = 0; i < count * network.input.elements(); ++i) {
    images.values.push_back(static_cast<float>(random.Gaussian()));
  }
  return images;
}

onnx::ModelProto ParseModel(const std::string& bytes) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(bytes));
  return model;
}

std::vector<std::string> OperatorsOf(const onnx::ModelProto& model) {
  std::vector<std::string> operators;
  for (const onnx::NodeProto& node : model.graph().node()) operators.push_back(node.op_type());
  return operators;
}

class EveryFamilyExporterTest : public ::testing::TestWithParam<std::shared_ptr<const Family>> {};

TEST_P(EveryFamilyExporterTest, EqualsTheReferenceInEveryForm) {
  const auto supernet = RandomSupernet(*GetParam());
  const SearchSpace& space = supernet->family().search_space();
  Random random(11);
  for (int trial = 0; trial < 10; ++trial) {
    const Architecture architecture = trial == 0   ? space.Largest()
                                      : trial == 1 ? space.Smallest()
                                                   : space.Sample(&random);
    SCOPED_TRACE(space.ToJson(architecture));
    const DescribedSubnet subject = Describe(*supernet, architecture);
    const Tensor images = RandomImages(subject.network, 3, 20 + static_cast<uint64_t>(trial));
    for (const BatchNormForm form :
         {BatchNormForm::kFolded, BatchNormForm::kNodes, BatchNormForm::kBatchStatistics}) {
      OnnxExportOptions options;
      options.batch_norm = form;
      FORALL_ASSERT_OK_AND_ASSIGN(const std::string model,
                                  BuildOnnxModel(subject.network, subject.weights, options));
      FORALL_ASSERT_OK(CheckOnnxModel(model));
      // Protobuf itself would write these very bytes, and so does the way without a second copy.
      EXPECT_EQ(Sha256Hex(ParseModel(model).SerializeAsString()), Sha256Hex(model));
      FORALL_ASSERT_OK_AND_ASSIGN(const std::string direct,
                                  BuildOnnxModel(subject.network, *supernet, options));
      EXPECT_EQ(Sha256Hex(direct), Sha256Hex(model));
      FORALL_ASSERT_OK_AND_ASSIGN(const auto session, OnnxSession::Create(model, SessionOptions()));
      const TensorView view{images.shape, images.values};
      FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<Tensor> outputs, session->Run({&view, 1}));
      const std::vector<double> expected = RunReference(subject.network, subject.weights, images,
                                                        form == BatchNormForm::kBatchStatistics)
                                               .logits;
      ASSERT_EQ(outputs[0].shape, (std::vector<int64_t>{3, 3}));
      double scale = 1;
      for (const double logit : expected) scale = std::max(scale, std::abs(logit));
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(static_cast<double>(outputs[0].values[i]), expected[i], 2e-4 * scale)
            << "form " << static_cast<int>(form);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, EveryFamilyExporterTest,
                         ::testing::ValuesIn(::forall::testing::TinyFamilies()),
                         [](const auto& test) {
                           std::string name = test.param->search_space().id();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ExporterTest, FoldingLeavesNoBatchNormAndNodesKeepTheirNames) {
  const auto supernet = TinySupernet();
  const DescribedSubnet subject = Describe(*supernet, supernet->family().search_space().Largest());
  OnnxExportOptions options;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string bytes,
                              BuildOnnxModel(subject.network, subject.weights, options));
  const onnx::ModelProto folded = ParseModel(bytes);
  EXPECT_THAT(OperatorsOf(folded), ::testing::Not(::testing::Contains("BatchNormalization")));
  EXPECT_EQ(folded.ir_version(), 8);
  ASSERT_EQ(folded.opset_import_size(), 1);
  EXPECT_EQ(folded.opset_import(0).version(), 17);

  const onnx::GraphProto& graph = folded.graph();
  ASSERT_EQ(graph.input_size(), 1);
  EXPECT_EQ(graph.input(0).name(), "image");
  const auto& shape = graph.input(0).type().tensor_type().shape();
  EXPECT_EQ(shape.dim(0).dim_param(), "batch");
  EXPECT_EQ(shape.dim(1).dim_value(), 1);
  EXPECT_EQ(shape.dim(2).dim_value(), 12);
  ASSERT_EQ(graph.output_size(), 1);
  EXPECT_EQ(graph.output(0).name(), "logits");
  // The first block of the tiny network, as its layers are listed.
  const std::vector<std::string> operators = OperatorsOf(folded);
  EXPECT_THAT(std::vector<std::string>(operators.begin(), operators.begin() + 6),
              ElementsAre("Conv", "HardSwish", "Conv", "Relu", "Conv", "Add"));
  EXPECT_EQ(graph.node(0).name(), "first_conv.conv");
  EXPECT_THAT(graph.node(0).input(),
              ElementsAre("image", "first_conv.conv.weight", "first_conv.conv.bias"));
  EXPECT_EQ(graph.node(0).output(0), "first_conv.bn");

  options.batch_norm = BatchNormForm::kNodes;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string nodes,
                              BuildOnnxModel(subject.network, subject.weights, options));
  EXPECT_EQ(ParseModel(nodes).graph().node_size(),
            static_cast<int>(subject.network.layers.size()) + 1);  // and the classifier's Flatten
}

TEST(ExporterTest, ABatchCanBeFixed) {
  const auto supernet = TinySupernet();
  const DescribedSubnet subject = Describe(*supernet, supernet->family().search_space().Smallest());
  OnnxExportOptions options;
  options.batch = 4;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string model,
                              BuildOnnxModel(subject.network, subject.weights, options));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto session, OnnxSession::Create(model, SessionOptions()));
  EXPECT_THAT(session->input_shape(0), ElementsAre(4, 1, 8, 8));
}

TEST(ExporterTest, MetadataReachesTheSession) {
  const auto supernet = TinySupernet();
  const DescribedSubnet subject = Describe(*supernet, supernet->family().search_space().Smallest());
  OnnxExportOptions options;
  options.metadata = {{"forall.arch_key", "a1-x"}, {"note", "a \"text\""}};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string model,
                              BuildOnnxModel(subject.network, subject.weights, options));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto session, OnnxSession::Create(model, SessionOptions()));
  EXPECT_EQ(session->Metadata("forall.arch_key"), "a1-x");
  EXPECT_EQ(session->Metadata("note"), "a \"text\"");
  EXPECT_EQ(session->Metadata("absent"), "");
}

// Users' tools and caches know an artifact by its hash: a change of these bytes is a change of
// format, to be made on purpose and written into the CHANGELOG.
TEST(ExporterTest, BytesAreGolden) {
  const auto supernet = TinySupernet();
  DescribedSubnet subject = Describe(*supernet, supernet->family().search_space().Smallest());
  for (auto& layer : subject.weights.layers) {
    for (std::vector<float>& values : layer) {
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = 0.125f * static_cast<float>(1 + i % 7);  // exact on every machine
      }
    }
  }
  OnnxExportOptions options;
  options.batch_norm = BatchNormForm::kNodes;
  options.metadata = {{"key", "value"}};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string one,
                              BuildOnnxModel(subject.network, subject.weights, options));
  EXPECT_EQ(Sha256Hex(one), "3e8a06a9db36a5e706da5bfe9cb8bbc94f906eba8bf0d480f87bb5cd8c8c0913");
}

TEST(ExporterTest, RefusesWeightsOfAnotherNetwork) {
  const auto supernet = TinySupernet();
  const SearchSpace& space = supernet->family().search_space();
  const DescribedSubnet small = Describe(*supernet, space.Smallest());
  DescribedSubnet large = Describe(*supernet, space.Largest());
  EXPECT_THAT(BuildOnnxModel(large.network, small.weights, OnnxExportOptions()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another network")));
  large.weights.layers[0][0].pop_back();
  EXPECT_THAT(BuildOnnxModel(large.network, large.weights, OnnxExportOptions()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("first_conv.conv")));
  EXPECT_THAT(BuildOnnxModel(Network(), SubnetWeights(), OnnxExportOptions()),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CheckOnnxModelTest, ReportsWhatIsWrong) {
  EXPECT_THAT(CheckOnnxModel("no model"), StatusIs(absl::StatusCode::kInvalidArgument));
  const auto supernet = TinySupernet();
  const DescribedSubnet subject = Describe(*supernet, supernet->family().search_space().Smallest());
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::string bytes,
      BuildOnnxModel(subject.network, subject.weights, OnnxExportOptions()));
  onnx::ModelProto model = ParseModel(bytes);
  model.mutable_graph()->mutable_node(1)->set_op_type("NoSuchOperator");
  EXPECT_THAT(CheckOnnxModel(model.SerializeAsString()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NoSuchOperator")));
}

}  // namespace
}  // namespace forall
