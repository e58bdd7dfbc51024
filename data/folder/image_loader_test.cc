// SPDX-License-Identifier: Apache-2.0
#include "data/folder/image_loader.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <new>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

constexpr int kSide = 4;

uint8_t Value(const ImageRequest& request) {
  return static_cast<uint8_t>(request.image * 7 + request.resolution +
                              static_cast<int64_t>(request.training_seed.value_or(0)));
}

// Counts how often each image was made.
class Maker {
 public:
  absl::Status operator()(const ImageRequest& request, absl::Span<uint8_t> bytes) {
    {
      MutexLock lock(&mu_);
      ++made_[request.image];
      if (blocked_ && request.image == 0) {
        while (blocked_) change_.Wait(&mu_);
      }
    }
    if (request.image == 13) return absl::DataLossError("number 13");
    if (request.image == 14) throw std::bad_alloc();
    std::fill(bytes.begin(), bytes.end(), Value(request));
    MutexLock lock(&mu_);
    ++finished_;
    change_.SignalAll();
    return absl::OkStatus();
  }
  int made(int64_t image) {
    MutexLock lock(&mu_);
    return made_[image];
  }
  void WaitForFinished(int count) {
    MutexLock lock(&mu_);
    while (finished_ < count) change_.Wait(&mu_);
  }
  void Block(bool blocked) {
    MutexLock lock(&mu_);
    blocked_ = blocked;
    change_.SignalAll();
  }

 private:
  Mutex mu_;
  CondVar change_;
  std::map<int64_t, int> made_ ABSL_GUARDED_BY(mu_);
  int finished_ ABSL_GUARDED_BY(mu_) = 0;
  bool blocked_ ABSL_GUARDED_BY(mu_) = false;
};

std::vector<ImageRequest> Requests(int64_t begin, int64_t end) {
  std::vector<ImageRequest> requests;
  for (int64_t i = begin; i < end; ++i) requests.push_back({i, kSide, std::nullopt});
  return requests;
}

class ImageLoaderTest : public ::testing::Test {
 protected:
  explicit ImageLoaderTest(int threads = 3)
      : loader_(threads, 10 * 3 * kSide * kSide,
                [this](const ImageRequest& request, absl::Span<uint8_t> bytes) {
                  return maker_(request, bytes);
                }) {}
  // How many images `Load` gave, each with its own bytes.
  absl::StatusOr<int> Load(const std::vector<ImageRequest>& requests) {
    int taken = 0;
    const absl::Status status =
        loader_.Load(requests, [&](size_t i, absl::Span<const uint8_t> bytes) {
          const auto side = static_cast<size_t>(requests[i].resolution);
          if (bytes.size() == 3 * side * side &&
              std::all_of(bytes.begin(), bytes.end(),
                          [&](uint8_t b) { return b == Value(requests[i]); })) {
            ++taken;
          }
        });
    if (!status.ok()) return status;
    return taken;
  }

  Maker maker_;
  ImageLoader loader_;
};

// The loader takes note of an image a moment after the maker has finished it. With one thread it
// has taken note of all but the newest that is finished.
class OneThreadImageLoaderTest : public ImageLoaderTest {
 protected:
  OneThreadImageLoaderTest() : ImageLoaderTest(1) {}
};

TEST_F(ImageLoaderTest, MakesEachImageOfABatchOnce) {
  std::vector<ImageRequest> requests = Requests(20, 700);
  requests.push_back(requests.back());  // twice in one batch
  EXPECT_THAT(Load(requests), ::testing::Truly([](const auto& n) { return n.value() == 681; }));
  for (int64_t i = 20; i < 700; ++i) EXPECT_EQ(maker_.made(i), 1);
  // Nothing is kept that somebody has taken.
  EXPECT_EQ(Load(Requests(20, 30)).value(), 10);
  EXPECT_EQ(maker_.made(20), 2);
}

TEST_F(ImageLoaderTest, TellsKindsOfRequestsApart) {
  std::vector<ImageRequest> requests = {
      {1, 4, std::nullopt}, {1, 5, std::nullopt}, {1, 4, 0}, {1, 4, 1}};
  EXPECT_EQ(Load(requests).value(), 4);
  EXPECT_EQ(maker_.made(1), 4);
}

TEST_F(ImageLoaderTest, WhatWasPrefetchedIsNotMadeAgain) {
  loader_.Prefetch(Requests(20, 28));
  maker_.WaitForFinished(8);  // before anybody asks
  EXPECT_EQ(Load(Requests(20, 30)).value(), 10);
  for (int64_t i = 20; i < 30; ++i) EXPECT_EQ(maker_.made(i), 1) << i;
}

TEST_F(OneThreadImageLoaderTest, KeepsTheNewestOfWhatNobodyAskedFor) {
  loader_.Prefetch(Requests(20, 30));
  maker_.WaitForFinished(10);
  loader_.Prefetch(Requests(30, 35));
  maker_.WaitForFinished(15);
  EXPECT_EQ(Load(Requests(25, 35)).value(), 10);
  for (int64_t i = 25; i < 35; ++i) EXPECT_EQ(maker_.made(i), 1) << i;
  EXPECT_EQ(Load(Requests(20, 21)).value(), 1);
  EXPECT_EQ(maker_.made(20), 2) << "the oldest went";
}

TEST_F(ImageLoaderTest, CallersShareWhatIsBeingMade) {
  maker_.Block(true);
  loader_.Prefetch(Requests(0, 1));
  std::atomic<int> good = 0;
  std::vector<Thread> callers;
  for (int64_t i = 1; i <= 4; ++i) {
    callers.emplace_back("caller", [&, i] {
      std::vector<ImageRequest> requests = Requests(20 * i, 20 * i + 5);
      requests.push_back({0, kSide, std::nullopt});
      good += Load(requests).value();
    });
  }
  maker_.WaitForFinished(20);  // all but the blocked one: so all callers have asked for it
  maker_.Block(false);
  callers.clear();
  EXPECT_EQ(good, 24);
  EXPECT_EQ(maker_.made(0), 1);
}

TEST_F(ImageLoaderTest, GivesTheFirstFailure) {
  EXPECT_THAT(Load(Requests(10, 20)).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("number 13")));
  EXPECT_THAT(Load(Requests(14, 20)).status(), StatusIs(absl::StatusCode::kResourceExhausted));
  loader_.Prefetch(Requests(13, 14));
  EXPECT_THAT(Load(Requests(13, 14)).status(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(Load(Requests(15, 20)).value(), 5);
}

TEST(ImageLoaderLifeTest, EndsWithPrefetchesUnderWay) {
  Maker maker;
  ImageLoader loader(2, 1 << 20, [&](const ImageRequest& request, absl::Span<uint8_t> bytes) {
    return maker(request, bytes);
  });
  loader.Prefetch(Requests(20, 500));
}

}  // namespace
}  // namespace forall
