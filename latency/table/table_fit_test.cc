// SPDX-License-Identifier: Apache-2.0
#include "latency/table/table_fit.h"

#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/table/space_parts.h"
#include "space/network_blocks.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::HasSubstr;

class SpacePartsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(SpacePartsTest, AreWhatNetworksAreMadeOf) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily(GetParam()));
  FORALL_ASSERT_OK_AND_ASSIGN(std::vector<int32_t> resolutions, ResolutionsOf(*family));
  if (resolutions.size() > 3) resolutions = {resolutions.front(), 160, resolutions.back()};
  std::map<int32_t, std::set<std::string>> keys;
  for (const int32_t resolution : resolutions) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<SpacePart> parts,
                                SpaceParts(*family, resolution));
    for (const SpacePart& part : parts) {
      EXPECT_TRUE(keys[resolution].insert(part.key).second) << part.key;
      // It is where it is said to be.
      FORALL_ASSERT_OK_AND_ASSIGN(const Network network, family->Describe(part.architecture));
      EXPECT_EQ(network.input.height, resolution);
      FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<std::string> of_network, TableKeys(network));
      FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<LayerRange> ranges, PartsOf(network));
      ASSERT_EQ(of_network.size(), ranges.size());
      ASSERT_LT(part.part, static_cast<int32_t>(of_network.size()));
      EXPECT_EQ(of_network[static_cast<size_t>(part.part)], part.key);
    }
  }
  // Nothing is missing, whatever network is drawn; and after so many nothing is too much.
  Random random(11);
  std::map<int32_t, std::set<std::string>> met;
  for (int i = 0; i < 1000; ++i) {
    const int32_t resolution = resolutions[random.Uniform(resolutions.size())];
    FORALL_ASSERT_OK_AND_ASSIGN(
        const Architecture architecture,
        AtResolution(*family, family->search_space().Sample(&random), resolution));
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<std::string> of_network,
                                TableKeys(*family->Describe(architecture)));
    met[resolution].insert(of_network.begin(), of_network.end());
  }
  EXPECT_EQ(met, keys);
  EXPECT_THAT(SpaceParts(*family, 25),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("resolution 25")));
}

INSTANTIATE_TEST_SUITE_P(Families, SpacePartsTest,
                         ::testing::Values("fashion_mnist", "ofa_mbv3_w1.0", "ofa_proxyless_w1.3"));

TEST(SpacePartsTest, OtherFamiliesHaveNone) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto resnet, FindFamily("ofa_resnet50"));
  EXPECT_THAT(SpaceParts(*resnet, 224), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// A device on which a layer within a network takes other times than alone.
class TableFitTest : public ::testing::Test {
 protected:
  static constexpr double kScale = 0.9;
  static constexpr double kOffset = -0.004;
  static constexpr double kConstant = -0.01;

  void SetUp() override {
    Random random(5);
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<int32_t> resolutions, ResolutionsOf(*family_));
    for (const int32_t resolution : resolutions) {
      FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<SpacePart> parts,
                                  SpaceParts(*family_, resolution));
      for (const SpacePart& part : parts) {
        table_.resolutions[resolution][part.key] = {0.02 + 0.08 * random.Double(), 0.001, 20};
        quirks_.emplace(part.key, 1 + 0.02 * (2 * random.Double() - 1));
      }
    }
    table_.conditions = {"simulated", "none", 1, 1, "2026-11-29"};
  }

  double Takes(const std::vector<std::string>& keys, int32_t resolution) const {
    double sum = kConstant;
    for (const std::string& key : keys) {
      const double alone = table_.resolutions.at(resolution).at(key).mean_ms;
      sum += kScale * quirks_.at(key) * alone;
      if (absl::StartsWith(key, "expanded_conv")) sum += kOffset;
    }
    return sum;
  }
  // `noise`: relative, uniform.
  std::vector<TimedNetwork> Time(int count, uint64_t seed, double noise) const {
    Random random(seed);
    std::vector<TimedNetwork> networks;
    for (int i = 0; i < count; ++i) {
      const Network network = family_->Describe(family_->search_space().Sample(&random)).value();
      const std::vector<std::string> keys = TableKeys(network).value();
      const int32_t resolution = static_cast<int32_t>(network.input.height);
      networks.push_back(
          {keys, resolution, Takes(keys, resolution) * (1 + noise * (2 * random.Double() - 1))});
    }
    return networks;
  }

  const std::shared_ptr<const Family> family_ = FindFamily("fashion_mnist").value();
  LatencyTable table_;
  std::map<std::string, double> quirks_;
};

