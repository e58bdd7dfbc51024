// SPDX-License-Identifier: Apache-2.0
// Everything that the store knows, in memory: what a controller serves from. It can be read anew at
// any time, which is what follows a failed commit.
#ifndef FORALL_SEARCH_CONTROLLER_REGISTRY_H_
#define FORALL_SEARCH_CONTROLLER_REGISTRY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "search/controller/job_controller.h"
#include "search/controller/measurement_index.h"
#include "search/controller/task_durations.h"
#include "search/controller/tasks_in_flight.h"
#include "search/queue/lease_table.h"
#include "search/store/result_store.h"
#include "space/family.h"

namespace forall {

struct SupernetEntry {
  SupernetRecord record;
  std::shared_ptr<const Family> family;
};

struct TaskEntry {
  TaskRecord record;               // without its payload
  std::unique_ptr<v1::Task> wire;  // while it is open
  uint64_t hash = 0;               // WorkHash of it
};

// Thread-compatible: the controller's lock guards it once it is loaded.
struct Registry {
  StoreIds ids;
  MeasurementIndex index;
  std::map<std::string, SupernetEntry> supernets;
  std::map<std::string, DeviceRecord> devices;
  std::map<std::pair<std::string, std::string>, DatasetRecord> datasets;  // by name and split
  std::map<int64_t, std::unique_ptr<JobController>> jobs;
  absl::flat_hash_map<std::string, int64_t> jobs_by_request;
  absl::flat_hash_map<int64_t, TaskEntry> tasks;
  TaskDurations durations;
  TasksInFlight in_flight;  // of `tasks`, those that are open
  // Tasks that are open in the store, in order of id: to be queued.
  std::vector<QueuedTask> open_tasks;
};

// Where the files come from that a spec names: of a job of this family.
using FindJobFiles = std::function<absl::StatusOr<JobFiles>(
    const v1::SearchJobSpec& spec, const std::shared_ptr<const Family>& family)>;

// The fingerprint that the job's latency task was made for; "" for other tasks.
std::string FingerprintOf(const JobFold& fold, const v1::Task& wire);

// Reads all of it; jobs get `host`, which they do not call yet. A job whose files cannot be had
// is loaded from its log alone and proposes nothing more. DataLoss when what is stored contradicts
// itself.
absl::StatusOr<std::unique_ptr<Registry>> LoadRegistry(ResultStore* store, JobHost* host,
                                                       const FindJobFiles& find_files);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_REGISTRY_H_
