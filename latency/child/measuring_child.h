// SPDX-License-Identifier: Apache-2.0
// The process that measures and may be killed: a program that starts itself again under this name.
// What a model does to it, a crash, a hang, all of the memory, is the model's result, not the end
// of the program that asked (latency/child/child_sessions.h).
#ifndef FORALL_LATENCY_CHILD_MEASURING_CHILD_H_
#define FORALL_LATENCY_CHILD_MEASURING_CHILD_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "latency/backend/backend.h"
#include "latency/backend/onnxruntime_backend.h"
#include "latency/child/confinement.h"

namespace forall {

// The first argument of a program that is to be the measuring child.
constexpr char kMeasuringChild[] = "measuring-child";
// Its second argument is ConfinementToText; with this as the third it says on standard output, a
// line each, what the kernel refused of that, and ends.
constexpr char kTryConfinement[] = "try";

// Makes the backend that a configuration (the parent's text) describes.
using BackendFactory =
    std::function<absl::StatusOr<std::unique_ptr<LatencyBackend>>(absl::string_view configuration)>;

// Confines itself as its arguments say, and serves sessions over descriptor kChildSocket until the
// other end closes it; ends at once when the parent dies. Returns the exit code. Asks for a higher
// priority, and to be the first that a kernel short of memory kills. `preload` is called before it
// becomes another user, to load libraries from folders that only the former one can read.
int MeasuringChildMain(const BackendFactory& factory, int argc, char** argv,
                       const std::function<void()>& preload = {});

// Loads ONNX Runtime; that it is not there is for MakeBackend to say.
void PreloadRuntime();

// A backend that runs in its own process, from what BackendConfiguration wrote about it (JSON).
// InvalidArgument for anything else.
absl::StatusOr<std::unique_ptr<LatencyBackend>> MakeBackend(absl::string_view configuration);
std::string BackendConfiguration(const OnnxRuntimeBackend::Options& options);

// How to start this program as its own measuring child: what environment variable FORALL_LAUNCHER
// says, words separated by spaces, where a loader or an emulator has to come first; else what this
// process itself was started from, even where the file has been replaced since.
std::vector<std::string> MeasuringChildCommand();

// What the kernel refuses of a confinement, a sentence each, found by starting a child of `command`
// that confines itself and ends. FailedPrecondition when that cannot be.
absl::StatusOr<std::vector<std::string>> TryConfinement(const std::vector<std::string>& command,
                                                        const Confinement& confinement);

}  // namespace forall

#endif  // FORALL_LATENCY_CHILD_MEASURING_CHILD_H_