TEST_F(TableFitTest, LearnsWhatNetworksTake) {
  FORALL_ASSERT_OK_AND_ASSIGN(table_.correction, FitCorrection(table_, Time(100, 1, 0.005)));
  EXPECT_THAT(table_.correction->scale, DoubleNear(kScale, 0.05));
  EXPECT_THAT(table_.correction->block_offset_ms, DoubleNear(kOffset, 0.003));
  EXPECT_LE(table_.correction->noise, 0.01);
  EXPECT_EQ(table_.correction->networks, 100);
  FORALL_ASSERT_OK_AND_ASSIGN(const TableValidation validation,
                              JudgeTable(table_, Time(200, 2, 0), 0.05, 2));
  EXPECT_TRUE(validation.good);
  EXPECT_GT(validation.additive.bias, 0.1);
  EXPECT_LT(validation.additive.within_10_percent, 0.5);
  EXPECT_LT(validation.corrected->mean_relative_error, 0.005);
  EXPECT_LT(std::abs(validation.corrected->bias), 0.003);
  EXPECT_EQ(validation.corrected->within_5_percent, 1);
  EXPECT_GT(validation.corrected->kendall_tau, validation.additive.kendall_tau);
  // It is a table: all rows positive, and nothing beside them.
  EXPECT_EQ(table_.correction->intercept_ms, 0);
  for (const auto& [resolution, rows] : table_.correction->rows_ms) {
    EXPECT_EQ(rows.size(), table_.resolutions.at(resolution).size());
    for (const auto& [key, row] : rows) EXPECT_GT(row, 0) << key;
  }
}

