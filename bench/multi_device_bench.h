// SPDX-License-Identifier: Apache-2.0
// One search for several devices against one search for each, and what a lookup table saves: both
// in a world made of published tables and the published accuracy predictor.
#ifndef FORALL_BENCH_MULTI_DEVICE_BENCH_H_
#define FORALL_BENCH_MULTI_DEVICE_BENCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/search_bench.h"

namespace forall {

struct MultiDeviceOptions {
  SearchBenchOptions search;  // space, predictor, tables: one for each device, two or more
  int seeds = 10;
  uint64_t first_seed = 1;
  std::vector<int> at = {50, 80, 135, 250};
  std::vector<std::string> samplers = {"guided"};
  int parallel = 4;
};

// The world: the space at the resolutions that all tables have. A measured top-1 is the predictor's
// percent and normal noise of 0.03 points, a measured latency the table's sum and noise of 1 %,
// each a function of the network and the device, so that one always measures the same. The sampler
// knows multiply-accumulates and what was measured. Hypervolume of noise-free values for each
// device by itself, below 75 points and the slowest network's latency: in point x that latency.
//
// Modes, at equal numbers of accuracy evaluations (the latencies of a subnet are measured on every
// device of its search): "joint", one search with an objective for each device; "separate", one
// search for each device with its share of the evaluations; "shared", the same, each device's
// frontier being taken from the subnets of all searches.
//
// Prints for each sampler, mode, device and checkpoint {"sampler", "mode", "device", "evaluations",
// "hypervolume_median", "_min", "_max", "seeds"}, and for each sampler and mode
// {"seconds_median"} of a search.
absl::Status RunMultiDeviceBench(const MultiDeviceOptions& options);

// How well a latency is known after few measurements, by what it is learned as a correction of:
// nothing, multiply-accumulates, the device's own table or another device's. The device's
// end-to-end latency is the sum over its table with every row off by a factor of its own (normal
// logarithms, 0.15), and noise of 1 %. Prints for each device, prior and number of measurements
// {"device", "prior", "measurements", "error_median", "seeds"}: the root mean square of relative
// errors over 1,000 other networks.
absl::Status RunTablePriorBench(const MultiDeviceOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_MULTI_DEVICE_BENCH_H_
