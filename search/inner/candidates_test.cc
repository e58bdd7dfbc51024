// SPDX-License-Identifier: Apache-2.0
#include "search/inner/candidates.h"

#include <set>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A depth of 1 to 3 blocks, each with a kernel; a width beside them.
SearchSpace SmallSpace() {
  return SearchSpace::Create("small", 1,
                             {{"w", {8, 16}, {}},
                              {"d", {1, 2, 3}, {}},
                              {"k1", {3, 5, 7}, {}},
                              {"k2", {3, 5, 7}, ActivationCondition{1, 2}},
                              {"k3", {3, 5, 7}, ActivationCondition{1, 3}}})
      .value();
}

std::vector<State> Row(const Candidates& rows, size_t i) {
  return {rows.row(i), rows.row(i) + rows.width()};
}

TEST(CandidatesTest, RowsAreCanonicalAndTravelBothWays) {
  FORALL_ASSERT_OK_AND_ASSIGN(const CandidateSpace space, CandidateSpace::Create(SmallSpace()));
  Candidates rows(space.width());
  rows.Resize(2);
  const Architecture one = {"small", 1, {1, 0, 2, 1, 1}};
  const Architecture same = {"small", 1, {1, 0, 2, 0, 2}};
  FORALL_ASSERT_OK(space.ToRow(one, rows.row(0)));
  FORALL_ASSERT_OK(space.ToRow(same, rows.row(1)));
  EXPECT_THAT(Row(rows, 0), ElementsAre(1, 0, 2, 3, 3));
  EXPECT_EQ(Row(rows, 0), Row(rows, 1));
  EXPECT_EQ(space.Key(rows.row(0)), space.Key(rows.row(1)));
  EXPECT_EQ(space.ToArchitecture(rows.row(0)), space.space().Canonical(one));
  EXPECT_THAT(space.ToRow({"small", 1, {0, 0, 3, 0, 0}}, rows.row(0)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("k1")));
}

TEST(CandidatesTest, OptionsThatAreLeftOutAreNeverDrawn) {
  FORALL_ASSERT_OK_AND_ASSIGN(const CandidateSpace space,
                              CandidateSpace::Create(SmallSpace(), {{}, {}, {}, {0, 2}, {}}));
  Candidates rows(space.width());
  rows.Resize(3);
  Random random(1);
  for (int i = 0; i < 500; ++i) {
    space.Draw(0, &random, rows.row(0));
    space.Draw(2, &random, rows.row(1));
    space.CrossStages(rows.row(0), rows.row(1), &random, rows.row(2));
    space.Mutate(1 + i % 3, &random, rows.row(2));
    for (size_t r = 0; r < rows.size(); ++r) {
      EXPECT_NE(rows.row(r)[3], 1);
      Architecture architecture = space.ToArchitecture(rows.row(r));
      FORALL_EXPECT_OK(space.space().Validate(architecture));
      std::vector<State> again(space.width());
      FORALL_EXPECT_OK(space.ToRow(architecture, again.data()));
      EXPECT_EQ(again, Row(rows, r));
    }
  }
  EXPECT_THAT(space.ToRow({"small", 1, {0, 1, 0, 1, 0}}, rows.row(0)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("option 5 of k2")));
  EXPECT_THAT(CandidateSpace::Create(SmallSpace(), {{0, 2}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("dimension w")));
}

TEST(CandidatesTest, UsableKeepsWhatSomeNetworkHas) {
  // No table for width 16 or kernel 5 of the third block.
  const auto usable = [](const Architecture& a) -> absl::Status {
    const bool third = a.choices[1] == 2;
    if (a.choices[0] == 1 || (third && a.choices[4] == 1)) return absl::NotFoundError("no row");
    return absl::OkStatus();
  };
  FORALL_ASSERT_OK_AND_ASSIGN(const CandidateSpace space,
                              CandidateSpace::Usable(SmallSpace(), usable));
  EXPECT_THAT(space.allowed(0), ElementsAre(0));
  EXPECT_THAT(space.allowed(1), ElementsAre(0, 1, 2));
  EXPECT_THAT(space.allowed(4), ElementsAre(0, 2));
  EXPECT_THAT(CandidateSpace::Usable(
                  SmallSpace(), [](const Architecture&) { return absl::NotFoundError("nothing"); }),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nothing")));
}

TEST(CandidatesTest, EveryNetworkOfASmallSpaceIsDrawnAndHasItsOwnKey) {
  FORALL_ASSERT_OK_AND_ASSIGN(const CandidateSpace space, CandidateSpace::Create(SmallSpace()));
  std::set<std::string> rows;
  std::set<uint64_t> keys;
  std::vector<State> row(space.width());
  Random random(2);
  for (int i = 0; i < 4000; ++i) {
    space.Draw(i % 2, &random, row.data());
    rows.insert(std::string(row.begin(), row.end()));
    keys.insert(space.Key(row.data()));
  }
  EXPECT_EQ(rows.size(), 2u * (3 + 9 + 27));
  EXPECT_EQ(keys.size(), rows.size());
}

TEST(CandidatesTest, AMutationMovesOneOptionAndACrossingTakesWholeStages) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.0"));
  FORALL_ASSERT_OK_AND_ASSIGN(const CandidateSpace space,
                              CandidateSpace::Create(family->search_space()));
  std::vector<State> small(space.width());
  std::vector<State> large(space.width());
  std::vector<State> child(space.width());
  FORALL_ASSERT_OK(space.ToRow(space.space().Smallest(), small.data()));
  FORALL_ASSERT_OK(space.ToRow(space.space().Largest(), large.data()));
  Random random(3);
  for (int i = 0; i < 200; ++i) {
    child = large;
    space.Mutate(1, &random, child.data());
    int moved = 0;
    for (size_t d = 0; d < child.size(); ++d) {
      moved += child[d] != large[d] && child[d] != space.inactive(d) ? 1 : 0;
    }
    EXPECT_EQ(moved, 1);
    space.CrossStages(small.data(), large.data(), &random, child.data());
    for (size_t d = 1; d < child.size(); ++d) {  // the first dimension of a stage is its depth
      const bool depth = space.space().dimensions()[d].name[0] == 'd';
      if (depth || d == 1) continue;
      EXPECT_EQ(child[d] == large[d], child[d - 1] == large[d - 1]) << d;
    }
  }
}

}  // namespace
}  // namespace forall
