// SPDX-License-Identifier: Apache-2.0
// How many real measurements a sampler needs: the supernet that ships, its accuracies on validation
// images, its latencies on this machine.
#ifndef FORALL_BENCH_MEASURED_SEARCH_BENCH_H_
#define FORALL_BENCH_MEASURED_SEARCH_BENCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace forall {

struct MeasuredSearchOptions {
  std::string data;                                  // folder with the Fashion-MNIST files
  std::string supernet = "supernets/fashion_mnist";  // package
  std::string results;                               // measurements kept here, and reused from here
  int seeds = 3;
  uint64_t first_seed = 1;
  std::vector<int> at = {25, 50, 75, 100, 150};  // the last one is the budget
  std::vector<std::string> samplers = {"guided", "nsga2", "random"};
  int64_t images = 0;  // of the validation split, in the order of screenings; 0: all
  int parallel = 4;    // trials in flight
  int threads = 0;     // of accuracies; 0: one per core
};

// Objectives: top-1 on validation images, latency as a screening ratio times the reference's
// baseline. A subnet is measured once, whoever proposes it: samplers are compared on equal numbers.
// Its seconds (not the wait for other programs' timings) are charged to each sampler that proposes
// it, with the sampler's own. Hypervolume in point x ms, below 1.1 times the latency of the largest
// subnet and half a point under the accuracy of the smallest.
//
// Prints for each sampler and checkpoint {"sampler", "evaluations", "hypervolume_median", "_min",
// "_max", "seconds_median", "seeds"}, and for guided against each other one the median over seeds
// of the evaluations after which it had the other's hypervolume at the end ("share" of the budget,
// "seconds_share" of the other's time).
//
// `results` has a line of JSON per measured subnet: {"supernet", "images", "choices",
// "accuracy", "ratio", "seconds"}; a run that was cut goes on from there, and samplers can be tried
// again on what is known. Errors: InvalidArgument for a line of another supernet or of other
// images; NotFound without the data.
absl::Status RunMeasuredSearchBench(const MeasuredSearchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_MEASURED_SEARCH_BENCH_H_
