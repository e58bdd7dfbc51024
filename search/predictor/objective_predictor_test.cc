// SPDX-License-Identifier: Apache-2.0
#include "search/predictor/objective_predictor.h"

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"
#include "space/cost_model.h"
#include "space/family.h"

namespace forall {
namespace {

class ObjectivePredictorTest : public ::testing::Test {
 protected:
  ObjectivePredictorTest()
      : family_(FindFamily("fashion_mnist").value()),
        space_(CandidateSpace::Create(family_->search_space()).value()),
        macs_(
            FactoredCost::Compile(space_, [this](const Architecture& a) -> absl::StatusOr<double> {
              return Macs(a);
            }).value()) {}

  double Macs(const Architecture& a) const {
    return static_cast<double>(CountCosts(family_->Describe(a).value()).macs);
  }
  Candidates Draws(int count, uint64_t seed) const {
    Random random(seed);
    Candidates rows(space_.width());
    std::vector<State> row(space_.width());
    for (int i = 0; i < count; ++i) {
      space_.Draw(4 * random.Double() - 2, &random, row.data());
      rows.Append(row.data());
    }
    return rows;
  }
  // Milliseconds of a device with an overhead, on which kernels of 7 cost more than their MACs say.
  double Latency(const State* row) const {
    double value = 0.05 + 2e-8 * macs_.Evaluate(row);
    for (size_t d = 0; d < space_.width(); ++d) {
      const Dimension& dimension = space_.space().dimensions()[d];
      if (dimension.name[0] == 'k' && row[d] != space_.inactive(d) &&
          dimension.options[row[d]] == 7) {
        value += 0.02;
      }
    }
    return value;
  }
  double MeanRelativeError(const ObjectivePredictor& predictor) const {
    const Candidates rows = Draws(200, 77);
    double sum = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      sum += std::abs(predictor.Mean(rows.row(i)) / Latency(rows.row(i)) - 1);
    }
    return sum / 200;
  }
  std::vector<double> Latencies(const Candidates& rows) const {
    std::vector<double> values;
    for (size_t i = 0; i < rows.size(); ++i) values.push_back(Latency(rows.row(i)));
    return values;
  }

  const std::shared_ptr<const Family> family_;
  const CandidateSpace space_;
  const FactoredCost macs_;
};

TEST_F(ObjectivePredictorTest, DimensionsWeighByWhatTheyTakeOfACost) {
  const DimensionWeights weights = WeightsByCost(space_, macs_);
  ASSERT_EQ(weights.size(), space_.width());
  const auto of = [&](const std::string& name) {
    for (size_t d = 0; d < space_.width(); ++d) {
      if (space_.space().dimensions()[d].name == name) return weights[d];
    }
    return 0.0;
  };
  // The resolution takes half of everything, a kernel a little of its own block.
  EXPECT_GT(of("r"), 2 * of("d2"));
  EXPECT_GT(of("d2"), 1.2 * of("k2.1"));
  EXPECT_DOUBLE_EQ(of("k2.1"), std::sqrt(0.3)) << "nothing is written off";
}

TEST_F(ObjectivePredictorTest, WithWeightsFewMeasurementsTeachMore) {
  // An accuracy that grows with the logarithm of MACs, confounded as spread first samples are.
  const auto accuracy = [this](const State* row) { return std::log(macs_.Evaluate(row)); };
  const DimensionWeights weights = WeightsByCost(space_, macs_);
  double with = 0;
  double without = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const Candidates few = Draws(14, seed);
    const Candidates others = Draws(200, 100 + seed);
    std::vector<double> values;
    for (size_t i = 0; i < few.size(); ++i) values.push_back(-accuracy(few.row(i)));
    const auto weighed = LearnQuality(space_, few, values, {3, 0, 0.1}, weights);
    const auto alike = LearnQuality(space_, few, values, {3, 0, 0.1});
    for (size_t i = 0; i < others.size(); ++i) {
      const double truth = -accuracy(others.row(i));
      with += std::abs(weighed->Mean(others.row(i)) - truth);
      without += std::abs(alike->Mean(others.row(i)) - truth);
    }
  }
  EXPECT_LT(with, 0.85 * without);
}

