// SPDX-License-Identifier: Apache-2.0
// Accuracy of one ONNX classifier on images of one dataset split, with ONNX Runtime on all cores.
//
// One session, whose Run is called by one thread per core on batches that the threads take from a
// shared counter. The batch size is a function of the image size alone, so every image is always
// computed in the same company: the same file, images and machine give the same bits whatever the
// number of threads.
#ifndef FORALL_EVALUATOR_ACCURACY_ACCURACY_EVALUATOR_H_
#define FORALL_EVALUATOR_ACCURACY_ACCURACY_EVALUATOR_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/dataset.h"

namespace forall {

struct AccuracyOptions {
  // 0: one per core that this process may use.
  int threads = 0;
  // Images per inference; 0: DefaultAccuracyBatch. Ignored by models whose batch is fixed.
  int64_t batch = 0;
  // Asked before every batch, by several threads at a time; may be empty. When true, the evaluation
  // ends with Cancelled.
  std::function<bool()> cancelled = {};
  // Counts `count` images from position `first` of the indices on; 0: all from there. The others of
  // their batches are computed as well, so that an image's outcome does not depend on which part of
  // the indices it was counted in.
  int64_t first = 0;
  int64_t count = 0;
};

struct Accuracy {
  int64_t images = 0;
  int64_t top1_correct = 0;
  // The label is among the five highest logits; every image when there are at most five classes.
  int64_t top5_correct = 0;
  // One bit per counted image in the order of `indices`, least significant bit first: top-1
  // correctness.
  std::string top1_bitmap;
};

// Images per inference that serve small networks best on CPUs: see the source for the measurement
// behind it.
int64_t DefaultAccuracyBatch(int resolution);

// `model` takes one float input [batch, channels, resolution, resolution] (or flattened, [batch,
// values]) and its first output is [batch, classes]; the batch may be open or fixed. Among equal
// logits the lower class counts as higher.
//
// InvalidArgument when the model cannot be loaded, its shapes are not the dataset's, or a logit is
// not a number (naming the image): such a model fails everywhere. OutOfRange for a bad index, no
// index at all, or images to count that there are not. Cancelled. ResourceExhausted when memory
// runs out. The runtime's and dataset's own errors.
absl::StatusOr<Accuracy> EvaluateAccuracy(absl::string_view model, const Dataset& dataset,
                                          absl::Span<const int64_t> indices, int resolution,
                                          const AccuracyOptions& options);

}  // namespace forall

#endif  // FORALL_EVALUATOR_ACCURACY_ACCURACY_EVALUATOR_H_
