// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/sampler_factory.h"

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/sampler/test_world.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(SamplerFactoryTest, ListsTheKnownNamesForAnUnknownOne) {
  const TestWorld world;
  EXPECT_THAT(CreateSampler("anneal", world.Options(), world.space(), 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"anneal\""), HasSubstr("random, evolution, nsga2"))));
}

TEST(SamplerFactoryTest, NamesTheOptionThatIsWrong) {
  const TestWorld world;
  const auto create = [&world](const char* name, auto change) {
    SamplerOptions options = world.Options();
    change(&options);
    return CreateSampler(name, options, world.space(), 1).status();
  };
  const auto refuses = [](const char* option) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(option));
  };
  for (const char* name : {"evolution", "nsga2"}) {
    EXPECT_THAT(create(name, [](SamplerOptions* o) { o->cost = nullptr; }),
                refuses("cost function"));
    EXPECT_THAT(create(name, [](SamplerOptions* o) { o->initial_samples = -1; }),
                refuses("initial_samples"));
  }
  EXPECT_THAT(create("evolution", [](SamplerOptions* o) { o->evolution.population = 0; }),
              refuses("evolution.population"));
  EXPECT_THAT(create("evolution", [](SamplerOptions* o) { o->evolution.parent_ratio = 1.5; }),
              refuses("evolution.parent_ratio"));
  EXPECT_THAT(create("nsga2", [](SamplerOptions* o) { o->nsga2.population = -1; }),
              refuses("nsga2.population"));
  EXPECT_THAT(create("nsga2", [](SamplerOptions* o) { o->nsga2.crossover_probability = -0.1; }),
              refuses("nsga2.crossover_probability"));
}

}  // namespace
}  // namespace forall
