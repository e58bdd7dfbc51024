// SPDX-License-Identifier: Apache-2.0
// Decides when a model has warmed up.
#ifndef FORALL_LATENCY_MEASURE_WARMUP_H_
#define FORALL_LATENCY_MEASURE_WARMUP_H_

#include <vector>

namespace forall {

// Stable once the medians of two successive windows of 5 runs agree within 1 %, and for ever after.
// Thread-compatible.
class WarmupDetector {
 public:
  static constexpr int kWindow = 5;
  static constexpr double kAgreement = 0.01;
  static constexpr int kMaxRuns = 100;

  void Add(double duration_ns);
  bool stable() const { return stable_; }

 private:
  std::vector<double> window_;
  double previous_median_ = 0;  // 0: no full window yet.
  bool stable_ = false;
};

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_WARMUP_H_