TEST_F(TableFitTest, SumOfANetworkIsTheCorrectedOne) {
  Random random(9);
  const Network network = family_->Describe(family_->search_space().Sample(&random)).value();
  const std::vector<std::string> keys = TableKeys(network).value();
  const int32_t resolution = static_cast<int32_t>(network.input.height);
  EXPECT_EQ(*table_.Sum(network), *table_.AdditiveSum(keys, resolution));
  EXPECT_THAT(table_.CorrectedSum(keys, resolution),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  FORALL_ASSERT_OK_AND_ASSIGN(table_.correction, FitCorrection(table_, Time(40, 1, 0.005)));
  EXPECT_EQ(*table_.Sum(network), *table_.CorrectedSum(keys, resolution));
  EXPECT_NE(*table_.Sum(network), *table_.AdditiveSum(keys, resolution));
}

TEST_F(TableFitTest, WhereNothingIsToBeLearnedTheRowsStay) {
  std::vector<TimedNetwork> networks = Time(60, 1, 0);
  for (TimedNetwork& network : networks) {
    network.measured_ms = *table_.AdditiveSum(network.keys, network.resolution);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const TableCorrection correction, FitCorrection(table_, networks));
  for (const auto& [resolution, rows] : correction.rows_ms) {
    for (const auto& [key, row] : rows) {
      EXPECT_THAT(row, DoubleNear(table_.resolutions.at(resolution).at(key).mean_ms, 2e-4));
    }
  }
}

// A constant that is more than stem and head can give back.
TEST_F(TableFitTest, AnInterceptThatNoRowCanTakeIsKept) {
  std::vector<TimedNetwork> networks = Time(60, 1, 0);
  for (auto& [resolution, rows] : table_.resolutions) {
    for (auto& [key, row] : rows) {
      if (!absl::StartsWith(key, "expanded_conv")) row.mean_ms = 1e-4;
    }
  }
  for (TimedNetwork& network : networks) {
    network.measured_ms = *table_.AdditiveSum(network.keys, network.resolution) - 0.05;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(table_.correction, FitCorrection(table_, networks));
  EXPECT_LT(table_.correction->intercept_ms, -0.02);
  for (const auto& [resolution, rows] : table_.correction->rows_ms) {
    for (const auto& [key, row] : rows) EXPECT_GT(row, 0) << key;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const TableValidation validation,
                              JudgeTable(table_, networks, 0.01, 1));
  EXPECT_TRUE(validation.good);
}

TEST_F(TableFitTest, ATableThatMissesItsBoundIsNotGood) {
  const std::vector<TimedNetwork> networks = Time(30, 2, 0);
  FORALL_ASSERT_OK_AND_ASSIGN(TableValidation validation, JudgeTable(table_, networks, 0.1, 2));
  EXPECT_FALSE(validation.good);
  EXPECT_FALSE(validation.corrected.has_value());
  EXPECT_EQ(validation.networks, 30);
  FORALL_ASSERT_OK_AND_ASSIGN(validation, JudgeTable(table_, networks, 1, 2));
  EXPECT_TRUE(validation.good);
}

TEST_F(TableFitTest, SaysWhatItCannotFit) {
  EXPECT_THAT(FitCorrection(table_, Time(9, 1, 0)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10 to 1000")));
  std::vector<TimedNetwork> networks = Time(12, 1, 0);
  networks[3].measured_ms = 0;
  EXPECT_THAT(FitCorrection(table_, networks), StatusIs(absl::StatusCode::kInvalidArgument));
  networks[3].measured_ms = 1;
  networks[3].keys[0] = "Conv-input:1x1x1-output:1x1x1";
  EXPECT_THAT(FitCorrection(table_, networks),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("Conv-input:1x1x1")));
  EXPECT_THAT(JudgeTable(table_, {}, 0.1, 1), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(TableFitTest, AMeasuredTableReadsBackEqual) {
  table_.provenance = {{"space", "fashion_mnist"}, {"forall_build", "0.1.0"}};
  table_.resolutions[20].begin()->second.noisy = true;
  FORALL_ASSERT_OK_AND_ASSIGN(table_.correction, FitCorrection(table_, Time(40, 1, 0.005)));
  FORALL_ASSERT_OK_AND_ASSIGN(table_.validation, JudgeTable(table_, Time(30, 2, 0.005), 0.1, 7));
  const std::string text = SerializeLatencyTable(table_);
  EXPECT_THAT(text, HasSubstr("forall.latency_table.2"));
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyTable again, ParseLatencyTable(text));
  EXPECT_EQ(again.conditions, table_.conditions);
  EXPECT_EQ(again.resolutions, table_.resolutions);
  EXPECT_EQ(again.provenance, table_.provenance);
  EXPECT_EQ(again.correction, table_.correction);
  EXPECT_EQ(again.validation, table_.validation);
  EXPECT_EQ(SerializeLatencyTable(again), text);
  table_.validation->seed = kMostTableCount;
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyTable largest,
                              ParseLatencyTable(SerializeLatencyTable(table_)));
  EXPECT_EQ(largest.validation, table_.validation);
}

TEST_F(TableFitTest, NamesWhatIsWrongInAMeasuredTable) {
  FORALL_ASSERT_OK_AND_ASSIGN(table_.correction, FitCorrection(table_, Time(40, 1, 0.005)));
  FORALL_ASSERT_OK_AND_ASSIGN(table_.validation, JudgeTable(table_, Time(30, 2, 0.005), 0.1, 7));
  table_.provenance = {{"space", "fashion_mnist"}};
  const std::string text = SerializeLatencyTable(table_);
  const std::vector<std::array<std::string, 3>> cases = {
      {"\"scale\":", "\"scales\":", "correction.scale: is missing"},
      {"\"networks\": 40", "\"networks\": -4", "correction.networks: must be a count"},
      {"\"good\": true", "\"good\": 1", "validation.good: must be true or false"},
      {"\"bias\":", "\"bias\": \"x\", \"more\":", "validation.additive.bias: must be a number"},
      {"\"seed\":", "\"sed\":", "validation.seed: is missing"},
      {"\"space\": \"fashion_mnist\"", "\"space\": 3", "provenance.space: must be a string"},
      {"latency_table.2", "latency_table.1", "unknown field"},
      {"latency_table.2", "latency_table.3", "is not known"},
  };
  for (const auto& [from, to, expected] : cases) {
    std::string spoiled = text;
    ASSERT_NE(spoiled.find(from), std::string::npos) << from;
    spoiled.replace(spoiled.find(from), from.size(), to);
    EXPECT_THAT(ParseLatencyTable(spoiled),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(expected)))
        << from;
  }
  table_.correction->rows_ms[20].erase(table_.correction->rows_ms[20].begin());
  EXPECT_THAT(ParseLatencyTable(SerializeLatencyTable(table_)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("correction.rows.20: must have the table's rows")));
}

TEST_F(TableFitTest, YamlFilesSumToTheCorrectedTable) {
  FORALL_ASSERT_OK_AND_ASSIGN(table_.correction, FitCorrection(table_, Time(40, 1, 0.005)));
  table_.correction->intercept_ms = -0.003;
  FORALL_ASSERT_OK_AND_ASSIGN(table_.validation, JudgeTable(table_, Time(30, 2, 0.005), 0.1, 7));
  table_.provenance = {{"device_description", "a board\nkey: value"}};
  table_.resolutions[20].begin()->second.noisy = true;
  LatencyTable published;
  for (const auto& [resolution, rows] : table_.resolutions) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string yaml, WritePublishedTable(table_, resolution));
    EXPECT_THAT(yaml, HasSubstr("# device: simulated\n"));
    EXPECT_THAT(yaml, HasSubstr("# device_description: a board key: value\n"));
    EXPECT_THAT(yaml, HasSubstr("# validation: good"));
    FORALL_ASSERT_OK_AND_ASSIGN(LatencyRows parsed, ParsePublishedTable(yaml, 1));
    EXPECT_EQ(parsed.size(), rows.size());
    FORALL_ASSERT_OK(AddRows(std::move(parsed), &published));
  }
  for (const TimedNetwork& network : Time(20, 3, 0)) {
    EXPECT_THAT(published.AdditiveSum(network.keys, network.resolution).value(),
                DoubleNear(table_.CorrectedSum(network.keys, network.resolution).value(), 1e-12));
  }
  EXPECT_THAT(WritePublishedTable(table_, 32), StatusIs(absl::StatusCode::kNotFound));
  // More than the first layer's row has.
  table_.correction->intercept_ms = -1e3;
  EXPECT_THAT(WritePublishedTable(table_, 20),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("intercept")));
}

}  // namespace
}  // namespace forall
