// SPDX-License-Identifier: Apache-2.0
#include "search/store/result_store.h"

#include <memory>
#include <utility>

#include "base/mutex.h"

namespace forall {
namespace {

// What Commit waits on. Shared with the callback, which may still hold it when the waiter returns.
struct Outcome {
  Mutex mu;
  CondVar decided;
  std::optional<absl::Status> status ABSL_GUARDED_BY(mu);
};

}  // namespace

bool StoreBatch::empty() const {
  return insert_jobs.empty() && update_jobs.empty() && insert_trials.empty() &&
         insert_tasks.empty() && update_tasks.empty() && insert_measurements.empty() &&
         insert_evidence.empty() && insert_artifacts.empty() && insert_supernets.empty() &&
         insert_exports.empty() && insert_baselines.empty() && insert_datasets.empty() &&
         delete_datasets.empty() && insert_parts.empty() && delete_parts.empty() &&
         upsert_devices.empty() && append_events.empty() && retractions.empty() &&
         delete_jobs.empty() && delete_supernets.empty() && drop_samples.empty();
}

absl::Status ResultStore::Commit(StoreBatch batch) {
  auto outcome = std::make_shared<Outcome>();
  CommitAsync(std::move(batch), [outcome](absl::Status status) {
    MutexLock lock(&outcome->mu);
    outcome->status = std::move(status);
    outcome->decided.Signal();
  });
  MutexLock lock(&outcome->mu);
  while (!outcome->status.has_value()) outcome->decided.Wait(&outcome->mu);
  return *std::move(outcome->status);
}

}  // namespace forall
