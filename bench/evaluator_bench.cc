// SPDX-License-Identifier: Apache-2.0
#include "bench/evaluator_bench.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "data/dataset.h"
#include "evaluator/accuracy/accuracy_evaluator.h"
#include "evaluator/worker/reference_network.h"
#include "latency/measure/host_lock.h"
#include "latency/measure/statistics.h"
#include "runtime/onnx_session.h"
#include "space/family.h"

namespace forall {
namespace {

constexpr double kBar = 1.18;
constexpr int64_t kBatchSizes[] = {1, 5, 10, 20, 50, 100, 250};
constexpr int kProbeRounds = 2;

absl::StatusOr<double> Seconds(const std::function<absl::Status()>& work) {
  Clock* const clock = Clock::Real();
  const int64_t start = clock->SteadyNanos();
  FORALL_RETURN_IF_ERROR(work());
  return static_cast<double>(clock->SteadyNanos() - start) * 1e-9;
}

// The peer: nothing but ONNX Runtime's Run over images that already lie in memory.
class BareLoop {
 public:
  BareLoop(OnnxSession* session, const Dataset& dataset, int resolution, int threads)
      : session_(session), dataset_(dataset), resolution_(resolution), threads_(threads) {}

  absl::Status Preload(absl::Span<const int64_t> indices) {
    count_ = static_cast<int64_t>(indices.size());
    images_.resize(indices.size() * ImageValues());
    logits_.resize(indices.size() * static_cast<size_t>(dataset_.classes()));
    return dataset_.Load(indices, resolution_, absl::MakeSpan(images_));
  }

  absl::Status Run(int64_t batch) {
    std::atomic<int64_t> next{0};
    Mutex mu;
    absl::Status result;
    const auto body = [&] {
      const absl::Status status = Worker(batch, &next);
      MutexLock lock(&mu);
      result.Update(status);
    };
    std::vector<Thread> others;
    for (int i = 1; i < threads_; ++i) others.emplace_back("bare", body);
    body();
    others.clear();
    MutexLock lock(&mu);
    return result;
  }

 private:
  size_t ImageValues() const {
    return static_cast<size_t>(dataset_.channels() * resolution_ * resolution_);
  }
  absl::Status Worker(int64_t batch, std::atomic<int64_t>* next) {
    const size_t classes = static_cast<size_t>(dataset_.classes());
    while (true) {
      const int64_t first = next->fetch_add(batch);
      if (first >= count_) return absl::OkStatus();
      const int64_t rows = std::min(batch, count_ - first);
      const size_t offset = static_cast<size_t>(first);
      const size_t size = static_cast<size_t>(rows);
      const TensorView input = {
          {rows, dataset_.channels(), resolution_, resolution_},
          absl::MakeConstSpan(&images_[offset * ImageValues()], size * ImageValues())};
      FORALL_RETURN_IF_ERROR(
          session_->RunInto(input, {rows, dataset_.classes()},
                            absl::MakeSpan(&logits_[offset * classes], size * classes)));
    }
  }

  OnnxSession* const session_;
  const Dataset& dataset_;
  const int resolution_;
  const int threads_;
  int64_t count_ = 0;
  std::vector<float> images_;
  std::vector<float> logits_;
};

absl::StatusOr<int64_t> BestBatch(BareLoop* loop) {
  int64_t best = 0;
  double best_seconds = 0;
  FORALL_RETURN_IF_ERROR(loop->Run(10));  // warm-up
  for (int round = 0; round < kProbeRounds; ++round) {
    for (const int64_t batch : kBatchSizes) {
      FORALL_ASSIGN_OR_RETURN(const double seconds, Seconds([&] { return loop->Run(batch); }));
      if (best == 0 || seconds < best_seconds) {
        best = batch;
        best_seconds = seconds;
      }
    }
  }
  return best;
}

struct Subject {
  std::string name;
  Architecture architecture;
};

std::vector<Subject> Subjects(const SearchSpace& space) {
  std::vector<Subject> subjects = {{"smallest", space.Smallest()}, {"largest", space.Largest()}};
  Random random(1);
  for (int i = 1; i <= 3; ++i) {
    subjects.push_back({absl::StrCat("random", i), space.Sample(&random)});
  }
  return subjects;
}

// Prints the subject's line and returns its ratio.
absl::StatusOr<double> Compare(const Family& family, const Subject& subject, const Dataset& dataset,
                               const std::vector<int64_t>& images,
                               const EvaluatorBenchOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(subject.architecture));
  FORALL_ASSIGN_OR_RETURN(const std::string model,
                          BuildFormulaSubnet(family, subject.architecture));
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<OnnxSession> session,
                          OnnxSession::Create(model, SessionOptions{}));
  const int resolution = static_cast<int>(network.input.height);
  BareLoop bare(session.get(), dataset, resolution, options.threads);
  FORALL_RETURN_IF_ERROR(bare.Preload(images));
  FORALL_ASSIGN_OR_RETURN(const int64_t batch, BestBatch(&bare));

