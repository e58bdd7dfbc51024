// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/hypervolume_3d.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "search/pareto/hypervolume.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The same volume by other code: as four objectives, one of which is the same for all.
double Oracle(const PointSet& set, const std::vector<double>& reference) {
  std::vector<double> lifted;
  for (int64_t i = 0; i < set.view().size(); ++i) {
    lifted.push_back(0);
    for (const double value : set.Row(i)) lifted.push_back(value);
  }
  std::vector<double> limit = {1};
  limit.insert(limit.end(), reference.begin(), reference.end());
  return Hypervolume({lifted, 4}, limit).value();
}

template <typename PointOf>
PointSet Make(std::string name, int n, PointOf point_of) {
  PointSet set{std::move(name), {}, 3};
  Random random(static_cast<uint64_t>(n));
  for (int i = 0; i < n; ++i) {
    const std::vector<double> point = point_of(i, &random);
    set.values.insert(set.values.end(), point.begin(), point.end());
  }
  return set;
}

std::vector<double> Thrice(Random* random, double (*value)(Random*)) {
  return {value(random), value(random), value(random)};
}

// Points of the unit cube that buckets like, and such that they do not.
std::vector<PointSet> AdversarialSets(int n) {
  std::vector<PointSet> sets = AllKindsOfPoints(3, {n});
  const double size = n;
  sets.push_back(Make("two far clusters", n, [](int /*i*/, Random* random) {
    return Thrice(random,
                  [](Random* r) { return (r->Uniform(2) == 0 ? 0.1 : 0.9) + 1e-12 * r->Double(); });
  }));
  sets.push_back(Make("one outlier", n, [](int i, Random* random) {
    if (i == 7) return std::vector<double>{0, 0.9, 0.9};
    return Thrice(random, [](Random* r) { return 0.9 + 1e-9 * r->Double(); });
  }));
  sets.push_back(Make("heavy tails", n, [](int /*i*/, Random* random) {
    return Thrice(random,
                  [](Random* r) { return 0.5 + 1e-4 * std::tan(3.1 * (r->Double() - 0.5)); });
  }));
  sets.push_back(Make("many denormals", n, [](int i, Random* random) {
    const double tiny = std::numeric_limits<double>::denorm_min();
    return std::vector<double>{tiny * (i % 5), random->Double(),
                               tiny * static_cast<double>(random->Uniform(9))};
  }));
  // Every point a step of the frontier in the plane, none of which is ever driven out.
  sets.push_back(Make("a plane's frontier", n, [size](int i, Random* random) {
    return std::vector<double>{random->Double(), i / size, 1 - i / size};
  }));
  // Each point drives out all before it.
  sets.push_back(Make("a diagonal down", n, [size](int i, Random* /*random*/) {
    return std::vector<double>{i / size, 1 - i / size, 1 - i / size};
  }));
  // Every hundredth drives out a hundred.
  sets.push_back(Make("a saw", n, [size](int i, Random* /*random*/) {
    const double tooth = i / 100;
    const double within = i % 100 / 100.0;
    return std::vector<double>{i / size, (1 - tooth / size) * (0.1 + 0.8 * within),
                               1 - tooth / size - 0.5 * within};
  }));
  sets.push_back(Make("all in one bucket of the plane", n, [size](int i, Random* /*random*/) {
    const double near = i < 2 ? i : 0.5 + 1e-6 * i / size;
    return std::vector<double>{(i * 7919) % 1009 / 1010.0, near, 1 - near};
  }));
  sets.push_back(Make("beyond the reference", n, [](int i, Random* random) {
    std::vector<double> point = Thrice(random, [](Random* r) { return r->Double(); });
    if (i % 3 == 0) point[static_cast<size_t>(i / 3 % 3)] = i % 2 == 0 ? kInfinity : 5;
    return point;
  }));
  for (int constant = 0; constant < 3; ++constant) {
    PointSet flat = FrontierPoints(n, 3, 77);
    for (int64_t i = constant; i < 3 * n; i += 3) flat.values[static_cast<size_t>(i)] = 0.25;
    flat.name = "constant objective " + std::to_string(constant);
    sets.push_back(std::move(flat));
  }
  PointSet twice = FrontierPoints(n, 3, 78);
  twice.values.insert(twice.values.end(), twice.values.begin(), twice.values.end());
  twice.name = "every point twice";
  sets.push_back(std::move(twice));
  return sets;
}

