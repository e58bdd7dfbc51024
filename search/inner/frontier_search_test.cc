// SPDX-License-Identifier: Apache-2.0
#include "search/inner/frontier_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/inner/additive_model.h"
#include "search/inner/elite_grid.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Stages of up to `blocks` blocks with a kernel and a width each.
SearchSpace MakeSpace(int stages, int blocks) {
  std::vector<Dimension> dimensions = {{"r", {16, 24, 32}, {}}};
  for (int s = 0; s < stages; ++s) {
    const int depth = static_cast<int>(dimensions.size());
    std::vector<int32_t> depths;
    for (int b = 1; b <= blocks; ++b) depths.push_back(b);
    dimensions.push_back({absl::StrCat("d", s), depths, {}});
    for (int32_t b = 1; b <= blocks; ++b) {
      std::optional<ActivationCondition> condition;
      if (b > 1) condition = ActivationCondition{depth, b};
      dimensions.push_back({absl::StrCat("k", s, ".", b), {3, 5, 7}, condition});
      dimensions.push_back({absl::StrCat("e", s, ".", b), {3, 4, 6}, condition});
    }
  }
  return SearchSpace::Create("world", 1, std::move(dimensions)).value();
}

// A rugged score with diminishing returns, and additive costs that disagree about what is dear.
class World : public BatchScorer {
 public:
  World(int stages, int blocks)
      : space_(CandidateSpace::Create(MakeSpace(stages, blocks)).value()),
        first_(FactoredCost::Compile(space_, Oracle(1)).value()),
        second_(FactoredCost::Compile(space_, Oracle(2)).value()) {}

  static CostOracle Oracle(uint64_t seed) {
    return [seed](const Architecture& a) -> absl::StatusOr<double> {
      double cost = 5;
      for (size_t d = 1; d < a.choices.size(); ++d) {
        const double price = 1 + 2 * Random::ForStream(seed, d).Double();
        cost += price * a.choices[d] * (2 + a.choices[0]);
      }
      return cost;
    };
  }
  double Score(const State* row) const {
    double sum = 0;
    for (size_t d = 0; d < space_.width(); ++d) {
      if (row[d] != space_.inactive(d)) sum += Random::ForStream(7, d).Double() * row[d];
    }
    // Pairs of neighbours decide a part of it.
    double rugged = 0;
    for (size_t d = 1; d < space_.width(); ++d) {
      rugged += Random(d * 100 + row[d - 1] * 10 + row[d]).Double();
    }
    return 10 * std::log1p(sum) + rugged;
  }
  void Score(const Candidates& candidates, absl::Span<float> scores) const override {
    for (size_t i = 0; i < candidates.size(); ++i) {
      scores[i] = static_cast<float>(Score(candidates.row(i)));
    }
  }

  const CandidateSpace& space() const { return space_; }
  const FactoredCost& first() const { return first_; }
  const FactoredCost& second() const { return second_; }

 private:
  const CandidateSpace space_;
  const FactoredCost first_;
  const FactoredCost second_;
};

float BestWithin(const std::vector<FrontierPoint>& frontier, double bound) {
  float best = -std::numeric_limits<float>::infinity();
  for (const FrontierPoint& point : frontier) {
    if (point.costs[0] <= bound) best = std::max(best, point.score);
  }
  return best;
}

// Every network of a small space, by walking over all genotypes.
Candidates AllOf(const CandidateSpace& space) {
  Candidates all(space.width());
  std::vector<State> options(space.width(), 0);
  for (bool more = true; more;) {
    all.Append(options.data());
    space.Settle(all.row(all.size() - 1), nullptr);
    more = false;
    for (size_t d = options.size(); d-- > 0 && !more;) {
      more = ++options[d] < space.inactive(d);
      if (!more) options[d] = 0;
    }
  }
  return all;
}

