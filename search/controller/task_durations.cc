// SPDX-License-Identifier: Apache-2.0
#include "search/controller/task_durations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/log.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

double Median(const std::deque<double>& values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

}  // namespace

Work Work::Of(const v1::Task& task, int64_t images) {
  Work work{task.kind(), task.supernet_sha256(), task.recipe()};
  if (task.kind() == v1::Task::LATENCY) {
    work.device = task.device();
    work.fidelity = task.fidelity();
    work.batch = task.batch();
    work.metrics = MetricsOf({task.metrics().begin(), task.metrics().end()});
    work.rules = RulesOf(task.latency_rules());
  }
  if (task.kind() == v1::Task::ACCURACY) work.images = images;
  return work;
}

std::vector<std::string> Work::MetricsOf(std::vector<std::string> wanted) {
  wanted.erase(std::remove_if(wanted.begin(), wanted.end(),
                              [](const std::string& id) {
                                const MetricInfo* const metric = FindMetric(id);
                                return id == kMedianLatency ||
                                       (metric != nullptr && !metric->derived_from.empty());
                              }),
               wanted.end());
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  return wanted;
}

// No map is among the fields: equal rules are equal bytes.
std::string Work::RulesOf(const v1::LatencyProfile& rules) { return rules.SerializeAsString(); }

int64_t ImagesOf(const v1::Task& task, int64_t all) {
  int64_t images = task.images();
  if (all > 0) images = images == 0 ? all : std::min<int64_t>(images, all);
  if (task.part_images() == 0) return images;
  const int64_t part = task.part_images();
  return images == 0 ? part : std::clamp<int64_t>(images - task.first_image(), 0, part);
}

void TaskDurations::Add(const Work& work, double seconds) {
  if (!(seconds > 0) || !std::isfinite(seconds)) return;
  if (work.kind == v1::Task::ACCURACY && work.images <= 0) return;
  Latest& latest = latest_[work];
  latest.seconds.push_back(seconds);
  latest.sum += seconds;
  if (latest.seconds.size() > kRemembered) {
    latest.sum -= latest.seconds.front();
    latest.seconds.pop_front();
  }
  sum_ += seconds;
  ++count_;
}

int32_t TaskDurations::NumberOf(const Work& work) {
  const auto entry = latest_.try_emplace(work).first;
  if (entry->second.number < 0) {
    entry->second.number = static_cast<int32_t>(numbered_.size());
    numbered_.push_back(&*entry);
  }
  return entry->second.number;
}

void TaskDurations::NumberAs(const TaskDurations& other) {
  FORALL_CHECK(numbered_.empty());
  for (const auto* entry : other.numbered_) NumberOf(entry->first);
}

double TaskDurations::Guess(int32_t number) const {
  // Rounding may leave a sum at nothing.
  constexpr double kLeast = 1e-6;
  const auto& [work, latest] = *numbered_.at(number);
  if (!latest.seconds.empty()) {
    return std::max(kLeast, latest.sum / static_cast<double>(latest.seconds.size()));
  }
  if (work.kind != v1::Task::ACCURACY || work.images > 0) {
    if (const std::optional<Duration> like = Find(work); like.has_value()) {
      return std::max(kLeast, like->seconds);
    }
  }
  return count_ == 0 ? 1 : std::max(kLeast, sum_ / static_cast<double>(count_));
}

std::optional<Duration> TaskDurations::Find(const Work& work) const {
  Work any = work;
  any.images = 0;
  const std::deque<double>* nearest = nullptr;
  int64_t images = 0;
  double distance = std::numeric_limits<double>::infinity();
  for (auto it = latest_.lower_bound(any); it != latest_.end(); ++it) {
    Work same = it->first;
    same.images = 0;
    if (any < same) break;
    if (it->second.seconds.empty()) continue;
    // A work without images has itself alone; log 1 for 0 keeps both cases one.
    const double ratio = std::log(std::max<double>(1, static_cast<double>(it->first.images)) /
                                  std::max<double>(1, static_cast<double>(work.images)));
    if (std::abs(ratio) >= distance) continue;
    distance = std::abs(ratio);
    nearest = &it->second.seconds;
    images = it->first.images;
  }
  if (nearest == nullptr) return std::nullopt;
  const double scale =
      images > 0 ? static_cast<double>(work.images) / static_cast<double>(images) : 1;
  return Duration{scale * Median(*nearest), static_cast<int64_t>(nearest->size()), images,
                  work.metrics};
}

std::optional<Duration> TaskDurations::FindWider(const Work& work) const {
  std::optional<Duration> best;
  for (const auto& [other, latest] : latest_) {
    Work same = other;
    same.metrics = work.metrics;
    if (latest.seconds.empty() || same < work || work < same) continue;
    const bool wider = other.metrics.size() > work.metrics.size() &&
                       std::includes(other.metrics.begin(), other.metrics.end(),
                                     work.metrics.begin(), work.metrics.end());
    if (!wider || (best.has_value() && best->metrics.size() <= other.metrics.size())) continue;
    best = Duration{Median(latest.seconds), static_cast<int64_t>(latest.seconds.size()), 0,
                    other.metrics};
  }
  return best;
}

}  // namespace forall
