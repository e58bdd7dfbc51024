// SPDX-License-Identifier: Apache-2.0
// Calls of those who make lookup tables: latencies that belong to no job.
#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "search/controller/controller.h"
#include "search/controller/controller_answer.h"
#include "search/controller/latency_rules.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"

namespace forall {

absl::StatusOr<const v1::Worker*> Controller::FindMeasurerLocked(
    const v1::MeasureNetworksRequest& request) {
  if (request.device().empty() && request.device_class().empty()) {
    return absl::InvalidArgumentError("device: required, or device_class");
  }
  std::string id;
  if (!request.device().empty()) {
    absl::StatusOr<std::string> parsed = ParseDeviceName(request.device());
    if (!parsed.ok()) return WithContext(parsed.status(), "device");
    id = *std::move(parsed);
  }
  const v1::Worker* active = nullptr;
  const v1::Worker* away = nullptr;
  std::set<std::string> devices;
  std::set<std::string> others;
  for (const auto& [name, worker] : workers_) {
    const v1::Worker& resource = worker.resource;
    if (!worker.takes_latency) continue;
    const bool wanted =
        (request.device().empty() || request.device() == resource.device().name()) &&
        (request.device_class().empty() ||
         request.device_class() == resource.device().device_class());
    (wanted ? devices : others).insert(resource.device().name());
    if (!wanted || (!request.profile().empty() && request.profile() != resource.profile().hash())) {
      continue;
    }
    const std::optional<WorkerStatus> status = leases_->FindWorker(name);
    const bool takes = status.has_value() && status->state == WorkerState::kActive;
    const v1::Worker*& found = takes ? active : away;
    if (found == nullptr) found = &resource;
  }
  const std::string asked = request.device().empty()
                                ? absl::StrCat("device_class: ", request.device_class())
                                : absl::StrCat("device: ", request.device());
  if (devices.size() > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(asked, ": several devices are of that class: ", absl::StrJoin(devices, ", "),
                     "; name one"));
  }
  if (active == nullptr) active = away;
  if (active != nullptr) {
    FORALL_RETURN_IF_ERROR(CheckBatch("batch", *active, std::max(1, request.batch())));
    return active;
  }
  if (!devices.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("profile: ", request.profile(), ": no worker of ", *devices.begin(),
                     " has it; leave the profile out, or start the worker as before"));
  }
  const std::string known = others.empty()
                                ? "no worker has registered yet: start one, forall-worker"
                                : absl::StrCat("there are ", absl::StrJoin(others, ", "));
  if (request.device().empty() || registry_->devices.count(id) == 0) {
    return absl::NotFoundError(absl::StrCat(asked, ": no such device; ", known));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      asked, ": no worker has registered for it since the controller started; ", known));
}

void Controller::MeasureNetworks(const v1::MeasureNetworksRequest& request,
                                 Done<v1::MeasureNetworksResponse> done) {
  // Networks are described without the lock.
  absl::StatusOr<std::vector<NetworkTask>> tasks = NetworkTasksOf(request);
  if (!tasks.ok()) return done(tasks.status());
  // Stores nothing itself: what it has measured is stored with the results.
  Read<v1::MeasureNetworksResponse>(
      request.ByteSizeLong(), std::move(done),
      [this, request, wanted = *std::move(tasks)]() -> absl::StatusOr<v1::MeasureNetworksResponse> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const v1::Worker* const worker, FindMeasurerLocked(request));
        v1::MeasureNetworksResponse response;
        *response.mutable_device() = worker->device();
        *response.mutable_profile() = worker->profile();
        bool running = false;
        for (NetworkTask task : wanted) {
          task.wire.set_device(worker->device().name());
          task.wire.set_profile(worker->profile().hash());
          task.work = registry_->durations.NumberOf(Work::Of(task.wire, 0));
          int64_t measured = 0;
          v1::NetworkTiming* timing = response.add_timings();
          *timing = networks_->Ask(task, worker->device().fingerprint(), registry_->index,
                                   leases_.get(), &measured);
          running |= timing->state() == v1::NetworkTiming::RUNNING;
          if (measured == 0) continue;
          *timing->mutable_measurement() =
              MeasurementView(*registry_, *registry_->index.Find(measured));
        }
        if (running) return response;
        const std::optional<StuckTask> stuck = leases_->FindStuck(NetworkTasks::kJob);
        if (stuck.has_value() && DeviceName(stuck->needs.device) == worker->device().name()) {
          response.set_waiting_reason(DescribeStuckLocked(*stuck));
        }
        return response;
      });
}

}  // namespace forall
