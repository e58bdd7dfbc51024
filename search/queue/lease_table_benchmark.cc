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

// Of the tasks of `jobs` jobs of ten tenants and three priorities, 10,000 in all, for a worker that
// can do those of every second job.
void BM_GrantAmongJobs(benchmark::State& state) {
  const int64_t jobs = state.range(0);
  constexpr int64_t kTasks = 10'000;
  LeaseTable table(Options(1));
  WorkerOffer offer;
  offer.datasets = {"even"};
  table.RegisterWorker("pi5-lab-1", offer);
  for (int64_t job = 1; job <= jobs; ++job) {
    table.SetShare(job, {.priority = static_cast<int32_t>(job / 20 % 3),
                         .tenant = absl::StrCat("tenant ", job / 2 % 10),
                         .weight = 1 + static_cast<double>(job % 7)});
  }
  const auto add = [&](int64_t id) {
    QueuedTask task;
    task.id = id;
    task.job = 1 + id % jobs;
    task.needs.kind = TaskKind::kAccuracy;
    task.needs.dataset = task.job % 2 == 0 ? "even" : "odd";
    table.AddTask(task);
  };
  for (int64_t id = 1; id <= kTasks; ++id) add(id);
  for (auto _ : state) {
    const int64_t task = table.Lease("pi5-lab-1", 1)->front().task;
    table.Complete(task);
    add(task);
  }
}
BENCHMARK(BM_GrantAmongJobs)->Arg(10)->Arg(100)->Arg(1000);

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
