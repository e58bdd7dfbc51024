// SPDX-License-Identifier: Apache-2.0
#include "space/mobilenet_v3.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "space/family.h"
#include "space/family_rules.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(MobileNetV3Test, MakeDivisibleRoundsToEightAndNeverLosesATenth) {
  EXPECT_EQ(MakeDivisible(1), 8);
  EXPECT_EQ(MakeDivisible(36), 40);
  EXPECT_EQ(MakeDivisible(19), 24);  // 16 would lose more than a tenth
  EXPECT_EQ(MakeDivisible(17), 16);
  EXPECT_EQ(MakeDivisible(96), 96);
}

class EveryFamilyTest : public ::testing::TestWithParam<std::string> {};

// Every slice of every network must fit its supernet tensor, and values must flow forwards only.
TEST_P(EveryFamilyTest, DescriptionsAreConsistent) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily(GetParam()));
  std::map<std::string, TensorSpec> tensors;
  for (const TensorSpec& tensor : family->tensors()) {
    EXPECT_TRUE(tensors.emplace(tensor.name, tensor).second) << tensor.name;
  }
  Random random(1);
  for (int i = 0; i < 50; ++i) {
    FORALL_ASSERT_OK_AND_ASSIGN(const Network network,
                                family->Describe(family->search_space().Sample(&random)));
    std::set<std::string> names;
    for (size_t l = 0; l < network.layers.size(); ++l) {
      const Layer& layer = network.layers[l];
      EXPECT_TRUE(names.insert(layer.name).second) << layer.name;
      for (const int input : layer.inputs) EXPECT_LT(input, static_cast<int>(l));
      for (const WeightSlice& slice : layer.weights) {
        ASSERT_TRUE(tensors.contains(slice.tensor)) << slice.tensor;
        const std::vector<int64_t>& whole = tensors[slice.tensor].shape;
        ASSERT_EQ(slice.shape.size(), whole.size()) << slice.tensor;
        for (size_t axis = 0; axis < whole.size(); ++axis)
          EXPECT_LE(slice.shape[axis], whole[axis]);
        for (const KernelTransform& transform : slice.transforms) {
          const int64_t size = int64_t{transform.to_size} * transform.to_size;
          EXPECT_EQ(tensors[transform.matrix].shape, (std::vector<int64_t>{size, size}));
        }
      }
    }
    EXPECT_EQ(network.layers.back().out.channels, family->classes());
  }
}

TEST_P(EveryFamilyTest, SpecRoundTrip) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily(GetParam()));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto again, FamilyFromSpec(family->Spec()));
  EXPECT_EQ(again->Spec(), family->Spec());
  EXPECT_EQ(again->tensors().size(), family->tensors().size());
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, EveryFamilyTest, ::testing::ValuesIn(FamilyNames()),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name)
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST(MobileNetV3Test, KernelChainGoesThroughEverySize) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("fashion_mnist"));
  FORALL_ASSERT_OK_AND_ASSIGN(const Network network,
                              family->Describe(family->search_space().Smallest()));
  for (const Layer& layer : network.layers) {
    if (layer.name != "blocks.1.conv.depth_conv.conv") continue;
    ASSERT_EQ(layer.weights[0].transforms.size(), 2u);
    EXPECT_EQ(layer.weights[0].transforms[0].matrix, "blocks.1.conv.depth_conv.conv.7to5_matrix");
    EXPECT_EQ(layer.weights[0].transforms[1].matrix, "blocks.1.conv.depth_conv.conv.5to3_matrix");
    return;
  }
  FAIL() << "the block is not there";
}

TEST(MobileNetV3Test, ReadsTheFieldsOwnNotation) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.0"));
  std::string ones = "3";
  std::string threes = "3";
  for (int i = 1; i < 20; ++i) {
    absl::StrAppend(&ones, ",3");
    absl::StrAppend(&threes, ",3");
  }
  const std::string start = absl::StrCat("{\"wid\":null,\"ks\":[", ones, "],\"e\":[", threes, "],");
  FORALL_ASSERT_OK_AND_ASSIGN(const Architecture a,
                              family->ParseArchitecture(start + "\"d\":[2,2,2,2,2],\"r\":[128]}"));
  EXPECT_EQ(a, family->search_space().Smallest());
  EXPECT_THAT(family->ParseArchitecture(start + "\"d\":[2,2,2,2],\"r\":128}"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("d must be a list of 5")));
  EXPECT_THAT(family->ParseArchitecture(start + "\"d\":[2,2,2,2,9],\"r\":128}"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("d[4]: 9")));
  EXPECT_THAT(family->ParseArchitecture(start + "\"d\":[2,2,2,2,2]}"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("resolution")));
}

TEST(MobileNetV3Test, SpecErrorsNameTheField) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("fashion_mnist"));
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(family->Spec());
    json[nlohmann::json::json_pointer(pointer)] = value;
    return json.dump();
  };
  struct Case {
    std::string spec;
    const char* expected;
  };
  const Case cases[] = {
      {"{", "JSON"},
      {with("/family", "transformer"), "family"},
      {with("/colour", 1), "colour: unknown field"},
      {with("/classes", 1), "classes"},
      {with("/classes", 1e30), "classes"},
      {with("/resolutions", {28, 20}), "resolutions"},
      {with("/stages/1/width", 0), "stages[1].width"},
      {with("/stages/1/stride", 3), "stages[1].stride"},
      {with("/stages/0/activation", "gelu"), "stages[0].activation"},
      {with("/stages", nlohmann::json::array()), "stages"},
      {with("/kernels", {3, 7}), "kernels"},
      {with("/kernels", {2, 4}), "kernels"},
      {with("/head/feature_width", -4), "head.feature_width"},
      {with("/batch_norm_epsilon", 0), "batch_norm_epsilon"},
      {with("/stem", 5), "stem"},
      {with("/stages/0/width", 1), "both make 8 channels out of 1"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(FamilyFromSpec(c.spec).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.expected)))
        << c.spec;
  }
}

TEST(MobileNetV3Test, SpecWhoseCostsLeave64BitsIsRefused) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_resnet50"));
  auto json = nlohmann::json::parse(family->Spec());
  json["resolutions"] = {1024};
  json["expansion_percents"] = {1600};
  for (auto& stage : json["stages"]) {
    stage = {{"widths", {16384}}, {"blocks", 64}, {"stride", 1}};
  }
  EXPECT_THAT(FamilyFromSpec(json.dump()).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("MACs")));
}

TEST(MobileNetV3Test, UnknownFamilyListsTheKnownOnes) {
  EXPECT_THAT(FindFamily("resnet").status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("ofa_mbv3_w1.0")));
}

}  // namespace
}  // namespace forall
