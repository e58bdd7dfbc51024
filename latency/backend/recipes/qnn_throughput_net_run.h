// SPDX-License-Identifier: Apache-2.0
// Qualcomm AI Engine Direct's qnn-throughput-net-run: one thread that runs a context binary over
// and over, as a configuration file says. The file's keys are those of "qnn-throughput-net-run" in
// the Tools chapter of the SDK's documentation. What it prints is not documented there; scripts
// that read it (public ones for performance analysis) take a line with "TotalTime" that ends in
// microseconds and a line "THREAD:graphExecute: COUNT ...". A call's sample is their quotient, the
// mean: prefer qnn-net-run, which tells every inference.
#ifndef FORALL_LATENCY_BACKEND_RECIPES_QNN_THROUGHPUT_NET_RUN_H_
#define FORALL_LATENCY_BACKEND_RECIPES_QNN_THROUGHPUT_NET_RUN_H_

#include <memory>

#include "latency/backend/recipe.h"

namespace forall {

std::shared_ptr<const Recipe> MakeQnnThroughputNetRunRecipe(const RecipeOptions& options);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_RECIPES_QNN_THROUGHPUT_NET_RUN_H_