TEST(SpreadHypervolume3Test, IsTheVolumeOrNothing) {
  int answered = 0;
  for (const int n : {64, 65, 150, 700}) {
    for (const PointSet& set : AdversarialSets(n)) {
      for (const double bound : {1.1, 0.7, 1e6}) {
        const std::vector<double> reference = {bound, bound + 0.01, bound - 0.01};
        const double expected = Oracle(set, reference);
        const std::optional<double> volume = SpreadHypervolume3(set.view(), reference.data());
        answered += volume.has_value() ? 1 : 0;
        EXPECT_NEAR(volume.value_or(expected), expected, 1e-10 * expected)
            << set.name << " n=" << n << " below " << bound;
        // And so is what the caller makes of nothing.
        EXPECT_NEAR(Hypervolume(set.view(), reference).value(), expected, 1e-10 * expected)
            << set.name << " n=" << n << " below " << bound;
      }
    }
  }
  EXPECT_GT(answered, 100);
}

TEST(SpreadHypervolume3Test, AnswersWhereValuesAreSpreadOut) {
  const std::vector<double> reference = {1.1, 1.1, 1.1};
  for (const int n : {64, 500, 2000, 20000}) {
    for (const PointSet& set : {UniformPoints(n, 3, 1), FrontierPoints(n, 3, 2)}) {
      EXPECT_TRUE(SpreadHypervolume3(set.view(), reference.data()).has_value()) << set.name << n;
    }
  }
}

TEST(SpreadHypervolume3Test, TheOrderOfPointsDoesNotMatter) {
  const std::vector<double> reference = {1.1, 1.1, 1.1};
  for (const PointSet& set : AdversarialSets(300)) {
    PointSet reversed = set;
    std::reverse(reversed.values.begin(), reversed.values.end());
    for (int64_t i = 0; i < reversed.view().size(); ++i) {
      std::swap(reversed.values[static_cast<size_t>(3 * i)],
                reversed.values[static_cast<size_t>(3 * i + 2)]);
    }
    const double volume = Hypervolume(set.view(), reference).value();
    EXPECT_NEAR(Hypervolume(reversed.view(), reference).value(), volume, 1e-12 * volume)
        << set.name;
  }
}

TEST(SpreadHypervolume3Test, NothingForWhatOnlyACallerCanJudge) {
  const std::vector<double> reference = {1.1, 1.1, 1.1};
  for (const double bad : {std::nan(""), -std::nan(""), -kInfinity}) {
    for (size_t place = 0; place < 3; ++place) {
      for (const PointSet& good : {UniformPoints(200, 3, 1), FrontierPoints(200, 3, 1)}) {
        PointSet set = good;
        set.values[3 * 150 + place] = bad;
        set.values[3 * 20 + (place + 1) % 3] = kInfinity;
        EXPECT_EQ(SpreadHypervolume3(set.view(), reference.data()), std::nullopt);
        EXPECT_THAT(Hypervolume(set.view(), reference),
                    ::forall::testing::StatusIs(absl::StatusCode::kInvalidArgument));
      }
    }
  }
  EXPECT_EQ(SpreadHypervolume3({{}, 3}, reference.data()), std::nullopt);
  EXPECT_EQ(SpreadHypervolume3(FrontierPoints(66000, 3, 1).view(), reference.data()), std::nullopt);
}

TEST(SpreadHypervolume3Test, RangesThatOverflowOrVanishAreLeftToTheCaller) {
  for (const double scale : {1.7e308, 1e-320}) {
    PointSet set = UniformPoints(300, 3, 4);
    for (size_t i = 0; i < set.values.size(); ++i) {
      set.values[i] = i % 3 == 0 ? scale * (2 * set.values[i] - 1) : set.values[i];
    }
    const std::vector<double> reference = {1.75e308, 1.1, 1.1};
    EXPECT_EQ(SpreadHypervolume3(set.view(), reference.data()), std::nullopt) << scale;
  }
}

TEST(SpreadHypervolume3Test, NoPointInsideIsNoVolume) {
  const std::vector<double> reference = {-1, 1, 1};
  EXPECT_EQ(Hypervolume(UniformPoints(100, 3, 1).view(), reference).value(), 0);
}

}  // namespace
}  // namespace forall
