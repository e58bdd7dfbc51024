// SPDX-License-Identifier: Apache-2.0
#include "search/queue/task_needs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace forall {
namespace {

int Urgency(TaskKind kind) {
  switch (kind) {
    case TaskKind::kExport:
      return 1;
    case TaskKind::kLatency:
      return 2;
    case TaskKind::kAccuracy:
      return 3;
  }
  return 4;
}

bool Matches(const std::string& wanted, const std::string& offered) {
  return wanted.empty() || wanted == offered;
}

template <typename T>
bool Contains(const std::vector<T>& items, const T& item) {
  return std::find(items.begin(), items.end(), item) != items.end();
}

}  // namespace

bool Satisfies(const WorkerOffer& offer, const TaskNeeds& needs) {
  if (!offer.kinds.empty() && !Contains(offer.kinds, needs.kind)) return false;
  if (!needs.dataset.empty() && !Contains(offer.datasets, needs.dataset)) return false;
  for (const std::string& metric : needs.metrics) {
    if (!Contains(offer.metrics, metric)) return false;
  }
  return Matches(needs.device, offer.device) &&
         Matches(needs.device_fingerprint, offer.device_fingerprint) &&
         Matches(needs.profile, offer.profile);
}

std::string NeedsKey(const TaskNeeds& needs) {
  return absl::StrCat(Urgency(needs.kind), "\n", needs.dataset, "\n", needs.device, "\n",
                      needs.device_fingerprint, "\n", needs.profile, "\n",
                      absl::StrJoin(needs.metrics, ","));
}

std::string OfferKey(const WorkerOffer& offer) {
  std::vector<std::string> datasets = offer.datasets;
  std::sort(datasets.begin(), datasets.end());
  std::vector<int> kinds;
  for (const TaskKind kind : offer.kinds) kinds.push_back(static_cast<int>(kind));
  std::sort(kinds.begin(), kinds.end());
  return absl::StrCat(offer.device, "\n", offer.device_fingerprint, "\n", offer.profile, "\n",
                      absl::StrJoin(datasets, ","), "\n", absl::StrJoin(kinds, ","), "\n",
                      absl::StrJoin(offer.metrics, ","));
}

}  // namespace forall
