// SPDX-License-Identifier: Apache-2.0
// `forall-bench pareto`: the Pareto kernels of search/pareto against pagmo and std::sort on the
// same points, uniform ones and ones that are all on the frontier. Built where pagmo is found.
#ifndef FORALL_BENCH_PARETO_BENCH_H_
#define FORALL_BENCH_PARETO_BENCH_H_

#include "absl/status/status.h"

namespace forall {

struct ParetoBenchOptions {
  int rounds = 5;
  int64_t points = 0;  // at most so many in each case; 0: as many as the case wants
  bool check = false;  // whether a missed bar is an error (OutOfRange)
};

// One line per kernel, number of objectives and kind of data: milliseconds of ours, of pagmo's best
// way to the same answer and, for two objectives, of std::sort of the points as pairs, medians of
// rounds in turn; `ratio` is pagmo's time by ours. pagmo holds its points in its own form and a
// hypervolume object before its time begins. Where one run of pagmo takes longer than a second it
// is the only one (`pagmo_runs`). A case with fewer points than the bar names has no bar. Then one
// line per frontier size: nanoseconds to insert a point into a 2-D frontier of that size. Internal
// when the two disagree on an answer.
absl::Status RunParetoBench(const ParetoBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_PARETO_BENCH_H_
