// SPDX-License-Identifier: Apache-2.0
// What the controller counts for those who watch it, in Prometheus' terms but without its library:
// seconds and bytes as units, counters that only grow, histograms by upper bounds.
#ifndef FORALL_SEARCH_CONTROLLER_METRICS_H_
#define FORALL_SEARCH_CONTROLLER_METRICS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace forall {

struct HistogramSnapshot {
  std::vector<double> bounds;    // ascending upper bounds, inclusive
  std::vector<uint64_t> counts;  // one for each bound, then those above the last
  double sum = 0;
};

// Thread-safe. An observation costs a search among the bounds and two relaxed additions.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value);
  HistogramSnapshot Read() const;

 private:
  const std::vector<double> bounds_;
  const std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_ = 0;
};

// 1, 1.5, 2, 3, 5 and 7 times each power of ten from `lowest` to below `highest`, and `highest`.
std::vector<double> FineBounds(double lowest, double highest);
// Powers of two from 1 to `highest`.
std::vector<double> DoublingBounds(double highest);

// A metric with all that it stands for now.
struct MetricFamily {
  enum class Type { kCounter, kGauge, kHistogram };
  struct Sample {
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;             // of counters and gauges
    HistogramSnapshot histogram;  // of histograms
  };
  std::string name;  // forall_..., counters end in _total
  std::string help;
  Type type = Type::kGauge;
  std::vector<Sample> samples;
};

// What the controller counts itself. Thread-safe.
struct ControllerMetrics {
  ControllerMetrics();

  // From a call's entry, or the commit's end that made a task leasable, to the answer with tasks.
  Histogram lease_grant_seconds;
  // From handing a batch to the store to its answer.
  Histogram commit_seconds;
  // Task results in a commit that held any.
  Histogram commit_results;
  std::atomic<int64_t> commits = 0;
  std::atomic<int64_t> failed_commits = 0;
  std::atomic<int64_t> leases_granted = 0;
  std::atomic<int64_t> leases_expired = 0;
  std::atomic<int64_t> tasks_completed = 0;
  std::atomic<int64_t> tasks_retried = 0;   // failed, and given out again
  std::atomic<int64_t> tasks_failed = 0;    // failed for good by their own fault
  std::atomic<int64_t> tasks_poisoned = 0;  // failed too often, or took too many workers' leases
  std::atomic<int64_t> tasks_shared = 0;    // waited for as another job's instead of opened
  std::atomic<int64_t> workers_quarantined = 0;
  std::atomic<int64_t> samples_dropped = 0;  // latencies that lost their raw samples
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_METRICS_H_
