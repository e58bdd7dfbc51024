// SPDX-License-Identifier: Apache-2.0
#include "evaluator/accuracy/accuracy_evaluator.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/mutex.h"
#include "base/parallel.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "runtime/onnx_session.h"

namespace forall {
namespace {

// One evaluation. Workers share it; what they write is either atomic, under the mutex, or a byte
// per image of its own.
class Evaluation {
 public:
  Evaluation(OnnxSession* session, const Dataset& dataset, absl::Span<const int64_t> indices,
             int64_t first, int64_t count, int resolution, int64_t batch, bool fixed_batch,
             const std::function<bool()>& cancelled)
      : session_(session),
        dataset_(dataset),
        indices_(indices),
        resolution_(resolution),
        batch_(batch),
        fixed_batch_(fixed_batch),
        cancelled_(cancelled),
        first_(first),
        top1_(static_cast<size_t>(count), 0) {}

  absl::Status Run(int threads);
  Accuracy Summary() const;

 private:
  struct Buffers {
    std::vector<float> images;
    std::vector<float> logits;
  };

  // Numbers of the batches that hold what is counted: [first_batch(), end_batch()).
  int64_t first_batch() const { return first_ / batch_; }
  int64_t end_batch() const {
    return (first_ + static_cast<int64_t>(top1_.size()) + batch_ - 1) / batch_;
  }
  size_t image_values() const {
    return static_cast<size_t>(dataset_.channels()) * static_cast<size_t>(resolution_) *
           static_cast<size_t>(resolution_);
  }
  size_t BatchSize(int64_t number) const {
    return std::min(static_cast<size_t>(batch_),
                    indices_.size() - static_cast<size_t>(number * batch_));
  }
  void TakeBatches();
  void TakeBatchesOrThrow();
  absl::Status DoBatch(int64_t number, Buffers* buffers);
  absl::Status RunModel(const TensorView& input, absl::Span<float> logits);
  absl::Status Count(size_t position, absl::Span<const float> logits);
  void Fail(int64_t number, absl::Status status);

  OnnxSession* const session_;
  const Dataset& dataset_;
  const absl::Span<const int64_t> indices_;
  const int resolution_;
  const int64_t batch_;
  const bool fixed_batch_;
  const std::function<bool()>& cancelled_;

  const int64_t first_;  // position of the first image that is counted
  int threads_ = 1;
  std::atomic<int64_t> next_batch_{0};
  std::vector<char> top1_;  // not vector<bool>: neighbours are written by different threads
  std::atomic<int64_t> top5_correct_{0};

  Mutex mu_;
  // Of the failure with the lowest number: batches are handed out in order, so that it is the same
  // one in every run.
  int64_t failed_batch_ ABSL_GUARDED_BY(mu_) = std::numeric_limits<int64_t>::max();
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

absl::Status Evaluation::Run(int threads) {
  next_batch_.store(first_batch(), std::memory_order_relaxed);
  threads = static_cast<int>(std::min<int64_t>(threads, end_batch() - first_batch()));
  threads_ = threads;
  std::vector<Thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back("accuracy", [this] { TakeBatches(); });
  TakeBatches();
  for (Thread& other : others) other.Join();
  MutexLock lock(&mu_);
  return failure_;
}

void Evaluation::TakeBatches() {
  // Helper threads have nobody to catch for them.
  try {
    TakeBatchesOrThrow();
  } catch (const std::bad_alloc&) {
    Fail(0, absl::ResourceExhaustedError("out of memory while evaluating a model"));
  }
}

void Evaluation::TakeBatchesOrThrow() {
  Buffers buffers;
  const size_t rows = static_cast<size_t>(batch_);
  buffers.images.resize(rows * image_values(), 0.0f);
  buffers.logits.resize(rows * static_cast<size_t>(dataset_.classes()));
  while (true) {
    const int64_t number = next_batch_.fetch_add(1, std::memory_order_relaxed);
    if (number >= end_batch()) return;
    if (cancelled_ && cancelled_()) {
      return Fail(number, absl::CancelledError("the evaluation was cancelled"));
    }
    if (absl::Status status = DoBatch(number, &buffers); !status.ok()) {
      return Fail(number, std::move(status));
    }
  }
}

absl::Status Evaluation::DoBatch(int64_t number, Buffers* buffers) {
  const size_t first = static_cast<size_t>(number * batch_);
  const size_t count = BatchSize(number);
  // A model of a fixed batch computes the rest of the buffer too; nobody looks at it.
  const size_t rows = fixed_batch_ ? static_cast<size_t>(batch_) : count;
  const size_t classes = static_cast<size_t>(dataset_.classes());
  FORALL_RETURN_IF_ERROR(
      dataset_.Load(indices_.subspan(first, count), resolution_,
                    absl::MakeSpan(buffers->images.data(), count * image_values())));
  // Batches are handed out in order: while this one is computed, the first that nobody has yet is
  // made ready.
  if (const int64_t later = number + threads_; later < end_batch()) {
    dataset_.Prefetch(indices_.subspan(static_cast<size_t>(later * batch_), BatchSize(later)),
                      resolution_);
  }
  TensorView input;
  input.shape = {static_cast<int64_t>(rows), dataset_.channels(), resolution_, resolution_};
  if (session_->input_shape(0).size() == 2) {
    input.shape = {static_cast<int64_t>(rows), static_cast<int64_t>(image_values())};
  }
  input.values = absl::MakeConstSpan(buffers->images.data(), rows * image_values());
  FORALL_RETURN_IF_ERROR(RunModel(input, absl::MakeSpan(buffers->logits.data(), rows * classes)));
  for (size_t i = 0; i < count; ++i) {
    FORALL_RETURN_IF_ERROR(
        Count(first + i, absl::MakeConstSpan(buffers->logits.data() + i * classes, classes)));
  }
  return absl::OkStatus();
}

absl::Status Evaluation::RunModel(const TensorView& input, absl::Span<float> logits) {
  const std::vector<int64_t> shape = {input.shape[0], dataset_.classes()};
  const absl::Status status = session_->RunInto(input, shape, logits);
  if (status.ok()) return status;
  // Whether the output's shape is to blame, only an unbound run tells.
  FORALL_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, session_->Run({input}));
  if (outputs.at(0).shape != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model's output for ", input.shape[0], " images is [",
                     absl::StrJoin(outputs[0].shape, ","), "], dataset ", dataset_.name(), " has ",
                     dataset_.classes(), " classes"));
  }
  return status;
}

