// SPDX-License-Identifier: Apache-2.0
#include "space/net_config.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "space/cost_model.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(NetConfigTest, WhatIsWrittenReadsBackInBothSpellings) {
  for (const char* name :
       {"fashion_mnist", "ofa_mbv3_w1.0", "ofa_mbv3_w1.2", "ofa_proxyless_w1.3", "ofa_resnet50"}) {
    SCOPED_TRACE(name);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily(name));
    const SearchSpace& space = family->search_space();
    Random random(9);
    for (int i = 0; i < 30; ++i) {
      const Architecture architecture = space.Sample(&random);
      FORALL_ASSERT_OK_AND_ASSIGN(const Network network, family->Describe(architecture));
      FORALL_ASSERT_OK_AND_ASSIGN(const std::string config, WriteNetConfig(network));
      const int32_t resolution = static_cast<int32_t>(network.input.height);
      FORALL_ASSERT_OK_AND_ASSIGN(const Architecture again,
                                  ParseNetConfig(config, *family, resolution));
      EXPECT_EQ(again, architecture);
      FORALL_ASSERT_OK_AND_ASSIGN(
          const Architecture current,
          ParseNetConfig(absl::StrReplaceAll(config, {{"mobile_inverted_conv", "conv"}}), *family,
                         resolution));
      EXPECT_EQ(current, architecture);
    }
  }
}

TEST(NetConfigTest, NamesWhatTheSpaceDoesNotHave) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.0"));
  FORALL_ASSERT_OK_AND_ASSIGN(const Network network,
                              family->Describe(family->search_space().Largest()));
  const std::string config = *WriteNetConfig(network);
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(config);
    json[nlohmann::json::json_pointer(pointer)] = value;
    return ParseNetConfig(json.dump(), *family, 224).status();
  };
  struct Case {
    absl::Status status;
    const char* expected;
  };
  const Case cases[] = {
      {with("/blocks/3/mobile_inverted_conv/kernel_size", 9), "k1.3"},
      {with("/blocks/3/mobile_inverted_conv/expand_ratio", 5), "e1.3"},
      {with("/blocks/3/mobile_inverted_conv/mid_channels", 100), "blocks[3].mid_channels: 100"},
      {with("/blocks/3/mobile_inverted_conv/use_se", true), "blocks[3].use_se"},
      {with("/blocks/3/mobile_inverted_conv/act_func", "gelu"), "blocks[3].act_func"},
      {with("/blocks/3/mobile_inverted_conv/stride", -1), "blocks[3].mobile_inverted_conv.stride"},
      {with("/blocks/3/shortcut", nullptr), "blocks[3].shortcut"},
      {with("/blocks/3", 7), "blocks[3]"},
      {with("/blocks", nlohmann::json::array()), "blocks"},
      {with("/first_conv/out_channels", 24), "first_conv.out_channels: 24"},
      {with("/final_expand_layer", nullptr), "final_expand_layer: is missing"},
      {with("/bn/eps", 0.001), "bn.eps: 0.001, where the search space has 1e-05"},
      {with("/bn/eps", "small"), "bn.eps"},
      {with("/classifier/out_features", 10), "classifier.out_features: 10"},
      {ParseNetConfig(config, *family, 225).status(), "choices.r"},
      {ParseNetConfig("[1]", *family, 224).status(), "JSON object"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(c.status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.expected)));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto resnet, FindFamily("ofa_resnet50"));
  EXPECT_THAT(ParseNetConfig(config, *resnet, 224).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ofa_resnet50")));
  EXPECT_THAT(WriteNetConfig(Network()).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("inverted residual")));
}

TEST(NetConfigTest, NamesWhatAResNetSpaceDoesNotHave) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_resnet50"));
  FORALL_ASSERT_OK_AND_ASSIGN(const Network network,
                              family->Describe(family->search_space().Largest()));
  const std::string config = *WriteNetConfig(network);
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(config);
    json[nlohmann::json::json_pointer(pointer)] = value;
    return ParseNetConfig(json.dump(), *family, 224).status();
  };
  FORALL_ASSERT_OK_AND_ASSIGN(const auto mobilenet, FindFamily("ofa_mbv3_w1.0"));
  const std::pair<absl::Status, const char*> cases[] = {
      {with("/blocks/3/mid_channels", 100), "blocks[3].mid_channels: 100"},
      {with("/blocks/3/out_channels", 300), "5 stages are more"},
      {with("/blocks/3/kernel_size", 5), "blocks[3].kernel_size: 5"},
      {with("/blocks/3", 7), "blocks[3].in_channels"},
      {with("/blocks", nlohmann::json::array()), "blocks: must be a list"},
      {with("/input_stem/0/out_channels", 33), "w0.1"},
      {with("/input_stem/1", nlohmann::json::array()), "input_stem[1].conv: is missing"},
      {with("/classifier/out_features", 10), "classifier.out_features: 10"},
      {with("/classifier", nullptr), "classifier.in_features: nothing"},
      {ParseNetConfig(config, *mobilenet, 224).status(), "input_stem"},
  };
  for (const auto& [status, expected] : cases) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(expected)));
  }
}

// All fifty published specialised networks are networks of one of three spaces.
TEST(NetConfigTest, ReadsEveryPublishedSpecializedNetwork) {
  const char* source = std::getenv("FORALL_SOURCE_DIR");
  const std::string folder =
      absl::StrCat(source == nullptr ? "." : source, "/../shared/data/ofa_specialized");
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << "no published networks beside the repository";
  int read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string path = entry.path().string();
    SCOPED_TRACE(path);
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
    int spaces = 0;
    for (const char* name : {"ofa_mbv3_w1.0", "ofa_mbv3_w1.2", "ofa_proxyless_w1.3"}) {
      FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily(name));
      const absl::StatusOr<Architecture> architecture = ParseNetConfig(text, *family, 224);
      if (!architecture.ok()) continue;
      ++spaces;
      // The architecture is the file's: written again, every block is the same.
      FORALL_ASSERT_OK_AND_ASSIGN(const Network network, family->Describe(*architecture));
      const auto ours = nlohmann::json::parse(*WriteNetConfig(network));
      const auto theirs = nlohmann::json::parse(text);
      ASSERT_EQ(ours["blocks"].size(), theirs["blocks"].size());
      for (size_t i = 0; i < theirs["blocks"].size(); ++i) {
        EXPECT_EQ(ours["blocks"][i], theirs["blocks"][i]) << i;
      }
      EXPECT_EQ(ours["first_conv"], theirs["first_conv"]);
      EXPECT_EQ(ours["feature_mix_layer"], theirs["feature_mix_layer"]);
    }
    EXPECT_EQ(spaces, 1);
    ++read;
  }
  EXPECT_EQ(read, 50);
}

}  // namespace
}  // namespace forall
