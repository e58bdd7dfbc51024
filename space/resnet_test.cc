// SPDX-License-Identifier: Apache-2.0
#include "space/resnet.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "space/cost_model.h"
#include "space/identity.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

std::string Notation(const std::vector<int>& d, double e, const std::vector<int>& w) {
  return absl::StrCat("{\"d\":[", absl::StrJoin(d, ","), "],\"e\":[",
                      absl::StrJoin(std::vector<double>(18, e), ","), "],\"w\":[",
                      absl::StrJoin(w, ","), "],\"r\":224}");
}

TEST(ResNetTest, ReadsTheFieldsOwnNotation) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_resnet50"));
  const SearchSpace& space = family->search_space();
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Architecture largest,
      family->ParseArchitecture(Notation({2, 2, 2, 2, 2}, 0.35, {2, 2, 2, 2, 2, 2})));
  EXPECT_EQ(largest, space.Largest());
  // The stem's convolution is there at the largest depth only, whatever the lesser one is called.
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Architecture zero,
      family->ParseArchitecture(Notation({0, 1, 1, 1, 1}, 0.2, {0, 0, 0, 0, 0, 0})));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Architecture one,
      family->ParseArchitecture(Notation({1, 1, 1, 1, 1}, 0.2, {0, 0, 0, 0, 0, 0})));
  EXPECT_EQ(zero, one);
  // Width multipliers 0.65 and 0.8 round to one inner width: one network, one key.
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Architecture other,
      family->ParseArchitecture(Notation({0, 1, 1, 1, 1}, 0.2, {1, 0, 0, 0, 0, 0})));
  EXPECT_EQ(ArchKey(space, zero), ArchKey(space, other));

  const std::pair<std::string, const char*> wrong[] = {
      {Notation({2, 2, 2, 2}, 0.35, {2, 2, 2, 2, 2, 2}), "d must be a list of 5"},
      {Notation({2, 2, 2, 2, 3}, 0.35, {2, 2, 2, 2, 2, 2}), "d[4]: 3"},
      {Notation({2, 2, 2, 2, 2}, 0.3, {2, 2, 2, 2, 2, 2}), "e[0]: 30"},
      {Notation({2, 2, 2, 2, 2}, 0.355, {2, 2, 2, 2, 2, 2}), "no whole percent"},
      {Notation({2, 2, 2, 2, 2}, 0.35, {2, 2, 2, 2, 2, 3}), "w[5]: 3"},
      {Notation({2, 2, 2, 2, 2}, 0.35, {2, 2, 2, 2, 2}), "w must be a list of 6"},
      {R"({"w": [1], "ks": [3]})", "ks: unknown field"},
  };
  for (const auto& [text, expected] : wrong) {
    EXPECT_THAT(family->ParseArchitecture(text).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(expected)));
  }
}

TEST(ResNetTest, DepthKeepsTheFirstBlocksAndTheStemsConvolution) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_resnet50"));
  const auto names = [&](const Architecture& architecture) {
    std::vector<std::string> convolutions;
    const Network network = *family->Describe(architecture);
    for (const Layer& layer : network.layers) {
      if (layer.kind == LayerKind::kConvolution && layer.kernel == 3) {
        convolutions.push_back(layer.name);
      }
    }
    return convolutions;
  };
  const std::vector<std::string> smallest = names(family->search_space().Smallest());
  const std::vector<std::string> largest = names(family->search_space().Largest());
  EXPECT_EQ(largest.size(), 3u + 18u);
  EXPECT_EQ(smallest.size(), 2u + 10u) << absl::StrJoin(smallest, " ");
  EXPECT_THAT(largest, ::testing::Contains("input_stem.1.conv.conv"));
  EXPECT_THAT(smallest, ::testing::Not(::testing::Contains("input_stem.1.conv.conv")));
  EXPECT_THAT(smallest, ::testing::Contains("blocks.4.conv2.conv"));
  EXPECT_THAT(smallest, ::testing::Not(::testing::Contains("blocks.3.conv2.conv")));
}

TEST(ResNetTest, SpecErrorsNameTheField) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_resnet50"));
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(family->Spec());
    json[nlohmann::json::json_pointer(pointer)] = value;
    return FamilyFromSpec(json.dump()).status();
  };
  const std::pair<absl::Status, const char*> cases[] = {
      {with("/stages/0/widths", {64, 32}), "stages[0].widths"},
      {with("/stages/0/blocks", 2), "stages[0].blocks"},
      {with("/stages/0/stride", 3), "stages[0].stride"},
      {with("/stem/widths", nlohmann::json::array()), "stem.widths"},
      {with("/depths", {2, 1}), "depths"},
      {with("/expansion_percents", {0.2}), "expansion_percents"},
      {with("/kernels", {3}), "kernels: unknown field"},
      {with("/expansion_percents", {20, 21}), "20 and 21 both make"},
      {with("/stages/0/blocks", 65), "stages[0].blocks"},
      {with("/name", "Not A Name"), "name"},
  };
  for (const auto& [status, expected] : cases) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(expected)));
  }
}

}  // namespace
}  // namespace forall
