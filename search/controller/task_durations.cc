// SPDX-License-Identifier: Apache-2.0
#include "search/controller/task_durations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

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
  }
  if (task.kind() == v1::Task::ACCURACY) work.images = images;
  return work;
}

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
  std::deque<double>& latest = seconds_[work];
  latest.push_back(seconds);
  if (latest.size() > kRemembered) latest.pop_front();
}

std::optional<Duration> TaskDurations::Find(const Work& work) const {
  Work any = work;
  any.images = 0;
  const std::deque<double>* nearest = nullptr;
  int64_t images = 0;
  double distance = std::numeric_limits<double>::infinity();
  for (auto it = seconds_.lower_bound(any); it != seconds_.end(); ++it) {
    Work same = it->first;
    same.images = 0;
    if (any < same) break;
    // A work without images has itself alone; log 1 for 0 keeps both cases one.
    const double ratio = std::log(std::max<double>(1, static_cast<double>(it->first.images)) /
                                  std::max<double>(1, static_cast<double>(work.images)));
    if (std::abs(ratio) >= distance) continue;
    distance = std::abs(ratio);
    nearest = &it->second;
    images = it->first.images;
  }
  if (nearest == nullptr) return std::nullopt;
  const double scale =
      images > 0 ? static_cast<double>(work.images) / static_cast<double>(images) : 1;
  return Duration{scale * Median(*nearest), static_cast<int64_t>(nearest->size()), images};
}

}  // namespace forall
