// SPDX-License-Identifier: Apache-2.0
#include "search/inner/predictor_scorer.h"

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

// A predictor with random weights over all dimensions of a family but every seventh; the first
// resolution is not known to it.
std::shared_ptr<const AccuracyPredictor> MakePredictor(const std::shared_ptr<const Family>& family,
                                                       const std::vector<int64_t>& widths) {
  PredictorFile file;
  file.search_space = family->search_space().id();
  file.revision = family->search_space().revision();
  int64_t in = 0;
  for (size_t d = 0; d < family->search_space().dimensions().size(); ++d) {
    if (d % 7 == 6) continue;
    const Dimension& dimension = family->search_space().dimensions()[d];
    FeatureGroup group{dimension.name, dimension.options};
    if (dimension.name == "r") group.values.erase(group.values.begin());
    in += static_cast<int64_t>(group.values.size());
    file.features.push_back(std::move(group));
  }
  Random random(11);
  std::vector<int64_t> outs = widths;
  outs.push_back(1);
  for (const int64_t out : outs) {
    PredictorLayer layer{in, out, {}, {}};
    for (int64_t i = 0; i < in * out; ++i) {
      layer.weight.push_back(static_cast<float>(random.Gaussian() / std::sqrt(in)));
    }
    for (int64_t i = 0; i < out; ++i) {
      layer.bias.push_back(static_cast<float>(0.2 * random.Gaussian()));
    }
    file.layers.push_back(std::move(layer));
    in = out;
  }
  file.layers.back().bias[0] += 0.7f;
  return AccuracyPredictor::Parse(SerializePredictor(file).value(), "test", family).value();
}

CandidateSpace KnownSpace(const Family& family, const AccuracyPredictor& predictor) {
  return CandidateSpace::Usable(family.search_space(),
                                [&](const Architecture& a) -> absl::Status {
                                  return predictor.Knows(a) ? absl::OkStatus()
                                                            : absl::NotFoundError("not known");
                                })
      .value();
}

std::vector<InstructionSet> SetsOfThisMachine() {
  std::vector<InstructionSet> sets = {InstructionSet::kBaseline};
  if (BestInstructionSet() >= InstructionSet::kAvx2) sets.push_back(InstructionSet::kAvx2);
  if (BestInstructionSet() >= InstructionSet::kAvx512) sets.push_back(InstructionSet::kAvx512);
  return sets;
}

TEST(PredictorScorerTest, AgreesWithThePredictorOnEveryInstructionSet) {
  for (const char* const name : {"ofa_mbv3_w1.0", "ofa_resnet50", "fashion_mnist"}) {
    const auto family = *FindFamily(name);
    // No hidden layer, one, and odd widths.
    for (const std::vector<int64_t>& widths :
         std::vector<std::vector<int64_t>>{{}, {5}, {37, 1}, {128, 67, 33}}) {
      const auto predictor = MakePredictor(family, widths);
      const CandidateSpace space = KnownSpace(*family, *predictor);
      Candidates rows(space.width());
      Random random(5);
      for (const size_t count : {1, 16, 17, 31, 32, 70}) {
        rows.Resize(count);
        for (size_t i = 0; i < count; ++i) space.Draw(0, &random, rows.row(i));
        for (const InstructionSet set : SetsOfThisMachine()) {
          FORALL_ASSERT_OK_AND_ASSIGN(const auto scorer,
                                      PredictorScorer::Create(space, *predictor, set));
          std::vector<float> scores(count);
          scorer->Score(rows, absl::MakeSpan(scores));
          for (size_t i = 0; i < count; ++i) {
            const double exact = *predictor->Predict(space.ToArchitecture(rows.row(i)));
            ASSERT_NEAR(static_cast<double>(scores[i]), exact, 1e-5 * std::max(10.0, exact))
                << name << " " << widths.size() << " hidden layers, " << InstructionSetName(set);
          }
        }
      }
    }
  }
}

// A candidate's score does not depend on who else is in the batch.
TEST(PredictorScorerTest, ScoresDoNotDependOnTheBatch) {
  const auto family = *FindFamily("ofa_mbv3_w1.2");
  const auto predictor = MakePredictor(family, {64, 48});
  const CandidateSpace space = KnownSpace(*family, *predictor);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto scorer, PredictorScorer::Create(space, *predictor));
  Candidates rows(space.width());
  rows.Resize(50);
  Random random(6);
  for (size_t i = 0; i < rows.size(); ++i) space.Draw(0, &random, rows.row(i));
  std::vector<float> together(rows.size());
  scorer->Score(rows, absl::MakeSpan(together));
  for (size_t i = 0; i < rows.size(); ++i) {
    Candidates one(space.width());
    one.Append(rows.row(i));
    float alone = 0;
    scorer->Score(one, absl::MakeSpan(&alone, 1));
    EXPECT_EQ(alone, together[i]);
  }
}

TEST(PredictorScorerTest, ForeignSpacesAndUnknownOptionsAreRefused) {
  const auto family = *FindFamily("ofa_mbv3_w1.0");
  const auto predictor = MakePredictor(family, {8});
  FORALL_ASSERT_OK_AND_ASSIGN(const CandidateSpace all,
                              CandidateSpace::Create(family->search_space()));
  EXPECT_THAT(PredictorScorer::Create(all, *predictor),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("option 128 of r")));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const CandidateSpace other,
      CandidateSpace::Create((*FindFamily("ofa_mbv3_w1.2"))->search_space()));
  EXPECT_THAT(PredictorScorer::Create(other, *predictor),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not for ofa_mbv3_w1.2")));
}

}  // namespace
}  // namespace forall
