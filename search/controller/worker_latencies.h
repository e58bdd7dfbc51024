// SPDX-License-Identifier: Apache-2.0
// What one worker's latencies were worth: the last ones, and how often which verdict was given for
// which reason. Bounded, however many there are.
#ifndef FORALL_SEARCH_CONTROLLER_WORKER_LATENCIES_H_
#define FORALL_SEARCH_CONTROLLER_WORKER_LATENCIES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "search/store/result_store.h"

namespace forall {

// Thread-compatible.
class WorkerLatencies {
 public:
  // So many are kept, and as many different reasons per verdict and baselines; further reasons
  // count as "other", further baselines are not told apart.
  static constexpr size_t kLast = 100;
  static constexpr size_t kMostReasons = 64;
  static constexpr size_t kMostBaselines = 256;

  struct Verdicts {
    int64_t count = 0;
    std::map<std::string, int64_t> reasons;
  };
  // The last latency under a baseline, whatever its verdict.
  struct Baseline {
    int32_t batch = 0;
    double reference_ms = 0;
    absl::Time time;
  };

  // In the order of measurement. `latency` must outlive this.
  void Note(const MeasurementRecord& latency);

  // The newest last.
  const std::deque<const MeasurementRecord*>& last() const { return last_; }
  const std::map<VerdictState, Verdicts>& verdicts() const { return verdicts_; }
  // By the baseline's id.
  const std::map<std::string, Baseline>& baselines() const { return baselines_; }

 private:
  std::deque<const MeasurementRecord*> last_;
  std::map<VerdictState, Verdicts> verdicts_;
  std::map<std::string, Baseline> baselines_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_WORKER_LATENCIES_H_
