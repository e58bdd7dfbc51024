// SPDX-License-Identifier: Apache-2.0
#include "search/inner/factored_cost.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/table/latency_table.h"
#include "space/cost_model.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

CostOracle MacsOf(const Family& family) {
  return [&family](const Architecture& a) -> absl::StatusOr<double> {
    const absl::StatusOr<Network> network = family.Describe(a);
    if (!network.ok()) return network.status();
    return static_cast<double>(CountCosts(*network).macs);
  };
}

CostOracle ParamsOf(const Family& family) {
  return [&family](const Architecture& a) -> absl::StatusOr<double> {
    const absl::StatusOr<Network> network = family.Describe(a);
    if (!network.ok()) return network.status();
    return static_cast<double>(CountCosts(*network).params);
  };
}

// A lookup table whose rows are noise: nothing about the cost is smooth or separable within a row.
CostOracle NoiseTable(const Family& family) {
  return [&family](const Architecture& a) -> absl::StatusOr<double> {
    const absl::StatusOr<Network> network = family.Describe(a);
    if (!network.ok()) return network.status();
    const absl::StatusOr<std::vector<std::string>> keys = TableKeys(*network);
    if (!keys.ok()) return keys.status();
    double sum = 0;
    for (const std::string& key : *keys) {
      sum += Random(Fnv1a64(key) + static_cast<uint64_t>(network->input.height)).Double();
    }
    return sum;
  };
}

// All options but a few resolutions, so that a test stays short.
CandidateSpace FewResolutions(const Family& family, std::vector<State> resolutions) {
  std::vector<std::vector<State>> allowed = {std::move(resolutions)};
  return CandidateSpace::Create(family.search_space(), std::move(allowed)).value();
}

void ExpectEqualsOracle(const CandidateSpace& space, const FactoredCost& cost,
                        const CostOracle& oracle) {
  Random random(77);
  Candidates rows(space.width());
  rows.Resize(300);
  std::vector<double> costs(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    space.Draw(static_cast<double>(i % 5) - 2, &random, rows.row(i));
  }
  cost.Evaluate(rows, absl::MakeSpan(costs));
  for (size_t i = 0; i < rows.size(); ++i) {
    const double expected = oracle(space.ToArchitecture(rows.row(i))).value();
    ASSERT_NEAR(costs[i], expected, 1e-7 * std::abs(expected));
    EXPECT_GE(costs[i], cost.cheapest().value * (1 - 1e-9));
    EXPECT_LE(costs[i], cost.dearest().value * (1 + 1e-9));
  }
}

class FactoredCostOfFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(FactoredCostOfFamily, EqualsTheOracle) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily(GetParam()));
  const CandidateSpace space = FewResolutions(*family, {0, 2});
  std::vector<CostOracle> oracles = {MacsOf(*family), ParamsOf(*family)};
  if (TableKeys(family->Describe(family->search_space().Largest()).value()).ok()) {
    oracles.push_back(NoiseTable(*family));
  }
  for (const CostOracle& oracle : oracles) {
    FORALL_ASSERT_OK_AND_ASSIGN(const FactoredCost cost, FactoredCost::Compile(space, oracle));
    ExpectEqualsOracle(space, cost, oracle);
  }
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, FactoredCostOfFamily, ::testing::ValuesIn(FamilyNames()));

TEST(FactoredCostTest, FindsTheGroupsThatActOnEachOther) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.2"));
  const CandidateSpace space = FewResolutions(*family, {8, 24});
  FORALL_ASSERT_OK_AND_ASSIGN(const FactoredCost cost,
                              FactoredCost::Compile(space, NoiseTable(*family)));
  std::vector<std::string> groups;
  for (const Factor& factor : cost.sum().factors()) {
    std::string group;
    for (const uint32_t d : factor.dimensions) group += space.space().dimensions()[d].name + " ";
    if (factor.dimensions.size() != 3) groups.push_back(group);
  }
  // Twenty blocks {r, k, e}; how many there are in a stage depends on the resolution alone.
  EXPECT_EQ(cost.sum().factors().size(), 25u);
  EXPECT_THAT(groups, UnorderedElementsAre("r d1 ", "r d2 ", "r d3 ", "r d4 ", "r d5 "));
}

