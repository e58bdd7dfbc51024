// SPDX-License-Identifier: Apache-2.0
// How few measurements a sampler needs: every sampler searches a simulated world of ImageNet's
// difficulty, and its hypervolume is taken as it goes.
#ifndef FORALL_BENCH_SAMPLE_EFFICIENCY_BENCH_H_
#define FORALL_BENCH_SAMPLE_EFFICIENCY_BENCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "latency/table/latency_table.h"

namespace forall {

struct SampleEfficiencyOptions {
  std::string predictor;  // the published accuracy predictor's checkpoint
  int seeds = 10;
  uint64_t first_seed = 1;
  std::vector<int> at = {50, 80, 135, 250, 540};
  std::vector<std::string> samplers;  // empty: all
  int parallel = 4;                   // trials in flight
  // Each search of "guided" is made twice: cold, and knowing what a search of another seed has
  // measured in so many evaluations. 0: cold only.
  int warm_from = 0;
  // Where set, the cost is the latency of this table's device on OFA-MobileNetV3 w1.2, and a warm
  // search knows accuracies alone: those that were measured with MACs as the cost.
  const LatencyTable* table = nullptr;  // not owned
};

// The world: OFA-MobileNetV3 w1.0 at 224 pixels. A measured top-1 is 1.03882096 p - 8.99301042,
// p the predictor's percent (the line that maps it onto DyNAS-T's logs of ImageNet evaluations),
// and normal noise of 0.03 points that is a function of the network, so that one always measures
// the same. MACs are exact. The predictor never reaches the sampler. Hypervolume in point x GMAC of
// noise-free values, below the reference of 70 points and 600 MMACs. Latencies are exact, too, but
// have to be measured; the reference is that of the largest network.
//
// Prints for each sampler and checkpoint {"sampler", "evaluations", "hypervolume_median", "_min",
// "_max", "seeds", "warm_from"}, and at the end of each sampler the median seconds of a search.
absl::Status RunSampleEfficiencyBench(const SampleEfficiencyOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_SAMPLE_EFFICIENCY_BENCH_H_
