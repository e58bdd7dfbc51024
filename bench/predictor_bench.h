// SPDX-License-Identifier: Apache-2.0
// Which model learns subnets' accuracies best from few measurements: the one that guided search
// uses against gradient-boosted trees and an ensemble of small perceptrons, on real ImageNet
// evaluations. The figures behind docs/adr/0007-guided-search.md.
#ifndef FORALL_BENCH_PREDICTOR_BENCH_H_
#define FORALL_BENCH_PREDICTOR_BENCH_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace forall {

struct PredictorBenchOptions {
  std::string logs;  // folder with DyNAS-T's CSV files of OFA-MobileNetV3 w1.0 evaluations
  int seeds = 10;
  std::vector<int> at = {25, 50, 100, 200, 400};  // measurements learned from
};

// Every seed draws another training set; what is left is the test set. Prints for each model and
// size {"model", "trained_on", "rmse_median", "kendall_median", "spearman_median",
// "fit_seconds_median", "seeds"}. XGBoost takes part where its library was found at build time.
absl::Status RunPredictorBench(const PredictorBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_PREDICTOR_BENCH_H_
