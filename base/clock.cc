// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace forall {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  int64_t SteadyNanos() override {
    static_assert(std::chrono::steady_clock::is_steady);
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  void SleepFor(absl::Duration duration) override { absl::SleepFor(duration); }
};

}  // namespace

Clock* Clock::Real() {
  static RealClock* const clock = new RealClock;
  return clock;
}

absl::Time FakeClock::Now() {
  MutexLock lock(&mu_);
  return now_;
}

int64_t FakeClock::SteadyNanos() {
  MutexLock lock(&mu_);
  return steady_ns_;
}

void FakeClock::Advance(absl::Duration duration) {
  MutexLock lock(&mu_);
  now_ += duration;
  steady_ns_ += absl::ToInt64Nanoseconds(duration);
}

}  // namespace forall
