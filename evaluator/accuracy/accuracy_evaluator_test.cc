// SPDX-License-Identifier: Apache-2.0
#include "evaluator/accuracy/accuracy_evaluator.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/testing/matchers.h"
#include "runtime/testing/tiny_model.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::forall::testing::TinyModel;
using ::testing::HasSubstr;

constexpr int kClasses = 9;

// Images of 3 x 3 whose pixels are the scores of nine classes, for a model that passes them on.
class ScoreDataset : public Dataset {
 public:
  explicit ScoreDataset(int64_t size, int classes = kClasses) : classes_(classes) {
    labels_.resize(static_cast<size_t>(size), 0);
    scores_.resize(static_cast<size_t>(size) * kClasses, 0.0f);
  }
  // The label gets rank `rank`: 0 is the highest score.
  void Set(int64_t image, int label, int rank) {
    labels_[static_cast<size_t>(image)] = label;
    float* const scores = &scores_[static_cast<size_t>(image) * kClasses];
    std::vector<float> others;
    for (int i = 0; i < kClasses; ++i) {
      if (i != rank) others.push_back(static_cast<float>(kClasses - i));
    }
    size_t next = 0;
    for (int i = 0; i < kClasses; ++i) {
      scores[i] = i == label ? static_cast<float>(kClasses - rank) : others[next++];
    }
  }
  float& Score(int64_t image, int of) {
    return scores_[static_cast<size_t>(image * kClasses + of)];
  }

  const std::string& name() const override { return name_; }
  Split split() const override { return Split::kValidation; }
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int channels() const override { return 1; }
  int classes() const override { return classes_; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  const std::string& checksum() const override { return name_; }
  int32_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  absl::Status Load(absl::Span<const int64_t> indices, int resolution,
                    absl::Span<float> output) const override {
    const size_t values = static_cast<size_t>(resolution) * static_cast<size_t>(resolution);
    if (output.size() != indices.size() * values) return absl::InvalidArgumentError("output");
    for (size_t i = 0; i < indices.size(); ++i) {
      const float* const scores = &scores_[static_cast<size_t>(indices[i]) * kClasses];
      std::copy_n(scores, std::min<size_t>(values, kClasses), &output[i * values]);
    }
    return absl::OkStatus();
  }
  const PixelNormalization& normalization() const override { return normalization_; }
  void Prefetch(absl::Span<const int64_t> indices, int resolution) const override {
    MutexLock lock(&mu_);
    prefetched_.insert(prefetched_.end(), indices.begin(), indices.end());
  }
  // In ascending order.
  std::vector<int64_t> Prefetched() const {
    MutexLock lock(&mu_);
    std::vector<int64_t> sorted = prefetched_;
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  }

 private:
  const std::string name_ = "scores";
  const int classes_;
  const std::vector<std::string> class_names_;
  const PixelNormalization normalization_;
  std::vector<int32_t> labels_;
  std::vector<float> scores_;
  mutable Mutex mu_;
  mutable std::vector<int64_t> prefetched_ ABSL_GUARDED_BY(mu_);
};

// Image i has label i mod 9 at rank i mod 7, so 1 in 7 is right and 5 in 7 are among the first
// five.
class RankedDataset : public ScoreDataset {
 public:
  explicit RankedDataset(int64_t size) : ScoreDataset(size) {
    for (int64_t i = 0; i < size; ++i) {
      Set(i, static_cast<int>(i % kClasses), static_cast<int>(i % 7));
    }
  }
};

std::vector<int64_t> FirstImages(int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

std::string PassingModel() { return TinyModel{.width = kClasses}.Serialize(); }

TEST(AccuracyEvaluatorTest, CountsTop1AndTop5) {
  const RankedDataset dataset(70);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Accuracy accuracy,
      EvaluateAccuracy(PassingModel(), dataset, FirstImages(70), 3, AccuracyOptions{}));
  EXPECT_EQ(accuracy.images, 70);
  EXPECT_EQ(accuracy.top1_correct, 10);
  EXPECT_EQ(accuracy.top5_correct, 50);
}

TEST(AccuracyEvaluatorTest, BitmapFollowsTheOrderOfIndices) {
  const RankedDataset dataset(21);
  const std::vector<int64_t> indices = {1, 7, 2, 3, 4, 5, 6, 8, 14, 0};
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Accuracy accuracy,
      EvaluateAccuracy(PassingModel(), dataset, indices, 3, AccuracyOptions{.batch = 3}));
  // Images 7, 14 and 0 (multiples of seven) are right: positions 1, 8 and 9.
  EXPECT_EQ(accuracy.top1_bitmap, std::string("\x02\x03", 2));
  EXPECT_EQ(accuracy.top1_correct, 3);
}

TEST(AccuracyEvaluatorTest, ResultDoesNotDependOnThreadsOrBatch) {
  const RankedDataset dataset(500);
  FORALL_ASSERT_OK_AND_ASSIGN(const Accuracy one,
                              EvaluateAccuracy(PassingModel(), dataset, FirstImages(500), 3,
                                               AccuracyOptions{.threads = 1}));
  for (const int threads : {2, 3, 8}) {
    for (const int64_t batch : {1, 7, 0, 600}) {
      FORALL_ASSERT_OK_AND_ASSIGN(
          const Accuracy many,
          EvaluateAccuracy(PassingModel(), dataset, FirstImages(500), 3,
                           AccuracyOptions{.threads = threads, .batch = batch}));
      EXPECT_EQ(many.top1_bitmap, one.top1_bitmap) << threads << " threads, batch " << batch;
      EXPECT_EQ(many.top5_correct, one.top5_correct);
    }
  }
}

