// SPDX-License-Identifier: Apache-2.0
// Speed of the Pareto kernels at the sizes that the literature quotes, on uniform points and on
// points that are all on the frontier; std::sort of the same 2-D points is the yardstick of the
// filter.
#include <algorithm>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "search/pareto/frontier.h"
#include "search/pareto/hypervolume.h"
#include "search/pareto/nondominated_sort.h"
#include "search/pareto/pareto_filter.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

// Arguments: number of points, number of objectives, 1 when all are on the frontier.
PointSet MakePoints(const benchmark::State& state) {
  const int n = static_cast<int>(state.range(0));
  const int k = static_cast<int>(state.range(1));
  return state.range(2) == 1 ? FrontierPoints(n, k, 1) : UniformPoints(n, k, 1);
}

void BM_StdSort(benchmark::State& state) {
  const PointSet set = MakePoints(state);
  std::vector<std::pair<double, double>> points;
  for (size_t i = 0; i < set.values.size(); i += 2) {
    points.emplace_back(set.values[i], set.values[i + 1]);
  }
  for (auto _ : state) {
    auto copy = points;
    std::sort(copy.begin(), copy.end());
    benchmark::DoNotOptimize(copy.data());
  }
}
BENCHMARK(BM_StdSort)->Args({50000, 2, 0})->Args({50000, 2, 1})->Unit(benchmark::kMicrosecond);

void BM_Filter(benchmark::State& state) {
  const PointSet set = MakePoints(state);
  for (auto _ : state) benchmark::DoNotOptimize(ParetoFilter(set.view()));
}
BENCHMARK(BM_Filter)
    ->Args({50000, 2, 0})
    ->Args({50000, 2, 1})
    ->Args({40000, 3, 0})
    ->Args({40000, 3, 1})
    ->Args({10000, 4, 0})
    ->Args({10000, 4, 1})
    ->Unit(benchmark::kMicrosecond);

void BM_Rank(benchmark::State& state) {
  const PointSet set = MakePoints(state);
  for (auto _ : state) benchmark::DoNotOptimize(NonDominatedSort(set.view()));
}
BENCHMARK(BM_Rank)
    ->Args({20000, 2, 0})
    ->Args({20000, 2, 1})
    ->Args({20000, 3, 0})
    ->Args({20000, 3, 1})
    ->Args({5000, 4, 0})
    ->Unit(benchmark::kMicrosecond);

void BM_Hypervolume(benchmark::State& state) {
  const PointSet set = MakePoints(state);
  const std::vector<double> reference(set.objectives, 1.0);
  for (auto _ : state) benchmark::DoNotOptimize(Hypervolume(set.view(), reference));
}
BENCHMARK(BM_Hypervolume)
    ->Args({50000, 2, 0})
    ->Args({50000, 2, 1})
    ->Args({2000, 3, 0})
    ->Args({2000, 3, 1})
    ->Args({1200, 4, 0})
    ->Args({1200, 4, 1})
    ->Args({100, 5, 1})
    ->Unit(benchmark::kMicrosecond);

void BM_Contributions(benchmark::State& state) {
  const PointSet set = MakePoints(state);
  const std::vector<double> reference(set.objectives, 1.0);
  for (auto _ : state) benchmark::DoNotOptimize(HypervolumeContributions(set.view(), reference));
}
BENCHMARK(BM_Contributions)->Args({50000, 2, 1})->Args({500, 3, 1})->Unit(benchmark::kMicrosecond);

void BM_FrontierInsert(benchmark::State& state) {
  const PointSet set = MakePoints(state);
  for (auto _ : state) {
    Frontier frontier = Frontier::Create(set.objectives).value();
    for (int64_t i = 0; i < state.range(0); ++i) {
      const absl::Span<const double> point(set.view()[i], set.objectives);
      benchmark::DoNotOptimize(frontier.Insert(i, point));
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_FrontierInsert)
    ->Args({100000, 2, 0})
    ->Args({100000, 2, 1})
    ->Args({2000, 3, 1})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace forall
