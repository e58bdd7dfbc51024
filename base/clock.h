// SPDX-License-Identifier: Apache-2.0
// Time comes only through a Clock, so that every rule about time is tested without waiting.
#ifndef FORALL_BASE_CLOCK_H_
#define FORALL_BASE_CLOCK_H_

#include <cstdint>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace forall {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time, for what people read; it can step.
  virtual absl::Time Now() = 0;
  // Nanoseconds of a clock that never steps; only differences mean anything.
  virtual int64_t SteadyNanos() = 0;
  virtual void SleepFor(absl::Duration duration) = 0;

  // The machine's clocks. Never destroyed.
  static Clock* Real();
};

// Moves only when told to. SleepFor advances it. Thread-safe.
class FakeClock : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1700000000)) : now_(start) {}
  absl::Time Now() override;
  int64_t SteadyNanos() override;
  void SleepFor(absl::Duration duration) override { Advance(duration); }
  void Advance(absl::Duration duration);

 private:
  Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
  int64_t steady_ns_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace forall

#endif  // FORALL_BASE_CLOCK_H_