// Stages with conditions, and a term over three dimensions.
class SmallWorld : public ::testing::Test {
 protected:
  static SearchSpace MakeSpace() {
    return SearchSpace::Create("small", 1,
                               {{"r", {16, 32, 48}, {}},
                                {"d1", {1, 2}, {}},
                                {"k1.1", {3, 5, 7}, {}},
                                {"k1.2", {3, 5, 7}, ActivationCondition{1, 2}},
                                {"d2", {0, 1, 2}, {}},
                                {"e2.1", {3, 4, 6}, ActivationCondition{4, 1}},
                                {"k2.1", {3, 5}, ActivationCondition{4, 1}},
                                {"e2.2", {3, 4, 6}, ActivationCondition{4, 2}}})
        .value();
  }
  static double Cost(const Architecture& a) {
    const std::vector<int32_t>& c = a.choices;
    const auto noise = [](uint64_t seed) { return Random(seed).Double(); };
    const auto at = [&](size_t d) { return static_cast<uint64_t>(c[d]); };
    double cost = 3 + noise(at(0)) + noise(100 + 3 * at(0) + at(2));
    if (c[1] >= 1) cost += noise(200 + 3 * at(0) + at(3));
    if (c[4] >= 1) cost += noise(300 + 18 * at(0) + 6 * at(5) + at(6));
    // The second block's cost depends on whether the first stage is deep.
    if (c[4] >= 2) cost += noise(400 + 3 * at(1) + at(7));
    return cost;
  }
  // Every genotype of every network.
  Candidates All() const {
    Candidates rows(space_.width());
    std::vector<State> row(space_.width(), 0);
    bool more = true;
    while (more) {
      rows.Append(row.data());
      space_.Settle(rows.row(rows.size() - 1), nullptr);
      more = false;
      for (size_t d = row.size(); d-- > 0 && !more;) {
        more = ++row[d] < space_.inactive(d);
        if (!more) row[d] = 0;
      }
    }
    return rows;
  }
  const CandidateSpace space_ = CandidateSpace::Create(MakeSpace()).value();
  const CostOracle oracle_ = [](const Architecture& a) -> absl::StatusOr<double> {
    return Cost(a);
  };
};

TEST_F(SmallWorld, EndsAreThoseOfBruteForceAlsoWithOptionsFixed) {
  FORALL_ASSERT_OK_AND_ASSIGN(const FactoredCost cost, FactoredCost::Compile(space_, oracle_));
  const Candidates all = All();
  Random random(5);
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<State> fixed(space_.width(), kFree);
    for (size_t d = 0; trial > 0 && d < fixed.size(); ++d) {
      if (random.Bernoulli(0.3))
        fixed[d] = space_.allowed(d)[random.Uniform(space_.allowed(d).size())];
    }
    double least = std::numeric_limits<double>::infinity();
    double most = -least;
    for (size_t i = 0; i < all.size(); ++i) {
      const State* const row = all.row(i);
      bool fits = true;
      for (size_t d = 0; d < all.width(); ++d) {
        fits = fits && (fixed[d] == kFree || row[d] == space_.inactive(d) || row[d] == fixed[d]);
      }
      if (!fits) continue;
      const double value = Cost(space_.ToArchitecture(row));
      EXPECT_NEAR(cost.Evaluate(row), value, 1e-9);
      least = std::min(least, value);
      most = std::max(most, value);
    }
    FORALL_ASSERT_OK_AND_ASSIGN(const Minimum cheapest, cost.Cheapest(fixed));
    FORALL_ASSERT_OK_AND_ASSIGN(const Minimum dearest, cost.Dearest(fixed));
    EXPECT_NEAR(cheapest.value, least, 1e-9);
    EXPECT_NEAR(dearest.value, most, 1e-9);
    EXPECT_NEAR(cost.Evaluate(cheapest.row.data()), least, 1e-9);
    EXPECT_NEAR(cost.Evaluate(dearest.row.data()), most, 1e-9);
  }
}

TEST_F(SmallWorld, RepairEndsInsideOrSaysThatNothingIs) {
  FORALL_ASSERT_OK_AND_ASSIGN(const FactoredCost cost, FactoredCost::Compile(space_, oracle_));
  const double least = cost.cheapest().value;
  const double most = cost.dearest().value;
  Random random(6);
  std::vector<State> row(space_.width());
  for (int trial = 0; trial < 200; ++trial) {
    space_.Draw(0, &random, row.data());
    const std::vector<State> before = row;
    const double low = least + (most - least) * random.Double() * 0.9;
    const double high = low + (most - least) * 0.1;
    FORALL_ASSERT_OK(cost.Repair(low, high, row.data()));
    EXPECT_GE(cost.Evaluate(row.data()), low);
    EXPECT_LE(cost.Evaluate(row.data()), high);
    if (cost.Evaluate(before.data()) >= low && cost.Evaluate(before.data()) <= high) {
      EXPECT_EQ(row, before);
    }
  }
  const std::vector<State> before = row;
  EXPECT_THAT(cost.Repair(0, least * 0.99, row.data()),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(absl::StrCat(least))));
  EXPECT_THAT(cost.Repair(most * 1.01, most * 2, row.data()),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(absl::StrCat(most))));
  EXPECT_THAT(cost.Repair(least + 1e-12, least + 2e-12, row.data()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("was met")));
  EXPECT_EQ(row, before);
}

TEST_F(SmallWorld, ACostThatIsNoSumOfSmallTermsIsRefused) {
  EXPECT_THAT(FactoredCost::Compile(space_,
                                    [](const Architecture& a) -> absl::StatusOr<double> {
                                      if (a.choices[0] == 1) return absl::NotFoundError("no table");
                                      return Cost(a);
                                    }),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no table")));
  // A maximum over all blocks, in a space too large for one table.
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.0"));
  const CandidateSpace large = FewResolutions(*family, {0});
  const auto noise = [](const Architecture& a) -> absl::StatusOr<double> {
    uint64_t hash = 1;
    for (const int32_t choice : a.choices) hash = SplitMix64(hash ^ static_cast<uint64_t>(choice));
    return Random(hash).Double();
  };
  EXPECT_THAT(FactoredCost::Compile(large, noise),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no sum of terms")));
}

}  // namespace
}  // namespace forall
