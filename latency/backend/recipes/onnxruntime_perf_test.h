// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime's onnxruntime_perf_test. Its result file has a line for each run, "MODEL,SECONDS,
// PEAK_BYTES,CPU_PERCENT,RUN" (microsoft/onnxruntime, onnxruntime/test/perftest/
// performance_runner.cc, PerformanceResult::DumpToFile); the options are those of
// command_args_parser.cc and README.md there. It makes its own input (-I), of a fixed seed (-S).
#ifndef FORALL_LATENCY_BACKEND_RECIPES_ONNXRUNTIME_PERF_TEST_H_
#define FORALL_LATENCY_BACKEND_RECIPES_ONNXRUNTIME_PERF_TEST_H_

#include <memory>

#include "latency/backend/recipe.h"

namespace forall {

// The provider's name is that of its option -e: cpu, xnnpack, cuda, qnn, ...
std::shared_ptr<const Recipe> MakeOnnxRuntimePerfTestRecipe(const RecipeOptions& options);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_RECIPES_ONNXRUNTIME_PERF_TEST_H_
