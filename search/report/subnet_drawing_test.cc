// SPDX-License-Identifier: Apache-2.0
#include "search/report/subnet_drawing.h"

#include <memory>
#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

v1::Architecture ToProto(const Architecture& architecture) {
  v1::Architecture proto;
  proto.set_search_space(architecture.search_space);
  proto.set_revision(architecture.revision);
  proto.mutable_choices()->Assign(architecture.choices.begin(), architecture.choices.end());
  return proto;
}

size_t Boxes(const std::string& svg) {
  size_t count = 0;
  for (size_t at = svg.find("<rect"); at != std::string::npos; at = svg.find("<rect", at + 1))
    ++count;
  return count;
}

// Whatever is drawn is what was chosen: the summary is read from layers, and must give back the
// dimensions' values.
TEST(NetworkSummaryTest, GivesBackWhatWasChosen) {
  for (const std::string& name : FamilyNames()) {
    const std::shared_ptr<const Family> family = *FindFamily(name);
    const SearchSpace& space = family->search_space();
    Random random(3);
    for (int round = 0; round < 20; ++round) {
      const Architecture architecture = space.Sample(&random);
      const auto value = [&](const std::string& dimension) {
        return space.Value(architecture, *space.FindDimension(dimension));
      };
      const absl::StatusOr<NetworkSummary> network =
          SummarizeArchitecture(family.get(), ToProto(architecture));
      ASSERT_THAT(network, IsOk());
      EXPECT_EQ(network->input.height, value("r"));
      for (size_t s = 0; s < network->stages.size(); ++s) {
        const std::string stage = std::to_string(s + 1);
        // A ResNet's depth is what it keeps beyond its least, and it has no choice of kernel.
        if (!space.FindDimension("k" + stage + ".1").has_value()) {
          const int skipped = 2 - value("d" + stage);
          EXPECT_EQ(static_cast<int>(network->stages[s].size()), (s == 2 ? 6 : 4) - skipped);
          continue;
        }
        ASSERT_EQ(static_cast<int>(network->stages[s].size()), value("d" + stage));
        for (size_t b = 0; b < network->stages[s].size(); ++b) {
          const std::string suffix = stage + "." + std::to_string(b + 1);
          EXPECT_EQ(network->stages[s][b].kernel, value("k" + suffix));
          EXPECT_EQ(network->stages[s][b].expansion, value("e" + suffix)) << name << " " << suffix;
        }
      }
    }
  }
}

TEST(NetworkSummaryTest, RefusesWhatItCannotKnow) {
  const std::shared_ptr<const Family> family = *FindFamily("fashion_mnist");
  const v1::Architecture architecture = ToProto(family->search_space().Largest());
  EXPECT_THAT(SummarizeArchitecture(nullptr, architecture),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("")));
  v1::Architecture other = architecture;
  other.mutable_choices()->RemoveLast();
  EXPECT_THAT(SummarizeArchitecture(family.get(), other),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("")));
}

TEST(SubnetDrawingTest, DrawsABoxPerBlockWithResolutionAndDepth) {
  const std::shared_ptr<const Family> family = *FindFamily("fashion_mnist");
  const NetworkSummary largest = Summarize(*family->Describe(family->search_space().Largest()));
  const NetworkSummary smallest = Summarize(*family->Describe(family->search_space().Smallest()));
  const DrawingLayout layout = LayOut({&largest, &smallest});
  const std::string svg = SubnetSvg(largest, layout);
  EXPECT_EQ(Boxes(svg), 20u);
  EXPECT_THAT(svg, HasSubstr(">28</text>"));
  EXPECT_THAT(svg, HasSubstr(">depth 4</text>"));
  EXPECT_THAT(
      svg, HasSubstr("Stage 1, block 1: kernel 7×7, expansion 6, 16 → 24 channels, 28×28 → 14×14"));
  EXPECT_EQ(Boxes(SubnetSvg(smallest, layout)), 10u);
}

TEST(SubnetDrawingTest, StagesLieSideBySide) {
  const std::shared_ptr<const Family> family = *FindFamily("ofa_mbv3_w1.2");
  const NetworkSummary largest = Summarize(*family->Describe(family->search_space().Largest()));
  const DrawingLayout layout = LayOut({&largest});
  ASSERT_EQ(layout.stage_x.size(), 5u);
  for (size_t s = 1; s < layout.stage_x.size(); ++s) {
    EXPECT_GT(layout.stage_x[s], layout.stage_x[s - 1] + layout.stage_width[s - 1]);
  }
  EXPECT_GT(layout.width, layout.stage_x.back() + layout.stage_width.back());
}

}  // namespace
}  // namespace forall
