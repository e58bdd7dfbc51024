// SPDX-License-Identifier: Apache-2.0
// `forall-bench images`: what image files cost on their way to a network. Made-up photographs of
// about ImageNet's size and detail (500 x 375, 100 KB, 4:2:0) become images of 224 x 224, against
// libjpeg-turbo alone decoding the same files in the same process.
#ifndef FORALL_BENCH_IMAGE_BENCH_H_
#define FORALL_BENCH_IMAGE_BENCH_H_

#include "absl/status/status.h"

namespace forall {

struct ImageBenchOptions {
  int rounds = 5;
  int threads = 0;     // 0: one per core
  bool check = false;  // whether a ratio above its bar is an error (OutOfRange)
};

// One line for one core, from bytes in memory to the bytes of the crop; one for all cores, from an
// ImageFolder dataset's files to normalised floats, without its cache; one out of the cache.
// `ratio` is our time by libjpeg-turbo's on as many cores, median of rounds in turn.
absl::Status RunImageBench(const ImageBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_IMAGE_BENCH_H_
