// SPDX-License-Identifier: Apache-2.0
#include "search/controller/tasks_in_flight.h"

#include <algorithm>
#include <limits>

#include "absl/hash/hash.h"
#include "search/controller/latency_rules.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

bool IsFinal(const v1::Task& wire) { return wire.fidelity() == "final"; }

// What a latency belongs to, as LatencyMeasurements has it.
const std::string& SubjectOf(const v1::Task& wire) {
  return IsFinal(wire) ? wire.artifact_sha256() : wire.graph_key();
}

// The image behind the last one of an accuracy task.
int64_t EndImage(const v1::Task& wire, int64_t all_images) {
  const int64_t all = all_images > 0 ? all_images : std::numeric_limits<int64_t>::max();
  const int64_t wanted = wire.images() > 0 ? std::min<int64_t>(wire.images(), all) : all;
  if (wire.part_images() == 0) return wanted;
  return std::min(wanted, int64_t{wire.first_image()} + wire.part_images());
}

// What the worker measures beside the median latency; the rest is derived, by whoever wants it.
std::vector<absl::string_view> MeasuredBeside(const v1::Task& wire) {
  std::vector<absl::string_view> metrics;
  for (const std::string& id : wire.metrics()) {
    const MetricInfo* const metric = FindMetric(id);
    if (metric == nullptr || metric->derived_from.empty()) metrics.push_back(id);
  }
  std::sort(metrics.begin(), metrics.end());
  return metrics;
}

bool SameExport(const v1::Task& a, const v1::Task& b) {
  return a.supernet_sha256() == b.supernet_sha256() && a.arch_key() == b.arch_key() &&
         a.recipe() == b.recipe() && a.calibration_dataset() == b.calibration_dataset() &&
         a.calibration_images() == b.calibration_images() &&
         a.calibration_seed() == b.calibration_seed();
}

bool SameImages(const v1::Task& a, const v1::Task& b, int64_t all_images) {
  return a.artifact_sha256() == b.artifact_sha256() && a.dataset() == b.dataset() &&
         a.split() == b.split() && a.first_image() == b.first_image() &&
         EndImage(a, all_images) == EndImage(b, all_images);
}

bool LatencyStandsFor(const v1::Task& open, const v1::Task& wanted) {
  return IsFinal(open) == IsFinal(wanted) && SubjectOf(open) == SubjectOf(wanted) &&
         open.device() == wanted.device() && open.profile() == wanted.profile() &&
         open.recipe() == wanted.recipe() && open.batch() == wanted.batch() &&
         LeastLatencyRuns(open.latency_rules(), open.fidelity()) >=
             LeastLatencyRuns(wanted.latency_rules(), wanted.fidelity()) &&
         MeasuredBeside(open) == MeasuredBeside(wanted);
}

}  // namespace

uint64_t WorkHash(const v1::Task& wire) {
  switch (wire.kind()) {
    case v1::Task::EXPORT:
      return absl::HashOf(wire.kind(), wire.arch_key(), wire.supernet_sha256());
    case v1::Task::ACCURACY:
      return absl::HashOf(wire.kind(), wire.artifact_sha256(), wire.split(), wire.first_image());
    default:
      return absl::HashOf(wire.kind(), IsFinal(wire), SubjectOf(wire), wire.device());
  }
}

bool StandsFor(const v1::Task& open, absl::string_view open_fingerprint, const v1::Task& wanted,
               absl::string_view wanted_fingerprint, int64_t all_images) {
  if (open.kind() != wanted.kind()) return false;
  switch (wanted.kind()) {
    case v1::Task::EXPORT:
      return SameExport(open, wanted);
    case v1::Task::ACCURACY:
      return SameImages(open, wanted, all_images);
    case v1::Task::LATENCY:
      return open_fingerprint == wanted_fingerprint && LatencyStandsFor(open, wanted);
    default:
      return false;
  }
}

absl::Span<const int64_t> TasksInFlight::Of(uint64_t hash) const {
  const auto it = by_hash_.find(hash);
  if (it == by_hash_.end()) return {};
  return it->second;
}

void TasksInFlight::Wait(int64_t task, int64_t job) {
  waiters_[task].push_back(job);
  ++waits_;
}

void TasksInFlight::Leave(int64_t task, int64_t job) {
  const auto it = waiters_.find(task);
  if (it == waiters_.end()) return;
  waits_ -= static_cast<int64_t>(std::erase(it->second, job));
  if (it->second.empty()) waiters_.erase(it);
}

absl::Span<const int64_t> TasksInFlight::WaitersOf(int64_t task) const {
  if (waiters_.empty()) return {};
  const auto it = waiters_.find(task);
  if (it == waiters_.end()) return {};
  return it->second;
}

void TasksInFlight::Remove(int64_t task, uint64_t hash) {
  if (const auto it = by_hash_.find(hash); it != by_hash_.end()) {
    it->second.erase(std::remove(it->second.begin(), it->second.end(), task), it->second.end());
    if (it->second.empty()) by_hash_.erase(it);
  }
  if (waiters_.empty()) return;
  const auto waiters = waiters_.find(task);
  if (waiters == waiters_.end()) return;
  waits_ -= static_cast<int64_t>(waiters->second.size());
  for (const int64_t job : waiters->second) over_.emplace_back(job, task);
  waiters_.erase(waiters);
}

TasksInFlight::Over TasksInFlight::TakeOver() {
  Over all;
  absl::flat_hash_map<int64_t, size_t> places;
  for (const auto& [job, task] : std::exchange(over_, {})) {
    const auto [place, is_new] = places.try_emplace(job, all.size());
    if (is_new) all.push_back({job, {}});
    all[place->second].second.push_back(task);
  }
  return all;
}

}  // namespace forall
