// SPDX-License-Identifier: Apache-2.0
// `forall-bench soak`: whether a controller that is used all day keeps its memory, descriptors and
// threads.
#ifndef FORALL_BENCH_SOAK_BENCH_H_
#define FORALL_BENCH_SOAK_BENCH_H_

#include <string>

#include "absl/status/status.h"

namespace forall {

struct SoakBenchOptions {
  double minutes = 10;
  int workers = 40;  // that stay; a quarter as many more come and go
  std::string supernet = "supernets/fashion_mnist";
};

// Rounds of about two seconds against a forall-controller of its own: workers come, work and vanish
// without a word, jobs are submitted, cancelled, listed, watched and left half read, while the
// other workers poll, report and say that they live. Between rounds, when nothing is under way, its
// resident memory, descriptors and threads are read. The first third is warm-up.
//
// OutOfRange when descriptors or threads grew by more than a handful, or, in runs of five minutes
// and more, memory by more than the trials that were stored explain: what the warm-up's trials took
// is not asked, but 8 KiB for each that came later, and 16 MiB of whatever kind.
absl::Status RunSoakBench(const SoakBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_SOAK_BENCH_H_
