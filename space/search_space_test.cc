// SPDX-License-Identifier: Apache-2.0
#include "space/search_space.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

// Two unconditional dimensions and one that lives only at depth 3.
SearchSpace MakeSpace() {
  return *SearchSpace::Create(
      "toy", 1,
      {{"r", {20, 24, 28}, {}}, {"d", {2, 3}, {}}, {"k3", {3, 5, 7}, ActivationCondition{1, 3}}});
}

TEST(SearchSpaceTest, CanonicalFormForgetsDeadDimensions) {
  const SearchSpace space = MakeSpace();
  const Architecture dead = {"toy", 1, {1, 0, 2}};
  EXPECT_FALSE(space.IsActive(dead, 2));
  EXPECT_EQ(space.Canonical(dead), (Architecture{"toy", 1, {1, 0, 0}}));
  const Architecture alive = {"toy", 1, {1, 1, 2}};
  EXPECT_EQ(space.Canonical(alive), alive);
}

TEST(SearchSpaceTest, SizeCountsDistinctNetworks) {
  // 3 resolutions x (depth 2: one network; depth 3: three kernels).
  EXPECT_NEAR(std::pow(10.0, MakeSpace().Log10Size()), 12, 1e-6);
}

TEST(SearchSpaceTest, SamplingReachesEveryNetworkAndOnlyCanonicalOnes) {
  const SearchSpace space = MakeSpace();
  Random random(1);
  std::set<std::vector<int32_t>> seen;
  for (int i = 0; i < 1000; ++i) {
    const Architecture a = space.Sample(&random);
    FORALL_ASSERT_OK(space.Validate(a));
    EXPECT_EQ(a, space.Canonical(a));
    seen.insert(a.choices);
  }
  EXPECT_EQ(seen.size(), 12u);
}

TEST(SearchSpaceTest, MutantAlwaysDiffersAndIsValid) {
  const SearchSpace space = MakeSpace();
  Random random(2);
  Architecture a = space.Smallest();
  for (int i = 0; i < 1000; ++i) {
    const Architecture child = space.Mutate(a, 0.1, &random);
    FORALL_ASSERT_OK(space.Validate(child));
    EXPECT_NE(child, a);
    EXPECT_EQ(child, space.Canonical(child));
    a = child;
  }
}

TEST(SearchSpaceTest, MutationOfZeroProbabilityMovesOneDimension) {
  const SearchSpace space =
      *SearchSpace::Create("flat", 1, {{"a", {1, 2, 3}, {}}, {"b", {1, 2, 3}, {}}});
  Random random(3);
  for (int i = 0; i < 100; ++i) {
    const Architecture child = space.Mutate(space.Smallest(), 0, &random);
    EXPECT_EQ((child.choices[0] != 0) + (child.choices[1] != 0), 1);
  }
}

TEST(SearchSpaceTest, CrossoverTakesEveryDimensionFromAParent) {
  const SearchSpace space = MakeSpace();
  Random random(4);
  const Architecture a = {"toy", 1, {0, 1, 0}};
  const Architecture b = {"toy", 1, {2, 1, 2}};
  std::set<std::vector<int32_t>> seen;
  for (int i = 0; i < 200; ++i) seen.insert(space.Crossover(a, b, &random).choices);
  EXPECT_EQ(seen, (std::set<std::vector<int32_t>>{{0, 1, 0}, {0, 1, 2}, {2, 1, 0}, {2, 1, 2}}));
}

TEST(SearchSpaceTest, EncodingIsOneHotAndZeroWhereDead) {
  const SearchSpace space = MakeSpace();
  EXPECT_EQ(space.EncodedSize(), 8);
  EXPECT_EQ(space.Encode({"toy", 1, {1, 0, 2}}), (std::vector<float>{0, 1, 0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(space.Encode({"toy", 1, {0, 1, 2}}), (std::vector<float>{1, 0, 0, 0, 1, 0, 0, 1}));
}

TEST(SearchSpaceTest, JsonRoundTrip) {
  const SearchSpace space = MakeSpace();
  const Architecture a = {"toy", 1, {2, 1, 1}};
  const std::string json = space.ToJson(a);
  EXPECT_EQ(json, R"({"search_space":"toy","revision":1,"choices":{"r":28,"d":3,"k3":5}})");
  EXPECT_THAT(space.FromJson(json), IsOkAndHolds(a));
}

TEST(SearchSpaceTest, JsonErrorsNameTheField) {
  const SearchSpace space = MakeSpace();
  struct Case {
    const char* json;
    const char* expected;
  };
  const Case cases[] = {
      {"[]", "JSON object"},
      {"{\"search_space\":\"toy\",\"revision\":1,\"choices\":{\"r\":28,\"d\":2},\"x\":1}",
       "unknown field x"},
      {R"({"search_space":"other","revision":1,"choices":{}})", "search_space"},
      {R"({"search_space":"toy","revision":2,"choices":{}})", "revision"},
      {R"({"search_space":"toy","revision":1,"choices":{"r":28,"q":1}})", "choices.q"},
      {R"({"search_space":"toy","revision":1,"choices":{"r":21,"d":2}})",
       "choices.r: 21 is not one of 20, 24, 28"},
      {R"({"search_space":"toy","revision":1,"choices":{"r":28}})", "choices.d is missing"},
      {R"({"search_space":"toy","revision":1,"choices":{"r":28,"d":3}})", "choices.k3 is missing"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(space.FromJson(c.json),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.expected)))
        << c.json;
  }
}

TEST(SearchSpaceTest, ValidateNamesTheChoice) {
  const SearchSpace space = MakeSpace();
  EXPECT_THAT(space.Validate({"toy", 1, {0, 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3 choices")));
  EXPECT_THAT(space.Validate({"toy", 1, {0, 7, 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("choices[1] (d)")));
  EXPECT_THAT(space.Validate({"toy", 1, {-1, 0, 0}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(space.Validate({"toy", 2, {0, 0, 0}}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(SearchSpaceTest, RefusesBadDimensions) {
  EXPECT_FALSE(SearchSpace::Create("s", 1, {{"a", {}, {}}}).ok());
  EXPECT_FALSE(SearchSpace::Create("s", 1, {{"a", {2, 1}, {}}}).ok());
  EXPECT_FALSE(SearchSpace::Create("s", 1, {{"a", {1}, {}}, {"a", {1}, {}}}).ok());
  EXPECT_FALSE(SearchSpace::Create("s", 1, {{"a", {1}, ActivationCondition{0, 1}}}).ok());
  EXPECT_FALSE(SearchSpace::Create("", 1, {{"a", {1}, {}}}).ok());
}

}  // namespace
}  // namespace forall
