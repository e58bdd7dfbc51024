// SPDX-License-Identifier: Apache-2.0
#include "search/predictor/pairwise_model.h"

#include <cmath>
#include <optional>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_sum.h"

namespace forall {
namespace {

// Two stages of up to three blocks, a kernel and a width each.
CandidateSpace Space() {
  std::vector<Dimension> dimensions;
  for (int stage = 1; stage <= 2; ++stage) {
    const int depth = static_cast<int>(dimensions.size());
    dimensions.push_back({"d" + std::to_string(stage), {1, 2, 3}, std::nullopt});
    for (int32_t block = 1; block <= 3; ++block) {
      const std::string at = std::to_string(stage) + "." + std::to_string(block);
      const std::optional<ActivationCondition> deep =
          block == 1 ? std::nullopt : std::make_optional(ActivationCondition{depth, block});
      dimensions.push_back({"k" + at, {3, 5, 7}, deep});
      dimensions.push_back({"e" + at, {3, 4, 6}, deep});
    }
  }
  return CandidateSpace::Create(SearchSpace::Create("test", 1, std::move(dimensions)).value())
      .value();
}

Candidates Draws(const CandidateSpace& space, int count, uint64_t seed) {
  Random random(seed);
  Candidates rows(space.width());
  std::vector<State> row(space.width());
  for (int i = 0; i < count; ++i) {
    space.Draw(0, &random, row.data());
    rows.Append(row.data());
  }
  return rows;
}

// What each choice adds, and a product of two of them.
double Truth(const CandidateSpace& space, const State* row, double product) {
  double sum = 70;
  for (size_t d = 0; d < space.width(); ++d) {
    if (row[d] != space.inactive(d)) sum += 0.3 * static_cast<double>((d * 7) % 5) * row[d];
  }
  return sum + product * row[0] * row[7];
}

std::vector<double> Truths(const CandidateSpace& space, const Candidates& rows, double product) {
  std::vector<double> values;
  for (size_t i = 0; i < rows.size(); ++i) values.push_back(Truth(space, rows.row(i), product));
  return values;
}

double RootMeanSquare(const PairwiseModel& model, const CandidateSpace& space, double product) {
  const Candidates rows = Draws(space, 300, 99);
  double sum = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    sum += std::pow(model.Mean(rows.row(i)) - Truth(space, rows.row(i), product), 2);
  }
  return std::sqrt(sum / static_cast<double>(rows.size()));
}

TEST(PairwiseModelTest, LearnsWhatIsASumOfChoices) {
  const CandidateSpace space = Space();
  const Candidates rows = Draws(space, 120, 1);
  const std::vector<double> values = Truths(space, rows, 0);
  for (const bool additive : {true, false}) {
    const PairwiseKernel kernel = PairwiseModel::Choose(space, rows, values, additive);
    EXPECT_EQ(kernel.pairwise, 0) << "products explain nothing here";
    EXPECT_LT(RootMeanSquare(PairwiseModel(space, rows, values, kernel), space, 0), 0.05);
  }
}

TEST(PairwiseModelTest, LearnsProductsOnlyWithPairwiseTerms) {
  const CandidateSpace space = Space();
  const Candidates rows = Draws(space, 300, 2);
  const std::vector<double> values = Truths(space, rows, 2);
  const PairwiseKernel kernel = PairwiseModel::Choose(space, rows, values, /*additive=*/false);
  EXPECT_GT(kernel.pairwise, 0);
  const double with = RootMeanSquare(PairwiseModel(space, rows, values, kernel), space, 2);
  const PairwiseKernel sums = PairwiseModel::Choose(space, rows, values, /*additive=*/true);
  const double without = RootMeanSquare(PairwiseModel(space, rows, values, sums), space, 2);
  EXPECT_LT(with, 0.3 * without);
}

TEST(PairwiseModelTest, UncertaintyIsSmallWhereItMeasuredAndLargeElsewhere) {
  const CandidateSpace space = Space();
  const Candidates rows = Draws(space, 12, 3);
  const std::vector<double> values = Truths(space, rows, 1);
  const PairwiseModel model(space, rows, values, {3, 0.1, 0.01});
  const Candidates others = Draws(space, 12, 4);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(model.Mean(rows.row(i)), values[i], 0.1);
    EXPECT_LT(model.Deviation(rows.row(i)), 0.1);
    EXPECT_GT(model.Deviation(others.row(i)), 0.5);
  }
}

// In 95 of 100 cases or nearly so, and not by being boundless.
TEST(PairwiseModelTest, TwoDeviationsHoldTheTruth) {
  const CandidateSpace space = Space();
  const Candidates rows = Draws(space, 60, 5);
  const std::vector<double> values = Truths(space, rows, 0.5);
  const PairwiseModel model(space, rows, values,
                            PairwiseModel::Choose(space, rows, values, /*additive=*/false));
  const Candidates others = Draws(space, 200, 6);
  int inside = 0;
  double widths = 0;
  for (size_t i = 0; i < others.size(); ++i) {
    const double deviation = model.Deviation(others.row(i));
    widths += 2 * deviation;
    inside +=
        std::abs(model.Mean(others.row(i)) - Truth(space, others.row(i), 0.5)) <= 1.96 * deviation;
  }
  EXPECT_GT(inside, 170);
  EXPECT_LT(widths / 200, 3.0) << "values spread over about ten";
}

TEST(PairwiseModelTest, AdditiveModelIsASumOfTables) {
  const CandidateSpace space = Space();
  const Candidates rows = Draws(space, 40, 7);
  const PairwiseModel model(space, rows, Truths(space, rows, 1), {3, 0, 0.1});
  FactoredSum sum(space);
  sum.AddConstant(5);
  model.AddTo(&sum);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(sum.Evaluate(rows.row(i)), 5 + model.Mean(rows.row(i)), 1e-9);
  }
}

TEST(PairwiseModelTest, ScoresAreTheMeans) {
  const CandidateSpace space = Space();
  const Candidates rows = Draws(space, 40, 8);
  const PairwiseModel model(space, rows, Truths(space, rows, 1), {3, 0.3, 0.1});
  std::vector<float> scores(rows.size());
  model.Score(rows, absl::MakeSpan(scores));
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_FLOAT_EQ(scores[i], static_cast<float>(model.Mean(rows.row(i))));
  }
}

TEST(PairwiseModelTest, OneMeasurementAndEqualOnesAreLearnedFrom) {
  const CandidateSpace space = Space();
  Candidates rows = Draws(space, 1, 9);
  const std::vector<double> one = {42};
  EXPECT_DOUBLE_EQ(PairwiseModel(space, rows, one, {}).Mean(rows.row(0)), 42);
  // The same network twice, with another value: the mean of both.
  rows.Append(rows.row(0));
  const std::vector<double> two = {42, 44};
  const PairwiseKernel kernel = PairwiseModel::Choose(space, rows, two, /*additive=*/false);
  const PairwiseModel model(space, rows, two, kernel);
  EXPECT_NEAR(model.Mean(rows.row(0)), 43, 1e-6);
  EXPECT_TRUE(std::isfinite(model.Deviation(rows.row(0))));
}

}  // namespace
}  // namespace forall
