// SPDX-License-Identifier: Apache-2.0
// What a task needs and what a worker offers. Pure values.
#ifndef FORALL_SEARCH_QUEUE_TASK_NEEDS_H_
#define FORALL_SEARCH_QUEUE_TASK_NEEDS_H_

#include <string>
#include <vector>

#include "search/store/result_store.h"

namespace forall {

// "" asks for nothing in particular.
struct TaskNeeds {
  TaskKind kind = TaskKind::kExport;
  std::string dataset;
  std::string device;
  std::string device_fingerprint;
  std::string profile;
  std::vector<std::string> metrics;  // of a latency: what is measured beside latency_ms
};

struct WorkerOffer {
  std::string device;
  std::string device_fingerprint;
  std::string profile;
  std::vector<std::string> datasets;
  std::vector<TaskKind> kinds;  // all when empty
  std::vector<std::string> metrics;
};

bool Satisfies(const WorkerOffer& offer, const TaskNeeds& needs);

// Texts that are equal for equal needs or offers. Needs sort by urgency of their kind: exports,
// latencies, accuracies.
std::string NeedsKey(const TaskNeeds& needs);
std::string OfferKey(const WorkerOffer& offer);

}  // namespace forall

#endif  // FORALL_SEARCH_QUEUE_TASK_NEEDS_H_
