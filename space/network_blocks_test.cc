// SPDX-License-Identifier: Apache-2.0
#include "space/network_blocks.h"

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/cost_model.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

class PartsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PartsTest, AreTheWholeNetworkInOrder) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily(GetParam()));
  Random random(3);
  for (int i = 0; i < 10; ++i) {
    FORALL_ASSERT_OK_AND_ASSIGN(const Network network,
                                family->Describe(family->search_space().Sample(&random)));
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LayerRange> parts, PartsOf(network));
    FeatureShape shape = network.input;
    size_t next = 0;
    int64_t macs = 0;
    int64_t params = 0;
    for (const LayerRange& range : parts) {
      EXPECT_EQ(range.begin, next);
      next = range.end;
      FORALL_ASSERT_OK_AND_ASSIGN(const Network part, CutNetwork(network, range));
      EXPECT_EQ(part.input, shape);
      shape = part.layers.back().out;
      EXPECT_EQ(part.classes, shape.channels);
      for (size_t layer = 0; layer < part.layers.size(); ++layer) {
        for (const int input : part.layers[layer].inputs) {
          EXPECT_GE(input, kNetworkInput);
          EXPECT_LT(input, static_cast<int>(layer));
        }
      }
      macs += CountCosts(part).macs;
      params += CountCosts(part).params;
    }
    EXPECT_EQ(next, network.layers.size());
    EXPECT_EQ(macs, CountCosts(network).macs);
    EXPECT_EQ(params, CountCosts(network).params);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, PartsTest,
                         ::testing::Values("fashion_mnist", "ofa_mbv3_w1.0", "ofa_proxyless_w1.3"));

TEST(CutNetworkTest, RefusesWhatIsNoPart) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("fashion_mnist"));
  FORALL_ASSERT_OK_AND_ASSIGN(const Network network,
                              family->Describe(family->search_space().Largest()));
  const size_t size = network.layers.size();
  for (const LayerRange range : {LayerRange{3, 3}, LayerRange{0, size + 1}, LayerRange{5, 2}}) {
    EXPECT_THAT(CutNetwork(network, range), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  // From the middle of a block with a shortcut, whose end reads what came before it.
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LayerRange> parts, PartsOf(network));
  bool found = false;
  for (const LayerRange& part : parts) {
    if (network.layers[part.end - 1].kind != LayerKind::kAdd) continue;
    found = true;
    EXPECT_THAT(CutNetwork(network, {part.begin + 2, part.end}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("shortcut")));
  }
  EXPECT_TRUE(found);
}

TEST(PartsOfTest, OtherNetworksHaveNone) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto resnet, FindFamily("ofa_resnet50"));
  EXPECT_THAT(PartsOf(*resnet->Describe(resnet->search_space().Smallest())),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace forall