TEST(FrontierSearchTest, ASmallSpaceGivesItsExactFrontier) {
  const World world(1, 2);
  const Candidates all = AllOf(world.space());
  FORALL_ASSERT_OK_AND_ASSIGN(
      const FrontierSearchResult result,
      SearchFrontier(world.space(), {{&world.first()}}, world, {.budget = 5000}));
  EXPECT_LT(result.scored, 5000);
  for (size_t i = 0; i < all.size(); ++i) {
    const double cost = world.first().Evaluate(all.row(i));
    EXPECT_GE(BestWithin(result.frontier, cost), static_cast<float>(world.Score(all.row(i))));
  }
  for (size_t i = 1; i < result.frontier.size(); ++i) {
    EXPECT_LT(result.frontier[i - 1].costs[0], result.frontier[i].costs[0]);
    EXPECT_LT(result.frontier[i - 1].score, result.frontier[i].score);
  }
}

// The same space, searched instead of enumerated.
TEST(FrontierSearchTest, EvolutionFindsTheBestOfASmallSpaceAtItsMarks) {
  const World world(2, 2);
  const Candidates all = AllOf(world.space());
  SearchedCost cost{.cost = &world.first()};
  const double least = world.first().cheapest().value;
  const double range = world.first().dearest().value - least;
  for (const double share : {0.1, 0.3, 0.6}) cost.marks.push_back(least + share * range);
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult result,
                              SearchFrontier(world.space(), {cost}, world, {.budget = 6000}));
  ASSERT_GT(std::pow(10, world.space().space().Log10Size()), 20000);
  for (const double mark : cost.marks) {
    double best = -kInfinity;
    for (size_t i = 0; i < all.size(); ++i) {
      if (world.first().Evaluate(all.row(i)) <= mark) {
        best = std::max(best, world.Score(all.row(i)));
      }
    }
    EXPECT_NEAR(static_cast<double>(BestWithin(result.frontier, mark)), best, 1e-4);
  }
}

TEST(FrontierSearchTest, BeatsRandomDrawsAtEqualCandidates) {
  const World world(5, 4);
  constexpr int kBudget = 8000;
  FORALL_ASSERT_OK_AND_ASSIGN(
      const FrontierSearchResult result,
      SearchFrontier(world.space(), {{&world.first()}}, world, {.budget = kBudget}));
  EXPECT_LE(result.scored, kBudget);
  std::vector<FrontierPoint> random_points;
  Random random(4);
  for (int i = 0; i < kBudget; ++i) {
    FrontierPoint point{std::vector<State>(world.space().width()), 0, {}};
    world.space().Draw(10 * random.Double() - 5, &random, point.row.data());
    point.score = static_cast<float>(world.Score(point.row.data()));
    point.costs = {world.first().Evaluate(point.row.data())};
    random_points.push_back(std::move(point));
  }
  const double least = world.first().cheapest().value;
  const double most = world.first().dearest().value;
  // Near the cheap end there are few networks, which draws tilted that far find as well.
  for (const double share : {0.05, 0.1}) {
    const double bound = least * std::pow(most / least, share);
    EXPECT_GE(BestWithin(result.frontier, bound), BestWithin(random_points, bound)) << share;
  }
  for (const double share : {0.3, 0.5, 0.8}) {
    const double bound = least * std::pow(most / least, share);
    EXPECT_GT(BestWithin(result.frontier, bound), BestWithin(random_points, bound) + 0.5f) << share;
  }
}

TEST(FrontierSearchTest, BoundsOfSeveralCostsAreKeptAndTheAnswerIsRepeatable) {
  const World world(4, 3);
  const double middle = (world.first().cheapest().value + world.first().dearest().value) / 2;
  const SearchedCost first{.cost = &world.first(), .low = 0.5 * middle, .high = middle};
  const SearchedCost second{.cost = &world.second(), .high = 0.8 * middle};
  const auto search = [&](uint64_t seed) {
    return SearchFrontier(world.space(), {first, second}, world, {.budget = 4000, .seed = seed});
  };
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult one, search(1));
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult again, search(1));
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult other, search(2));
  ASSERT_GT(one.frontier.size(), 5u);
  for (size_t i = 0; i < one.frontier.size(); ++i) {
    const FrontierPoint& point = one.frontier[i];
    EXPECT_EQ(point.costs[0], world.first().Evaluate(point.row.data()));
    EXPECT_GE(point.costs[0], first.low);
    EXPECT_LE(point.costs[0], first.high);
    EXPECT_LE(point.costs[1], second.high);
    for (const FrontierPoint& better : one.frontier) {
      EXPECT_FALSE(&better != &point && better.score >= point.score &&
                   better.costs[0] <= point.costs[0] && better.costs[1] <= point.costs[1]);
    }
  }
  ASSERT_EQ(again.frontier.size(), one.frontier.size());
  for (size_t i = 0; i < one.frontier.size(); ++i) {
    EXPECT_EQ(again.frontier[i].row, one.frontier[i].row);
  }
  EXPECT_EQ(again.scored, one.scored);
  const auto rows = [](const FrontierSearchResult& result) {
    std::vector<std::string> texts;
    for (const FrontierPoint& p : result.frontier) texts.emplace_back(p.row.begin(), p.row.end());
    return texts;
  };
  EXPECT_NE(rows(one), rows(other));
}

