// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/candidate_search.h"

#include <algorithm>
#include <map>
#include <vector>

#include "gtest/gtest.h"
#include "search/sampler/test_world.h"

namespace forall {
namespace {

class Goodness : public BatchScorer {
 public:
  Goodness(const TestWorld& world, const CandidateSpace& space) : world_(world), space_(space) {}
  void Score(const Candidates& candidates, absl::Span<float> scores) const override {
    for (size_t i = 0; i < candidates.size(); ++i) {
      scores[i] = static_cast<float>(-world_.Error(space_.ToArchitecture(candidates.row(i))));
    }
  }

 private:
  const TestWorld& world_;
  const CandidateSpace& space_;
};

class CandidateSearchTest : public ::testing::Test {
 protected:
  explicit CandidateSearchTest(int stages = 2)
      : world_(stages),
        space_(CandidateSpace::Create(world_.space()).value()),
        cost_(FactoredCost::Compile(space_,
                                    [this](const Architecture& a) -> absl::StatusOr<double> {
                                      return world_.Cost(a);
                                    })
                  .value()),
        goodness_(world_, space_) {}

  // The least error at no more than each cost.
  double ErrorAt(const Candidates& found, double bound) const {
    double least = 1e9;
    for (size_t i = 0; i < found.size(); ++i) {
      const Architecture a = space_.ToArchitecture(found.row(i));
      if (world_.Cost(a) <= bound) least = std::min(least, world_.Error(a));
    }
    return least;
  }

  const TestWorld world_;
  const CandidateSpace space_;
  const FactoredCost cost_;
  const Goodness goodness_;
};

TEST_F(CandidateSearchTest, FindsBetterAtEveryCostThanDrawsDo) {
  const Candidates none(space_.width());
  const Candidates found = SearchCandidates(space_, {{&cost_}}, goodness_, none, 6000, 1);
  Random random(2);
  Candidates draws(space_.width());
  std::vector<State> row(space_.width());
  for (int i = 0; i < 6000; ++i) {
    space_.Draw(8 * random.Double() - 4, &random, row.data());
    draws.Append(row.data());
  }
  const double low = cost_.cheapest().value;
  const double high = cost_.dearest().value;
  for (const double share : {0.1, 0.2, 0.4, 0.6, 0.8}) {
    const double bound = low + share * (high - low);
    EXPECT_LT(ErrorAt(found, bound), ErrorAt(draws, bound)) << share;
  }
}

TEST_F(CandidateSearchTest, KeepsBoundsAndFindsNothingTwice) {
  const Candidates none(space_.width());
  const double bound = 0.5 * (cost_.cheapest().value + cost_.dearest().value);
  const Candidates found =
      SearchCandidates(space_, {{&cost_, bound, true}}, goodness_, none, 3000, 1);
  EXPECT_GT(found.size(), 100u);
  std::map<uint64_t, int> times;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LE(cost_.Evaluate(found.row(i)), bound);
    EXPECT_EQ(++times[space_.Key(found.row(i))], 1);
  }
  const Candidates impossible = SearchCandidates(
      space_, {{&cost_, cost_.cheapest().value - 1, true}}, goodness_, none, 3000, 1);
  EXPECT_EQ(impossible.size(), 0u);
}

TEST_F(CandidateSearchTest, IsAFunctionOfItsArguments) {
  const Candidates none(space_.width());
  const auto keys = [&](uint64_t seed) {
    const Candidates found = SearchCandidates(space_, {{&cost_}}, goodness_, none, 2000, seed);
    std::vector<uint64_t> rows;
    for (size_t i = 0; i < found.size(); ++i) rows.push_back(space_.Key(found.row(i)));
    return rows;
  };
  EXPECT_EQ(keys(5), keys(5));
  EXPECT_NE(keys(5), keys(6));
}

TEST_F(CandidateSearchTest, NeedsNoCost) {
  const Candidates none(space_.width());
  const Candidates found = SearchCandidates(space_, {}, goodness_, none, 2000, 1);
  EXPECT_GE(found.size(), 1u);
}

}  // namespace
}  // namespace forall
