// SPDX-License-Identifier: Apache-2.0
// `forall-bench import` and `forall-bench session`: what a supernet costs on its way in, and a
// subnet on its way to a session. Both use OFA-MobileNetV3 w1.0 (7.7 M weights, 31 MB) with made-up
// values.
#ifndef FORALL_BENCH_SUPERNET_BENCH_H_
#define FORALL_BENCH_SUPERNET_BENCH_H_

#include <string>

#include "absl/status/status.h"

namespace forall {

struct SupernetBenchOptions {
  int rounds = 5;
  // Whether a warm ratio above its bar is an error (OutOfRange). The cold one, which page faults of
  // fresh memory decide, is above its bar so far and only shown.
  bool check = false;
};

// For each format (zip and old PyTorch, safetensors): median seconds of reading a checkpoint into
// the family's tensors, and the peak memory of a process that does nothing else, less what it had
// before.
absl::Status RunImportBench(const SupernetBenchOptions& options);

// One measurement, for a process of its own: "session-once" (path: a supernet), "onnxruntime-once"
// (an ONNX file) or "import-once" (a checkpoint). Prints seconds and MiB of further peak memory.
absl::Status MeasureOnce(const std::string& what, const std::string& path);

// Architecture -> ready session (description, slicing, folding, ONNX, session) against ONNX
// Runtime's creating a session of the same ONNX bytes. Cold: each in a fresh process, in turn;
// bar 1.15. Warm: in one process, in turn; bar 3. Must run before anything else of this process
// uses ONNX Runtime.
absl::Status RunSessionBench(const SupernetBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_SUPERNET_BENCH_H_
