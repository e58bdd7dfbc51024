// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/thread.h"

namespace forall {

int UsableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

absl::Status ParallelFor(int threads, int64_t count,
                         const std::function<absl::Status(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  Mutex mu;
  int64_t failed = count;
  absl::Status failure;
  const auto work = [&] {
    while (true) {
      const int64_t number = next.fetch_add(1, std::memory_order_relaxed);
      if (number >= count) return;
      absl::Status status;
      try {
        status = body(number);
      } catch (const std::bad_alloc&) {
        status = absl::ResourceExhaustedError("out of memory");
      }
      if (status.ok()) continue;
      next.store(count, std::memory_order_relaxed);
      MutexLock lock(&mu);
      if (number < failed) {
        failed = number;
        failure = std::move(status);
      }
      return;
    }
  };
  const int64_t all = threads > 0 ? threads : UsableCores();
  std::vector<Thread> others;
  for (int64_t i = 1; i < std::min(all, count); ++i) others.emplace_back("parallel", work);
  work();
  others.clear();
  MutexLock lock(&mu);
  return failure;
}

}  // namespace forall