TEST_F(ObjectivePredictorTest, NoiseIsWhatArchitecturesDoNotExplain) {
  Random random(5);
  const Candidates rows = Draws(250, 4);
  std::vector<double> values;
  for (size_t i = 0; i < rows.size(); ++i) {
    double normal = -6;
    for (int k = 0; k < 12; ++k) normal += random.Double();
    values.push_back(std::log(macs_.Evaluate(rows.row(i))) + 0.1 * normal);
  }
  const PairwiseKernel kernel = PairwiseModel::Choose(space_, rows, values, /*additive=*/false);
  EXPECT_NEAR(LearnQuality(space_, rows, values, kernel)->Noise(), 0.1, 0.06);
  EXPECT_EQ(KnownObjective(
                space_, [](const Architecture&) { return 1.0; }, nullptr)
                ->Noise(),
            0);
}

TEST_F(ObjectivePredictorTest, CostIsAnAdditiveCorrectionOfWhatItIsInProportionTo) {
  const Candidates few = Draws(6, 1);
  const Candidates many = Draws(60, 2);
  const auto from_few = LearnCost(space_, few, Latencies(few), &macs_);
  const auto from_many = LearnCost(space_, many, Latencies(many), &macs_);
  const auto without = LearnCost(space_, few, Latencies(few), nullptr);
  ASSERT_TRUE(from_few != nullptr && from_many != nullptr && without != nullptr);
  EXPECT_LT(MeanRelativeError(*from_few), 0.1);
  EXPECT_LT(MeanRelativeError(*from_few), 0.6 * MeanRelativeError(*without));
  EXPECT_LT(MeanRelativeError(*from_many), 0.05);
  EXPECT_LT(MeanRelativeError(*from_many), MeanRelativeError(*from_few));
}

TEST_F(ObjectivePredictorTest, CostIsLearnedFromOneMeasurement) {
  const Candidates one = Draws(1, 3);
  const std::vector<double> values = {3e-8 * macs_.Evaluate(one.row(0))};
  const auto cost = LearnCost(space_, one, values, &macs_);
  ASSERT_NE(cost, nullptr);
  const Candidates others = Draws(5, 4);
  for (size_t i = 0; i < others.size(); ++i) {
    EXPECT_NEAR(cost->Mean(others.row(i)), 3e-8 * macs_.Evaluate(others.row(i)), 1e-9);
  }
}

TEST_F(ObjectivePredictorTest, CostHasTheBoundsAndScoresOfItsMeans) {
  const Candidates rows = Draws(30, 5);
  const auto cost = LearnCost(space_, rows, Latencies(rows), &macs_);
  ASSERT_NE(cost, nullptr);
  ASSERT_NE(cost->additive(), nullptr);
  std::vector<float> scores(rows.size());
  cost->scorer().Score(rows, absl::MakeSpan(scores));
  for (size_t i = 0; i < rows.size(); ++i) {
    const double mean = cost->Mean(rows.row(i));
    EXPECT_GE(mean, cost->additive()->cheapest().value - 1e-9);
    EXPECT_LE(mean, cost->additive()->dearest().value + 1e-9);
    EXPECT_FLOAT_EQ(scores[i], static_cast<float>(-mean));
    EXPECT_GT(cost->Deviation(rows.row(i)), 0);
  }
}

TEST_F(ObjectivePredictorTest, QualityIsLearnedInTheOrientationOfTheSearch) {
  const Candidates rows = Draws(80, 6);
  std::vector<double> values;  // less is better: an accuracy negated
  for (size_t i = 0; i < rows.size(); ++i) values.push_back(-90 - Latency(rows.row(i)));
  const auto quality = LearnQuality(space_, rows, values, {3, 0.1, 0.01});
  EXPECT_EQ(quality->additive(), nullptr);
  std::vector<float> scores(rows.size());
  quality->scorer().Score(rows, absl::MakeSpan(scores));
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(quality->Mean(rows.row(i)), values[i], 0.05);
    EXPECT_FLOAT_EQ(scores[i], static_cast<float>(-quality->Mean(rows.row(i))));
  }
}

TEST_F(ObjectivePredictorTest, WhatIsKnownIsCertain) {
  const auto macs = [this](const Architecture& a) { return Macs(a); };
  const auto compiled = KnownObjective(space_, macs, &macs_);
  const auto function = KnownObjective(space_, macs, nullptr);
  EXPECT_EQ(compiled->additive(), &macs_);
  EXPECT_EQ(function->additive(), nullptr);
  const Candidates rows = Draws(5, 8);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(compiled->Mean(rows.row(i)), function->Mean(rows.row(i)), 1);
    EXPECT_EQ(compiled->Deviation(rows.row(i)), 0);
    EXPECT_EQ(function->Deviation(rows.row(i)), 0);
  }
}

}  // namespace
}  // namespace forall