TEST(AccuracyEvaluatorTest, AmongEqualLogitsTheLowerClassWins) {
  ScoreDataset dataset(2);
  dataset.Set(0, 2, 0);
  dataset.Set(1, 2, 0);
  dataset.Score(0, 4) = dataset.Score(0, 2);
  dataset.Score(1, 1) = dataset.Score(1, 2);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Accuracy accuracy,
      EvaluateAccuracy(PassingModel(), dataset, FirstImages(2), 3, AccuracyOptions{}));
  EXPECT_EQ(accuracy.top1_bitmap, std::string("\x01", 1));
}

TEST(AccuracyEvaluatorTest, NotANumberFailsAndNamesTheFirstSuchImage) {
  RankedDataset dataset(300);
  // Relu turns a NaN into 0 on some processors.
  TinyModel model{.width = kClasses, .activation = "Identity"};
  model.weights.assign(kClasses * kClasses, 0.0f);
  for (int i = 0; i < kClasses; ++i) model.weights[static_cast<size_t>(i * kClasses + i)] = 1;
  for (const int64_t image : {250, 100, 222}) {
    dataset.Score(image, 3) = std::numeric_limits<float>::quiet_NaN();
  }
  for (const int threads : {1, 4}) {
    EXPECT_THAT(EvaluateAccuracy(model.Serialize(), dataset, FirstImages(300), 3,
                                 AccuracyOptions{.threads = threads}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("image 100 ")));
  }
}

// Every image but those of the first batches, once: nothing is made ready that nobody asks for.
TEST(AccuracyEvaluatorTest, SaysAheadWhatItWillLoad) {
  for (const int threads : {1, 3}) {
    const RankedDataset dataset(50);
    FORALL_ASSERT_OK(EvaluateAccuracy(PassingModel(), dataset, FirstImages(50), 3,
                                      AccuracyOptions{.threads = threads, .batch = 4}));
    std::vector<int64_t> expected = FirstImages(50);
    expected.erase(expected.begin(), expected.begin() + 4 * threads);
    EXPECT_EQ(dataset.Prefetched(), expected);
  }
}

TEST(AccuracyEvaluatorTest, RefusesAModelWithOtherClasses) {
  const ScoreDataset dataset(4, /*classes=*/5);
  EXPECT_THAT(EvaluateAccuracy(PassingModel(), dataset, FirstImages(4), 3, AccuracyOptions{}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("5 classes")));
}

TEST(AccuracyEvaluatorTest, PartsAreTheWholeCutAnywhere) {
  const RankedDataset dataset(500);
  const std::vector<int64_t> indices = FirstImages(500);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const Accuracy whole,
      EvaluateAccuracy(PassingModel(), dataset, indices, 3, AccuracyOptions{.threads = 2}));
  for (const int64_t cut : {1, 15, 16, 17, 250, 499}) {
    Accuracy sum;
    std::string bits;
    for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, cut}, {cut, 500 - cut}}) {
      FORALL_ASSERT_OK_AND_ASSIGN(
          const Accuracy part,
          EvaluateAccuracy(PassingModel(), dataset, indices, 3,
                           AccuracyOptions{.threads = 2, .first = first, .count = count}));
      EXPECT_EQ(part.images, count);
      sum.images += part.images;
      sum.top1_correct += part.top1_correct;
      sum.top5_correct += part.top5_correct;
      for (int64_t i = 0; i < count; ++i) {
        bits.push_back((static_cast<unsigned char>(part.top1_bitmap[i / 8]) >> (i % 8) & 1) != 0);
      }
    }
    EXPECT_EQ(sum.images, whole.images);
    EXPECT_EQ(sum.top1_correct, whole.top1_correct);
    EXPECT_EQ(sum.top5_correct, whole.top5_correct);
    for (size_t i = 0; i < 500; ++i) {
      const bool right = (static_cast<unsigned char>(whole.top1_bitmap[i / 8]) >> (i % 8) & 1) != 0;
      ASSERT_EQ(bits[i] != 0, right) << "image " << i << ", cut at " << cut;
    }
  }
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{-1, 5}, {500, 0}, {499, 2}}) {
    EXPECT_THAT(EvaluateAccuracy(PassingModel(), dataset, indices, 3,
                                 AccuracyOptions{.first = first, .count = count}),
                StatusIs(absl::StatusCode::kOutOfRange));
  }
}

TEST(AccuracyEvaluatorTest, RefusesImagesOfAnotherSize) {
  const RankedDataset dataset(4);
  EXPECT_THAT(EvaluateAccuracy(PassingModel(), dataset, FirstImages(4), 4, AccuracyOptions{}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[-1,16]")));
}

TEST(AccuracyEvaluatorTest, RefusesWhatIsNoModel) {
  const RankedDataset dataset(4);
  EXPECT_THAT(EvaluateAccuracy("no model", dataset, FirstImages(4), 3, AccuracyOptions{}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(AccuracyEvaluatorTest, RefusesBadIndices) {
  const RankedDataset dataset(4);
  for (const std::vector<int64_t>& indices :
       {std::vector<int64_t>{}, std::vector<int64_t>{0, 4}, std::vector<int64_t>{-1}}) {
    EXPECT_THAT(EvaluateAccuracy(PassingModel(), dataset, indices, 3, AccuracyOptions{}),
                StatusIs(absl::StatusCode::kOutOfRange));
  }
}

TEST(AccuracyEvaluatorTest, CancelledEvaluationEnds) {
  const RankedDataset dataset(100);
  EXPECT_THAT(EvaluateAccuracy(PassingModel(), dataset, FirstImages(100), 3,
                               AccuracyOptions{.cancelled = [] { return true; }}),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace forall
