// SPDX-License-Identifier: Apache-2.0
#include "search/inner/compiled_table.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/table/table_lint.h"
#include "space/cost_model.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Rows of noise for every layer of the family at these resolutions.
LatencyTable NoiseTable(const Family& family, const std::vector<int32_t>& resolutions) {
  LatencyTable table;
  table.conditions = {"board", "runtime", 1, 1, "2020"};
  Random random(5);
  for (const int32_t resolution : resolutions) {
    const std::vector<std::string> keys = SpaceKeys(family, resolution).value();
    for (const std::string& key : keys) {
      table.resolutions[resolution][key] = {.mean_ms = 0.01 + random.Double()};
    }
  }
  return table;
}

TEST(CompiledTableTest, IsTheSumOverTheRowsAndLeavesOutWhatHasNone) {
  const auto family = FindFamily("fashion_mnist").value();  // resolutions 20, 24, 28
  const LatencyTable table = NoiseTable(*family, {24, 28});
  FORALL_ASSERT_OK_AND_ASSIGN(const auto compiled, CompiledTable::Compile(table, family));
  EXPECT_THAT(compiled->left_out(), ElementsAre("r 20"));
  EXPECT_EQ(compiled->conditions().device, "board");
  const SearchSpace& space = family->search_space();
  const int r = *space.FindDimension("r");
  Random random(1);
  double least = 1e9;
  for (int i = 0; i < 400; ++i) {
    const Architecture architecture = space.Sample(&random);
    const Network network = family->Describe(architecture).value();
    const double macs = static_cast<double>(CountCosts(network).macs);
    if (space.Value(architecture, r) == 20) {
      EXPECT_FALSE(compiled->Of(architecture).has_value());
      const double fastest_macs =
          static_cast<double>(CountCosts(family->Describe(compiled->Fastest()).value()).macs);
      EXPECT_NEAR(compiled->Estimate(architecture), compiled->least() * macs / fastest_macs, 1e-9);
      continue;
    }
    ASSERT_NEAR(compiled->Of(architecture).value(), table.Sum(network).value(), 1e-9);
    EXPECT_EQ(compiled->Estimate(architecture), *compiled->Of(architecture));
    least = std::min(least, *compiled->Of(architecture));
    EXPECT_LE(*compiled->Of(architecture), compiled->most() + 1e-9);
  }
  EXPECT_LT(compiled->least(), least);
  EXPECT_DOUBLE_EQ(compiled->Of(compiled->Fastest()).value(), compiled->least());
}

TEST(CompiledTableTest, RefusesWhatCannotBeSummed) {
  const auto family = FindFamily("fashion_mnist").value();
  const LatencyTable table = NoiseTable(*family, {24});
  const auto error = [&](const LatencyTable& of) {
    return CompiledTable::Compile(of, family).status();
  };
  LatencyTable hole = table;
  const std::string lost = std::prev(std::prev(hole.resolutions[24].end()))->first;
  hole.resolutions[24].erase(lost);
  EXPECT_THAT(error(hole), StatusIs(absl::StatusCode::kNotFound, HasSubstr(lost)));
  // One kernel and width of one block, each of which has rows with others.
  hole = table;
  const auto block =
      std::find_if(hole.resolutions[24].begin(), hole.resolutions[24].end(), [](const auto& row) {
        return row.first.find("kernel:5") != std::string::npos &&
               row.first.find("idskip:1") != std::string::npos;
      });
  ASSERT_NE(block, hole.resolutions[24].end());
  const std::string key = block->first;
  hole.resolutions[24].erase(block);
  EXPECT_THAT(error(hole), StatusIs(absl::StatusCode::kNotFound, HasSubstr(key)));
  LatencyTable zero = table;
  zero.resolutions[24].begin()->second.mean_ms = 0;
  EXPECT_THAT(error(zero), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mean")));
  LatencyTable corrected = table;
  corrected.correction.emplace();
  for (const auto& [key, row] : table.resolutions.at(24)) {
    corrected.correction->rows_ms[24][key] = row.mean_ms;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto compiled, CompiledTable::Compile(corrected, family));
  corrected.correction->intercept_ms = -0.99 * compiled->least();
  FORALL_EXPECT_OK(error(corrected));
  for (const double intercept : {-1.01 * compiled->least(), -1.01 * compiled->most(), -1e300}) {
    corrected.correction->intercept_ms = intercept;
    EXPECT_THAT(error(corrected),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("correction.intercept")));
  }
  EXPECT_THAT(CompiledTable::Compile(table, FindFamily("ofa_mbv3_w1.0").value()).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("another search space")));
  EXPECT_THAT(CompiledTable::Compile(table, FindFamily("ofa_resnet50").value()).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("")));
}

}  // namespace
}  // namespace forall
