// SPDX-License-Identifier: Apache-2.0
// NVIDIA TensorRT's trtexec. Samples come from the trace that --exportTimes writes
// (NVIDIA/TensorRT, samples/common/sampleReporting.cpp, exportJSONTrace): an array of objects whose
// "latencyMs" is the transfer to the GPU, the computation and the transfer back of one query.
// Versions up to 8.4 export warm-up queries too; the log tells how many ("Warmup completed N
// queries", "Timing trace has M queries", printProlog there). Documented in samples/trtexec/README.
#ifndef FORALL_LATENCY_BACKEND_RECIPES_TRTEXEC_H_
#define FORALL_LATENCY_BACKEND_RECIPES_TRTEXEC_H_

#include <memory>

#include "latency/backend/recipe.h"

namespace forall {

std::shared_ptr<const Recipe> MakeTrtexecRecipe(const RecipeOptions& options);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_RECIPES_TRTEXEC_H_
