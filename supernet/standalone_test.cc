// SPDX-License-Identifier: Apache-2.0
#include "supernet/standalone.h"

#include <memory>
#include <string>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::RandomSupernet;
using ::forall::testing::StatusIs;
using ::forall::testing::TinyFamilies;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> KeysOf(const Family& family, const Architecture& architecture) {
  const auto supernet = RandomSupernet(family);
  const Network network = *family.Describe(architecture);
  std::vector<std::string> keys;
  for (const NamedTensor& tensor :
       StandaloneTensors(network, *ExtractWeights(*supernet, network))) {
    keys.push_back(tensor.name);
  }
  return keys;
}

TEST(StandaloneTest, WhatIsWrittenReadsBackForEveryFamily) {
  for (const auto& family : TinyFamilies()) {
    const auto supernet = RandomSupernet(*family);
    Random random(8);
    for (int trial = 0; trial < 10; ++trial) {
      const Architecture architecture = family->search_space().Sample(&random);
      SCOPED_TRACE(family->search_space().ToJson(architecture));
      const Network network = *family->Describe(architecture);
      const SubnetWeights weights = *ExtractWeights(*supernet, network);
      FORALL_ASSERT_OK_AND_ASSIGN(const std::string bytes,
                                  BuildStandaloneFile(network, weights, {{"note", "kept"}}));
      FORALL_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Parse(bytes, "subnet"));
      EXPECT_EQ(file->metadata().at("format"), "pt");
      EXPECT_EQ(file->metadata().at("note"), "kept");
      std::vector<NamedTensor> tensors;
      for (const NamedShape& shape : StandaloneShapes(network)) {
        const SafetensorsView* view = file->Find(shape.name);
        ASSERT_NE(view, nullptr) << shape.name;
        EXPECT_EQ(view->shape, shape.shape);
        tensors.push_back({shape.name, shape.shape, std::vector<float>(view->elements())});
        FORALL_ASSERT_OK(CopyAsFloats(*view, absl::MakeSpan(tensors.back().values)));
      }
      EXPECT_EQ(tensors.size(), file->tensors().size());
      FORALL_ASSERT_OK_AND_ASSIGN(const SubnetWeights again,
                                  WeightsOfStandalone(network, std::move(tensors)));
      EXPECT_EQ(again.layers, weights.layers);
    }
  }
}

// The keys of the authors' static modules, block by block as their build_from_config numbers them.
TEST(StandaloneTest, KeysAreTheStaticModules) {
  const auto mobilenet = testing::TinyFamily();
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Architecture shallow,
      mobilenet->ParseArchitecture(R"({"ks":[7,3,5,3],"e":[2,2,1,2],"d":[1,1],"r":12})"));
  const std::vector<std::string> keys = KeysOf(*mobilenet, shallow);
  EXPECT_EQ(keys.front(), "first_conv.conv.weight");
  EXPECT_EQ(keys.back(), "classifier.linear.bias");
  EXPECT_THAT(keys, Contains("first_conv.bn.running_var"));
  EXPECT_THAT(keys, Contains("blocks.0.conv.depth_conv.conv.weight"));
  EXPECT_THAT(keys, Contains("blocks.1.conv.inverted_bottleneck.conv.weight"));
  EXPECT_THAT(keys, Contains("blocks.1.conv.point_linear.bn.running_mean"));
  // The second stage's first block follows at once: its squeeze-excite shows which one it is.
  EXPECT_THAT(keys, Contains("blocks.2.conv.depth_conv.se.fc.reduce.weight"));
  EXPECT_THAT(keys, Contains("blocks.2.conv.depth_conv.se.fc.expand.bias"));
  EXPECT_THAT(keys, Contains("final_expand_layer.bn.weight"));
  EXPECT_THAT(keys, Contains("feature_mix_layer.conv.weight"));
  EXPECT_THAT(keys, Not(Contains(HasSubstr("blocks.3."))));
  EXPECT_THAT(keys, Not(Contains(HasSubstr(".conv.conv.weight"))));
  EXPECT_THAT(keys, Not(Contains(HasSubstr("matrix"))));
}

TEST(StandaloneTest, ASkippedStemIsNumberedWithoutGaps) {
  const auto resnet = testing::TinyResNetFamily();
  const SearchSpace& space = resnet->search_space();
  const std::vector<std::string> large = KeysOf(*resnet, space.Largest());
  EXPECT_THAT(large, Contains("input_stem.0.conv.weight"));
  EXPECT_THAT(large, Contains("input_stem.1.conv.conv.weight"));
  EXPECT_THAT(large, Contains("input_stem.2.bn.bias"));
  EXPECT_THAT(large, Contains("blocks.0.downsample.conv.weight"));
  const std::vector<std::string> small = KeysOf(*resnet, space.Smallest());
  EXPECT_THAT(std::vector<std::string>(small.begin(), small.begin() + 6),
              ElementsAre("input_stem.0.conv.weight", "input_stem.0.bn.weight",
                          "input_stem.0.bn.bias", "input_stem.0.bn.running_mean",
                          "input_stem.0.bn.running_var", "input_stem.1.conv.weight"));
}

TEST(StandaloneTest, TensorsOfAnotherSubnetAreRefused) {
  const auto family = testing::TinyFamily();
  const auto supernet = RandomSupernet(*family);
  const SearchSpace& space = family->search_space();
  const Network large = *family->Describe(space.Largest());
  const Network small = *family->Describe(space.Smallest());
  EXPECT_THAT(
      WeightsOfStandalone(small, StandaloneTensors(large, *ExtractWeights(*supernet, large))),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("'blocks.1.conv.inverted_bottleneck.conv.weight'")));
}

}  // namespace
}  // namespace forall
