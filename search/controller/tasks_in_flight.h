// SPDX-License-Identifier: Apache-2.0
// Which open tasks give which numbers, and which jobs wait for another job's task instead of
// opening one of their own (docs/adr/0013-tasks-in-flight.md). A job waits for a number by the
// rules by which it would reuse it: MeasurementIndex, and JobController's calls of it.
#ifndef FORALL_SEARCH_CONTROLLER_TASKS_IN_FLIGHT_H_
#define FORALL_SEARCH_CONTROLLER_TASKS_IN_FLIGHT_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// A hash of what tasks have in common that could stand for each other. Not stable: never stored.
uint64_t WorkHash(const v1::Task& wire);

// Whether a job that wants what `wanted` asks for would take what `open` yields, if that is good
// enough at all: the same export; an accuracy of the same images; a latency of the same fidelity
// and subject, on the device as that fingerprint has it, with the same metrics measured, by rules
// that ask for as many runs. `all_images`: of the split that an accuracy is of, 0 while nobody
// knows.
bool StandsFor(const v1::Task& open, absl::string_view open_fingerprint, const v1::Task& wanted,
               absl::string_view wanted_fingerprint, int64_t all_images);

// Thread-compatible: the controller's lock guards it.
class TasksInFlight {
 public:
  // A task is open.
  void Add(int64_t task, uint64_t hash) { by_hash_[hash].push_back(task); }
  // Those that are, of this hash, oldest first. Good until the next change.
  absl::Span<const int64_t> Of(uint64_t hash) const;

  // The job waits for this open task of another one.
  void Wait(int64_t task, int64_t job);
  void Leave(int64_t task, int64_t job);
  // Who does, in the order in which they came. Good until the next change.
  absl::Span<const int64_t> WaitersOf(int64_t task) const;

  // The task, added with this hash, is over: who waited for it is to be told.
  void Remove(int64_t task, uint64_t hash);
  // Jobs to be told, in the order in which they waited, each with all that is over for it.
  using Over = std::vector<std::pair<int64_t, std::vector<int64_t>>>;
  Over TakeOver();
  bool has_over() const { return !over_.empty(); }

  // Pairs of a job and a task that it waits for.
  int64_t waits() const { return waits_; }

 private:
  absl::flat_hash_map<uint64_t, absl::InlinedVector<int64_t, 2>> by_hash_;
  // Of tasks that somebody waits for.
  absl::flat_hash_map<int64_t, std::vector<int64_t>> waiters_;
  std::vector<std::pair<int64_t, int64_t>> over_;  // (job, task)
  int64_t waits_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_TASKS_IN_FLIGHT_H_
