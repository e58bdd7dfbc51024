// SPDX-License-Identifier: Apache-2.0
// `forall-bench evaluator`: what the accuracy evaluator costs beyond running the network. Several
// subnets of the fashion_mnist family are evaluated on real images, in turn with a bare ONNX
// Runtime loop over the same images: session made and images loaded beforehand, nothing counted,
// same number of threads, at the batch size that is fastest for it.
#ifndef FORALL_BENCH_EVALUATOR_BENCH_H_
#define FORALL_BENCH_EVALUATOR_BENCH_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace forall {

struct EvaluatorBenchOptions {
  // As data/dataset.h's OpenDataset.
  std::string data;
  int64_t images = 2500;
  int rounds = 5;
  // 0: one per usable core.
  int threads = 0;
  // Whether a ratio above the bar is an error (OutOfRange).
  bool check = false;
};

// Prints one JSON line per subnet to standard output, with both medians in seconds and the median
// of the rounds' ratios, and a last one over all subnets ("within_bar": the median ratio is at
// most 1.18). The evaluator's time is all of it: session creation, loading, counting. Errors: data,
// runtime.
absl::Status RunEvaluatorBench(const EvaluatorBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_EVALUATOR_BENCH_H_
