// SPDX-License-Identifier: Apache-2.0
// Qualcomm AI Engine Direct's qnn-net-run for Snapdragon, with its qnn-profile-viewer. The model is
// a context binary (qnn-context-binary-generator). The options are those of "qnn-net-run" and
// "qnn-profile-viewer" in the Tools chapter of the SDK's documentation; the viewer's table has the
// columns "Msg Timestamp,Message,Time,Unit of Measurement,Timing Source,Event Level,Event
// Identifier" (also written by microsoft/onnxruntime, core/providers/qnn/builder/
// qnn_backend_manager.cc), and a row "..,EXECUTE,3301,US,NETRUN,ROOT,Graph 0: name" for each
// inference: how long qnn-net-run waited for the graph.
#ifndef FORALL_LATENCY_BACKEND_RECIPES_QNN_NET_RUN_H_
#define FORALL_LATENCY_BACKEND_RECIPES_QNN_NET_RUN_H_

#include <memory>

#include "latency/backend/recipe.h"

namespace forall {

// `backend_library` is libQnnHtp.so unless set.
std::shared_ptr<const Recipe> MakeQnnNetRunRecipe(const RecipeOptions& options);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_RECIPES_QNN_NET_RUN_H_
