// SPDX-License-Identifier: Apache-2.0
// LiteRT's (TensorFlow Lite's) benchmark_model. It tells no single runs: not in its log, and
// --profiling_output_csv_file holds operators (tensorflow/tensorflow, tensorflow/lite/tools/
// benchmark/README.md). What is read is the last statistics line, "count=50 first=.. curr=..
// min=.. max=.. avg=.. std=.." and since 2024 " p5=.. median=.. p95=..", in microseconds
// (benchmark_model.cc, BenchmarkModel::Run; tsl/util/stats_calculator.h, Stat::OutputToStream and
// StatWithPercentiles), confirmed by "Inference timings in us: ... Inference (avg): .." at its end.
// A call's sample is the median where there is one, else the mean.
#ifndef FORALL_LATENCY_BACKEND_RECIPES_BENCHMARK_MODEL_H_
#define FORALL_LATENCY_BACKEND_RECIPES_BENCHMARK_MODEL_H_

#include <memory>
#include <optional>

#include "absl/strings/string_view.h"
#include "latency/backend/recipe.h"

namespace forall {

// Provider "cpu", or by `arguments` such as --use_gpu=true.
std::shared_ptr<const Recipe> MakeBenchmarkModelRecipe(const RecipeOptions& options);

// "Overall peak memory footprint (MB) via periodic monitoring: 33.4", which the argument
// --report_peak_memory_footprint=true adds to the log at the price of a thread that looks every 50
// ms: in bytes, if it is there and believable.
std::optional<double> PeakMemoryBytes(absl::string_view log);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_RECIPES_BENCHMARK_MODEL_H_