absl::Status Evaluation::Count(size_t position, absl::Span<const float> logits) {
  if (position < static_cast<size_t>(first_)) return absl::OkStatus();
  const size_t counted = position - static_cast<size_t>(first_);
  if (counted >= top1_.size()) return absl::OkStatus();
  const int32_t label = dataset_.label(indices_[position]);
  const float own = logits[static_cast<size_t>(label)];
  int higher = 0;
  bool not_a_number = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    not_a_number |= std::isnan(logits[i]);
    higher += logits[i] > own || (logits[i] == own && i < static_cast<size_t>(label));
  }
  if (not_a_number) {
    return absl::InvalidArgumentError(
        absl::StrCat("a logit of image ", indices_[position], " of dataset ", dataset_.name(), "/",
                     SplitName(dataset_.split()), " is not a number"));
  }
  top1_[counted] = higher == 0;
  if (higher < 5) top5_correct_.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

void Evaluation::Fail(int64_t number, absl::Status status) {
  next_batch_.store(end_batch(), std::memory_order_relaxed);
  MutexLock lock(&mu_);
  if (number >= failed_batch_) return;
  failed_batch_ = number;
  failure_ = std::move(status);
}

Accuracy Evaluation::Summary() const {
  Accuracy accuracy;
  accuracy.images = static_cast<int64_t>(top1_.size());
  accuracy.top5_correct = top5_correct_.load(std::memory_order_relaxed);
  accuracy.top1_bitmap.assign((top1_.size() + 7) / 8, '\0');
  for (size_t i = 0; i < top1_.size(); ++i) {
    if (top1_[i] == 0) continue;
    ++accuracy.top1_correct;
    char& byte = accuracy.top1_bitmap[i / 8];
    byte = static_cast<char>(static_cast<unsigned char>(byte) | (1u << (i % 8)));
  }
  return accuracy;
}

// The batch to use, after checking that the model takes this dataset's images.
absl::StatusOr<int64_t> CheckInput(const OnnxSession& session, const Dataset& dataset,
                                   int resolution, int64_t batch) {
  if (session.input_names().size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("the model has ", session.input_names().size(),
                                                   " inputs; a classifier of images has one"));
  }
  const std::vector<int64_t>& shape = session.input_shape(0);
  std::vector<int64_t> expected = {-1, dataset.channels(), resolution, resolution};
  if (shape.size() == 2) expected = {-1, int64_t{dataset.channels()} * resolution * resolution};
  bool fits = shape.size() == expected.size();
  for (size_t i = 1; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == expected[i];
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model's input is [", absl::StrJoin(shape, ","), "], images of dataset ",
        dataset.name(), " at this resolution are [", absl::StrJoin(expected, ","), "]"));
  }
  if (shape[0] > 0) return shape[0];
  return batch > 0 ? batch : DefaultAccuracyBatch(resolution);
}

}  // namespace

// Processor time per image over batch sizes is a flat valley whose ends cost: on x86-64 with AVX2,
// OFA-MobileNetV3 subnets of 28 x 28 lie within 5 % of their best from 8 to 32 and lose 5-20 % at 1
// and from 100 on; at 128 x 128 the valley is 4 to 12.
int64_t DefaultAccuracyBatch(int resolution) { return resolution <= 48 ? 16 : 8; }

absl::StatusOr<Accuracy> EvaluateAccuracy(absl::string_view model, const Dataset& dataset,
                                          absl::Span<const int64_t> indices, int resolution,
                                          const AccuracyOptions& options) {
  if (indices.empty()) return absl::OutOfRangeError("no images to evaluate");
  for (const int64_t index : indices) {
    if (index < 0 || index >= dataset.size()) {
      return absl::OutOfRangeError(absl::StrCat("image ", index, " of dataset ", dataset.name(),
                                                ", which has ", dataset.size()));
    }
  }
  const int64_t size = static_cast<int64_t>(indices.size());
  const int64_t count = options.count > 0 ? options.count : size - options.first;
  if (options.first < 0 || count < 1 || options.first > size - count) {
    return absl::OutOfRangeError(
        absl::StrCat("asked to count ", count, " images from ", options.first, " on of ", size));
  }
  SessionOptions session_options;
  session_options.intra_op_threads = 1;
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxSession> session,
                          OnnxSession::Create(model, session_options));
  FORALL_ASSIGN_OR_RETURN(const int64_t batch,
                          CheckInput(*session, dataset, resolution, options.batch));
  Evaluation evaluation(session.get(), dataset, indices, options.first, count, resolution, batch,
                        session->input_shape(0)[0] > 0, options.cancelled);
  FORALL_RETURN_IF_ERROR(evaluation.Run(options.threads > 0 ? options.threads : UsableCores()));
  return evaluation.Summary();
}

}  // namespace forall