TEST(FrontierSearchTest, StartsFromWhatTheCallerKnows) {
  const World world(5, 4);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const FrontierSearchResult good,
      SearchFrontier(world.space(), {{&world.first()}}, world, {.budget = 20000}));
  FrontierSearchOptions options{.budget = 600, .seed = 3, .initial = {}};
  for (const FrontierPoint& point : good.frontier) {
    options.initial.push_back(world.space().ToArchitecture(point.row.data()));
  }
  options.initial.push_back({"another", 1, {}});  // passed over
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult result,
                              SearchFrontier(world.space(), {{&world.first()}}, world, options));
  for (const FrontierPoint& point : good.frontier) {
    EXPECT_GE(BestWithin(result.frontier, point.costs[0]), point.score);
  }
}

TEST(FrontierSearchTest, WhatCannotBeIsSaid) {
  const World world(2, 2);
  const double cheapest = world.first().cheapest().value;
  const auto search = [&](const SearchedCost& cost, int64_t budget) {
    return SearchFrontier(world.space(), {cost}, world, {.budget = budget}).status();
  };
  EXPECT_THAT(search({.cost = &world.first(), .high = cheapest / 2}, 100),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr(absl::StrCat(cheapest))));
  EXPECT_THAT(search({.cost = &world.first(), .low = 1e9}, 100),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("nearest")));
  EXPECT_THAT(search({.cost = &world.first(), .low = 9, .high = 8}, 100),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is more than the most")));
  EXPECT_THAT(search({.cost = &world.first()}, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("budget")));
  EXPECT_THAT(SearchFrontier(world.space(), {}, world, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at least one cost")));

  class NoScores : public BatchScorer {
    void Score(const Candidates&, absl::Span<float> scores) const override {
      std::fill(scores.begin(), scores.end(), std::numeric_limits<float>::quiet_NaN());
    }
  };
  EXPECT_THAT(SearchFrontier(world.space(), {{&world.first()}}, NoScores(), {.budget = 2000}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none of the")));
}

// Costs next to each other, bounds that leave a sliver, a budget of one.
TEST(FrontierSearchTest, NarrowBoundsAndTinyBudgetsEnd) {
  const World world(4, 3);
  const double middle = (world.first().cheapest().value + world.first().dearest().value) / 2;
  const SearchedCost sliver{.cost = &world.first(), .low = middle, .high = middle * 1.0005};
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult result,
                              SearchFrontier(world.space(), {sliver}, world, {.budget = 1000}));
  for (const FrontierPoint& point : result.frontier) {
    EXPECT_GE(point.costs[0], sliver.low);
    EXPECT_LE(point.costs[0], sliver.high);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(
      const FrontierSearchResult one,
      SearchFrontier(world.space(), {{&world.first()}}, world, {.budget = 1}));
  EXPECT_EQ(one.scored, 1);
  const SearchedCost cheapest{.cost = &world.first(), .high = world.first().cheapest().value};
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult only,
                              SearchFrontier(world.space(), {cheapest}, world, {.budget = 500}));
  EXPECT_EQ(only.frontier.size(), 1u);
}

TEST(AdditiveModelTest, FindsAnAdditiveScoreFromWhatSeveralObserversSaw) {
  const World world(3, 3);
  const CandidateSpace& space = world.space();
  const auto score = [&](const State* row) {
    double sum = 3;
    for (size_t d = 0; d < space.width(); ++d) sum += Random(d * 10 + row[d]).Double();
    return sum;
  };
  AdditiveModel model(space);
  AdditiveModel other(space);
  std::vector<State> row(space.width());
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    space.Draw(0, &random, row.data());
    (i % 2 == 0 ? model : other).Learn(row.data(), score(row.data()));
  }
  model.Learn(row.data(), std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(model.Predict(row.data()), 0.0f);
  model.Fit({&model, &other});
  const FactoredSum sum = model.AsSum(space);
  for (int i = 0; i < 100; ++i) {
    space.Draw(0, &random, row.data());
    EXPECT_NEAR(static_cast<double>(model.Predict(row.data())), score(row.data()), 0.02);
    EXPECT_NEAR(static_cast<double>(model.Predict(row.data())), sum.Evaluate(row.data()), 1e-5);
  }
  EXPECT_GT(model.Scale(), 0.2);
  EXPECT_LT(model.Scale(), 0.9);
}

TEST(EliteGridTest, KeepsTheBestOfEachCell) {
  EliteGrid grid(1, {{0, 1, 2, 4}, {0, 10, 20}}, 2);
  EXPECT_EQ(grid.cells(), 6u);
  const auto offer = [&](State row, float score, double first, double second) {
    const double costs[] = {first, second};
    return grid.Offer(&row, score, costs);
  };
  EXPECT_TRUE(offer(1, 5, 1.5, 5));
  EXPECT_FALSE(offer(2, 4, 2, 10));  // upper edges belong to the cell
  EXPECT_FALSE(offer(3, 3, 1.1, 1));
  EXPECT_TRUE(offer(4, 6, 1.1, 1));
  EXPECT_FALSE(offer(5, std::numeric_limits<float>::quiet_NaN(), 1.1, 1));
  EXPECT_FALSE(offer(6, 9, 4.1, 1));
  EXPECT_TRUE(offer(7, 1, 4, 20));
  const double inside[] = {1.2, 3};
  const size_t cell = static_cast<size_t>(grid.CellOf(inside));
  EXPECT_EQ(grid.Place(cell, 0), 1u);
  EXPECT_EQ(grid.Place(cell, 1), 0u);
  EXPECT_EQ(grid.Upper(cell, 0), 2);
  ASSERT_EQ(grid.size(cell), 2u);
  EXPECT_EQ(*grid.row(cell, 0), 4);
  EXPECT_EQ(*grid.row(cell, 1), 1);
  const double nowhere[] = {-0.1, 3};
  EXPECT_EQ(grid.CellOf(nowhere), -1);
  grid.UpdateBars();
  const double dear[] = {3, 15};
  EXPECT_EQ(grid.bar(static_cast<size_t>(grid.CellOf(dear))), 6);
  const double cheap[] = {0.5, 15};
  EXPECT_EQ(grid.bar(static_cast<size_t>(grid.CellOf(cheap))),
            -std::numeric_limits<float>::infinity());
}

// Whatever the edges, a cost is found between those of its cell.
TEST(EliteGridTest, CellsHoldWhatIsBetweenTheirEdges) {
  Random random(3);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> edges;
    for (uint64_t i = 0; i < 2 + random.Uniform(200); ++i) edges.push_back(random.Double());
    if (trial % 5 == 0) edges.push_back(edges[0] + 1e-13);
    std::sort(edges.begin(), edges.end());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
    if (edges.size() < 2) continue;
    const EliteGrid grid(1, {edges}, 1);
    for (int i = 0; i < 300; ++i) {
      double cost = edges.front() + (edges.back() - edges.front()) * random.Double();
      if (i % 3 == 0) cost = edges[random.Uniform(edges.size())];
      const int cell = grid.CellOf(&cost);
      ASSERT_GE(cell, 0);
      const size_t at = static_cast<size_t>(cell);
      EXPECT_LE(cost, edges[at + 1]);
      if (at > 0) {
        EXPECT_GT(cost, edges[at]);
      }
    }
  }
}

}  // namespace
}  // namespace forall
