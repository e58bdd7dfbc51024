// SPDX-License-Identifier: Apache-2.0
#include "search/controller/metrics.h"

#include <algorithm>

namespace forall {

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(new std::atomic<uint64_t>[bounds_.size() + 1]()) {}

void Histogram::Observe(double value) {
  const size_t bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

HistogramSnapshot Histogram::Read() const {
  HistogramSnapshot snapshot;
  snapshot.bounds = bounds_;
  for (size_t i = 0; i <= bounds_.size(); ++i) {
    snapshot.counts.push_back(counts_[i].load(std::memory_order_relaxed));
  }
  snapshot.sum = sum_.load(std::memory_order_relaxed);
  return snapshot;
}

std::vector<double> FineBounds(double lowest, double highest) {
  std::vector<double> bounds;
  // A bound's text stays short where the next power is computed from the first one.
  for (double power = 1; power * lowest < highest * 0.999; power *= 10) {
    for (const double step : {1.0, 1.5, 2.0, 3.0, 5.0, 7.0}) {
      const double bound = step * power * lowest;
      if (bound < highest * 0.999) bounds.push_back(bound);
    }
  }
  bounds.push_back(highest);
  return bounds;
}

std::vector<double> DoublingBounds(double highest) {
  std::vector<double> bounds;
  for (double bound = 1; bound <= highest; bound *= 2) bounds.push_back(bound);
  return bounds;
}

ControllerMetrics::ControllerMetrics()
    : lease_grant_seconds(FineBounds(1e-5, 10)),
      commit_seconds(FineBounds(1e-4, 10)),
      commit_results(DoublingBounds(16384)) {}

}  // namespace forall
