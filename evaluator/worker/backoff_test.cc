// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/backoff.h"

#include <vector>

#include "base/testing/matchers.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;

TEST(BackoffTest, GrowsToItsLimitWithinTheJitter) {
  Backoff::Options options;
  options.first = absl::Milliseconds(100);
  options.longest = absl::Seconds(1);
  options.seed = 3;
  Backoff backoff(options);
  absl::Duration expected = options.first;
  for (int i = 0; i < 20; ++i) {
    const absl::Duration delay = backoff.Next();
    EXPECT_GE(delay, 0.8 * expected);
    EXPECT_LE(delay, 1.2 * expected);
    expected = std::min(expected * 1.6, options.longest);
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), 1.2 * options.first);
}

TEST(BackoffTest, WorkersComeBackAtDifferentTimes) {
  Backoff::Options one;
  Backoff::Options other;
  one.seed = 1;
  other.seed = 2;
  EXPECT_NE(Backoff(one).Next(), Backoff(other).Next());
}

TEST(RetryConnectionTest, RepeatsConnectionTroubleOnly) {
  StopSignal stop;
  int waits = 0;
  stop.wait = [&](absl::Duration) { ++waits; };
  std::vector<absl::Status> script = {
      absl::UnavailableError("down"), absl::DeadlineExceededError("slow"),
      absl::CancelledError("going down"), absl::NotFoundError("no such thing"), absl::OkStatus()};
  size_t next = 0;
  EXPECT_THAT(RetryConnection(Backoff::Options{}, stop, [&] { return script[next++]; }),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(waits, 3);
}

TEST(RetryConnectionTest, EndsWhenStopped) {
  StopSignal stop;
  int waits = 0;
  stop.stopped = [&] { return waits == 2; };
  stop.wait = [&](absl::Duration) { ++waits; };
  EXPECT_THAT(RetryConnection(Backoff::Options{}, stop, [] { return absl::UnavailableError(""); }),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace forall
