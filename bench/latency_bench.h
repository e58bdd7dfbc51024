// SPDX-License-Identifier: Apache-2.0
// How well latencies of this machine repeat: forall's way against fixed protocols, with and without
// other programs at work.
#ifndef FORALL_BENCH_LATENCY_BENCH_H_
#define FORALL_BENCH_LATENCY_BENCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace forall {

struct LatencyBenchOptions {
  int probes = 20;
  uint64_t seed = 1;
  std::vector<std::string> loads = {"quiet", "intermittent"};
  bool check = false;
};

// Probes: subnets of fashion_mnist with formula weights, whose latencies lie about 2 to 5 % apart
// as far as screenings can tell. Each is measured in two sweeps of different order, every time in a
// process started for it, by each protocol in turn:
//   forall   profile "standard": a ratio to the interleaved reference
//   tflite   benchmark_model's defaults: mean of at least 50 runs and 1 s, after at least 1 run and
//            0.5 s of warm-up (tensorflow/lite/tools/benchmark/README.md)
//   ncnn     benchncnn's defaults: smallest of 4 runs after 8 (ncnn/benchmark/README.md)
// "quiet" is the machine as it is; "intermittent" has a busy thread for each core but one, on and
// off for 0.7 s on average each, in a pattern of the seed.
//
// Prints for each load and protocol {"benchmark":"latency", "protocol", "load", "kendall_tau" of
// the two sweeps, "median_relative_difference" and "largest_relative_difference" between them,
// "interval_agreement" (share of measurements whose interval holds the other sweep's value; null
// for fixed protocols, which have none), "trusted" (share), "seconds_per_measurement" (process
// start included), "probes"}. `check`: bars missed are an error.
absl::Status RunLatencyBench(const LatencyBenchOptions& options);

// What a fixed protocol's process does: loads a model file and prints what it measured.
// `arguments`: protocol, file.
absl::Status RunFixedProtocol(const std::vector<std::string>& arguments);

}  // namespace forall

#endif  // FORALL_BENCH_LATENCY_BENCH_H_