  const auto evaluate = [&] {
    return EvaluateAccuracy(model, dataset, images, resolution,
                            AccuracyOptions{.threads = options.threads})
        .status();
  };
  std::vector<double> evaluator_seconds;
  std::vector<double> bare_seconds;
  std::vector<double> ratios;
  for (int round = 0; round < options.rounds; ++round) {
    double ours = 0;
    double theirs = 0;
    // Who goes first changes, so that a drift of the machine favours nobody.
    for (const bool evaluator : {round % 2 == 0, round % 2 != 0}) {
      if (evaluator) {
        FORALL_ASSIGN_OR_RETURN(ours, Seconds(evaluate));
      } else {
        FORALL_ASSIGN_OR_RETURN(theirs, Seconds([&] { return bare.Run(batch); }));
      }
    }
    evaluator_seconds.push_back(ours);
    bare_seconds.push_back(theirs);
    ratios.push_back(ours / theirs);
  }
  const double ratio = Median(ratios);
  std::printf("%s\n", absl::StrFormat(
                          R"({"bench":"evaluator","subnet":"%s","resolution":%d,"images":%d,)"
                          R"("threads":%d,"rounds":%d,"evaluator_seconds":%.4f,)"
                          R"("bare_seconds":%.4f,"bare_best_batch":%d,"ratio":%.4f})",
                          subject.name, resolution, images.size(), options.threads, options.rounds,
                          Median(evaluator_seconds), Median(bare_seconds), batch, ratio)
                          .c_str());
  std::fflush(stdout);
  return ratio;
}

}  // namespace

absl::Status RunEvaluatorBench(const EvaluatorBenchOptions& wanted) {
  EvaluatorBenchOptions options = wanted;
  if (options.threads <= 0) options.threads = UsableCores();
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FindFamily("fashion_mnist"));
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Dataset> dataset,
                          OpenDataset("fashion_mnist", Split::kValidation, options.data));
  // Workers on this machine wait meanwhile.
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<HostLock> host_lock,
                          HostLock::Open(HostLock::Options{}));
  FORALL_ASSIGN_OR_RETURN(const HostLock::Holder holder,
                          host_lock->AcquireExclusive(absl::Minutes(10)));
  const std::vector<int64_t> images = ScreeningSubset(*dataset, options.images);
  std::vector<double> ratios;
  for (const Subject& subject : Subjects(family->search_space())) {
    FORALL_ASSIGN_OR_RETURN(const double ratio,
                            Compare(*family, subject, *dataset, images, options));
    ratios.push_back(ratio);
  }
  const double ratio = Median(ratios);
  std::printf("%s\n", absl::StrFormat(R"({"bench":"evaluator","subnet":"median","ratio":%.4f,)"
                                      R"("bar":%.2f,"within_bar":%s})",
                                      ratio, kBar, ratio <= kBar ? "true" : "false")
                          .c_str());
  if (options.check && ratio > kBar) {
    return absl::OutOfRangeError(absl::StrFormat(
        "evaluator: %.3f times the bare loop, the bar is %.2f; on a quiet machine that is a defect",
        ratio, kBar));
  }
  return absl::OkStatus();
}

}  // namespace forall
