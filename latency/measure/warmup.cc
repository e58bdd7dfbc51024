// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/warmup.h"

#include <cmath>

#include "latency/measure/statistics.h"

namespace forall {

void WarmupDetector::Add(double duration_ns) {
  window_.push_back(duration_ns);
  if (static_cast<int>(window_.size()) < kWindow) return;
  const double median = Median(window_);
  window_.clear();
  if (previous_median_ > 0 &&
      std::abs(median - previous_median_) <= kAgreement * previous_median_) {
    stable_ = true;
  }
  previous_median_ = median;
}

}  // namespace forall
