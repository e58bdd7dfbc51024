// SPDX-License-Identifier: Apache-2.0
// What a lease costs the controller while it holds its lock.
#include <string>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "search/queue/lease_table.h"

namespace forall {
namespace {

LeaseTable::Options Options(int64_t life) {
  LeaseTable::Options options;
  for (int64_t epoch = 1; epoch <= life; ++epoch) {
    options.lives.push_back({epoch, std::string(kLifeSecretBytes, 's'), 1 << 20});
  }
  return options;
}

void AddTasks(LeaseTable* table, int64_t count) {
  for (int64_t id = 1; id <= count; ++id) {
    QueuedTask task;
    task.id = id;
    task.job = 1;
    table->AddTask(task);
  }
}

void BM_Grant(benchmark::State& state) {
  LeaseTable table(Options(1));
  table.RegisterWorker("pi5-lab-1", {}, "0123456789abcdef0123456789abcdef");
  constexpr int64_t kTasks = 100'000;
  int64_t left = 0;
  int64_t last = 0;
  for (auto _ : state) {
    if (left == 0) {
      state.PauseTiming();
      for (; last > 0; --last) table.RemoveTask(last);
      AddTasks(&table, kTasks);
      left = last = kTasks;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(table.Lease("pi5-lab-1", 1));
    --left;
  }
}
BENCHMARK(BM_Grant);

void BM_CheckCurrentLease(benchmark::State& state) {
  LeaseTable table(Options(1));
  const std::string instance = "0123456789abcdef0123456789abcdef";
  table.RegisterWorker("pi5-lab-1", {}, instance);
  AddTasks(&table, 1);
  const std::string token = table.Lease("pi5-lab-1", 1)->front().token;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.CheckInstance("pi5-lab-1", instance));
    benchmark::DoNotOptimize(table.CheckLease(1, token, "pi5-lab-1"));
  }
}
BENCHMARK(BM_CheckCurrentLease);

void BM_TakeUpALeaseOfAnEarlierLife(benchmark::State& state) {
  LeaseTable table(Options(16));
  table.RegisterWorker("pi5-lab-1", {});
  AddTasks(&table, 1);
  const std::string token = LeaseTokens(Options(3).lives).Make(7, 1, "pi5-lab-1");
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.CheckLease(1, token, "pi5-lab-1"));
    benchmark::DoNotOptimize(table.Release(1, token, "pi5-lab-1"));
  }
}
BENCHMARK(BM_TakeUpALeaseOfAnEarlierLife);

}  // namespace
}  // namespace forall
