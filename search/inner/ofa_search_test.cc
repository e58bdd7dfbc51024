// SPDX-License-Identifier: Apache-2.0
// The search on the authors' own predictor and lookup tables, where they lie beside the repository.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/table/latency_table.h"
#include "search/inner/frontier_search.h"
#include "search/inner/predictor_scorer.h"
#include "space/family.h"
#include "supernet/predictor/predictor_import.h"

namespace forall {
namespace {

// The best accuracies known at these bounds, in ms on the Note10 (predicted, percent).
constexpr std::pair<double, double> kBestKnown[] = {
    {15, 78.800}, {20, 80.79}, {25, 82.22}, {30, 83.05}, {35, 83.68}, {45, 84.82}, {60, 85.40}};
constexpr double kWithin = 0.05;  // points

TEST(OfaSearchTest, AllBoundsOfOneRunAreAtTheBestKnownAccuracy) {
  const char* const source = std::getenv("FORALL_SOURCE_DIR");
  const std::string folder =
      absl::StrCat(source == nullptr ? "." : source, "/../shared/data/ofa_note10/");
  const std::string predictor_path = folder + "acc_predictor.pth";
  if (!ReadFile(predictor_path).ok())
    GTEST_SKIP() << "no published predictor beside the repository";

  const auto family = *FindFamily("ofa_mbv3_w1.2");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const PredictorFile file,
      ImportPredictor(predictor_path, *family, FeatureOrder::kKernelExpandResolution, {}));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto predictor,
      AccuracyPredictor::Parse(SerializePredictor(file).value(), predictor_path, family));
  LatencyTable table;
  for (const int resolution : {160, 176, 192, 208, 224}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string text,
                                ReadFile(absl::StrCat(folder, resolution, "_lookup_table.yaml")));
    FORALL_ASSERT_OK_AND_ASSIGN(LatencyRows rows, ParsePublishedTable(text, 1));
    FORALL_ASSERT_OK(AddRows(std::move(rows), &table));
  }
  const CostOracle latency = [&](const Architecture& a) -> absl::StatusOr<double> {
    const absl::StatusOr<Network> network = family->Describe(a);
    if (!network.ok()) return network.status();
    return table.Sum(*network);
  };
  FORALL_ASSERT_OK_AND_ASSIGN(
      const CandidateSpace space,
      CandidateSpace::Usable(family->search_space(), [&](const Architecture& a) -> absl::Status {
        if (!predictor->Knows(a)) return absl::NotFoundError("not known to the predictor");
        return latency(a).status();
      }));
  EXPECT_EQ(space.allowed(0).size(), 5u);
  FORALL_ASSERT_OK_AND_ASSIGN(const FactoredCost cost, FactoredCost::Compile(space, latency));
  EXPECT_NEAR(cost.cheapest().value, 9.890347, 1e-6);
  EXPECT_NEAR(cost.dearest().value, 92.398038, 1e-6);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto scorer, PredictorScorer::Create(space, *predictor));

  SearchedCost searched{.cost = &cost};
  for (const auto& [bound, accuracy] : kBestKnown) searched.marks.push_back(bound);
  searched.high = searched.marks.back();
  FORALL_ASSERT_OK_AND_ASSIGN(const FrontierSearchResult result,
                              SearchFrontier(space, {searched}, *scorer, {.budget = 300000}));
  for (const auto& [bound, accuracy] : kBestKnown) {
    double best = 0;
    for (const FrontierPoint& point : result.frontier) {
      const Architecture architecture = space.ToArchitecture(point.row.data());
      if (point.costs[0] > bound) continue;
      EXPECT_NEAR(latency(architecture).value(), point.costs[0], 1e-6);
      best = std::max(best, predictor->Predict(architecture).value());
    }
    EXPECT_GE(best, accuracy - kWithin) << bound;
  }
}

}  // namespace
}  // namespace forall
