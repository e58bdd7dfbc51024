// SPDX-License-Identifier: Apache-2.0
// `forall-bench frontier-query`: what a controller that remembers many measurements takes to answer
// questions about them. The measurements are made up: 40 finished jobs on the Fashion-MNIST
// supernet's space whose trials each have both accuracies of 2,500 images, the bits of which
// images, and a latency on one device.
#ifndef FORALL_BENCH_FRONTIER_QUERY_BENCH_H_
#define FORALL_BENCH_FRONTIER_QUERY_BENCH_H_

#include <cstdint>

#include "absl/status/status.h"

namespace forall {

struct FrontierQueryBenchOptions {
  int rounds = 5;
  int64_t measurements = 1000000;
  bool check = false;  // whether a missed bar is an error (OutOfRange)
};

// One line per question, median milliseconds of rounds after one to warm up: a job's own
// objectives, other objectives of a job, other objectives over everything on the supernet, and the
// first page of a job's trials.
absl::Status RunFrontierQueryBench(const FrontierQueryBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_FRONTIER_QUERY_BENCH_H_
