// SPDX-License-Identifier: Apache-2.0
// Tasks of no job: networks, and parts of networks, that somebody wants timed for a lookup table.
// They live in memory alone, as long as somebody asks for them; what comes out of them is kept.
#ifndef FORALL_SEARCH_CONTROLLER_NETWORK_TASKS_H_
#define FORALL_SEARCH_CONTROLLER_NETWORK_TASKS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "proto/forall/v1/search_service.pb.h"
#include "search/controller/measurement_index.h"
#include "search/queue/lease_table.h"

namespace forall {

// One subject of a MeasureNetworksRequest on a device.
struct NetworkTask {
  // Subjects to look under, the one to measure first: the more precise profiles follow.
  std::vector<std::string> subjects;
  // What is asked of a worker, but for the spec; its graph_key is the first subject.
  v1::Task wire;
  // Task.network_spec, the same for all tasks of a request. Never nullptr.
  std::shared_ptr<const std::string> spec;
  int32_t work = -1;  // QueuedTask.work
};

// Of every subject of a request, without the device; keys and parts are checked against the space.
// INVALID_ARGUMENT naming the field, FAILED_PRECONDITION for parts of networks that have none.
absl::StatusOr<std::vector<NetworkTask>> NetworkTasksOf(const v1::MeasureNetworksRequest& request);

// Thread-compatible: the controller's lock guards it.
class NetworkTasks {
 public:
  // Tasks count for this job in the lease table; no stored job has the number.
  static constexpr int64_t kJob = -1;
  // What is rejected is measured anew, so often in all.
  static constexpr int kAttempts = 3;
  // A task that nobody asks for during so long is not begun.
  static constexpr absl::Duration kPatience = absl::Minutes(1);
  // Of different specs that are kept at once; tasks of further ones wait.
  static constexpr size_t kMostSpecBytes = size_t{16} << 20;

  struct Options {
    Clock* clock = Clock::Real();  // not owned, must outlive
    int64_t epoch = 1;
  };
  explicit NetworkTasks(const Options& options) : options_(options) {}

  // Ids of stored tasks are smaller; those of different epochs differ, so that no result of an
  // earlier life is taken for another task's.
  static bool IsNetworkTask(int64_t id) { return id >= kFirstId; }

  // How the subject stands: known, failed, or queued now at the latest. `measured` becomes the id
  // of what is known, 0 otherwise. `fingerprint` is the device's.
  v1::NetworkTiming Ask(const NetworkTask& task, const std::string& fingerprint,
                        const MeasurementIndex& index, LeaseTable* leases, int64_t* measured);

  // The open task, or nullptr. Its spec, the larger part of what a worker is sent, is apart.
  const v1::Task* Find(int64_t id) const;
  const std::string* FindSpec(int64_t id) const;
  size_t spec_bytes() const { return spec_bytes_; }
  // OK when this result was taken before, Aborted when the task is none that is open, AlreadyExists
  // when it was completed otherwise under the same lease.
  absl::Status Closed(int64_t id, const std::string& token, const std::string& fingerprint) const;
  // It has a measurement. A rejected one is worth another attempt when it is asked for again.
  void Completed(int64_t id, const std::string& token, const std::string& fingerprint,
                 const std::string& rejected_because);
  // It will not be tried again.
  void Failed(int64_t id, const std::string& token, const std::string& fingerprint,
              const std::string& message);
  // Takes waiting tasks away that nobody asks for any more, and forgets what became of others.
  void Expire(LeaseTable* leases);
  // Forgets all; the lease table has lost the tasks already.
  void Clear();

 private:
  static constexpr int64_t kFirstId = int64_t{1} << 56;

  struct Entry {
    v1::Task wire;
    std::shared_ptr<const std::string> spec;  // of an open task
    int64_t task = 0;                         // open, or 0
    int rejections = 0;
    std::string error;  // it has failed
    int64_t asked_ns = 0;
    // Of the last result.
    int64_t closed_task = 0;
    std::string closed_token;
    std::string closed_fingerprint;
  };

  struct ByText {
    bool operator()(const std::shared_ptr<const std::string>& a,
                    const std::shared_ptr<const std::string>& b) const {
      return *a < *b;
    }
  };

  // The one copy of this spec; nullptr when there is no room for it.
  std::shared_ptr<const std::string> Share(const std::shared_ptr<const std::string>& spec);
  // Of those that no task has any more.
  void ForgetSpecs();
  // Of an open task; nullptr when there is none.
  Entry* EntryOf(int64_t id);
  void Close(Entry* entry, const std::string& token, const std::string& fingerprint);

  const Options options_;
  int64_t next_ = 0;
  std::map<std::string, Entry> entries_;  // by what makes a measurement, see KeyText
  std::map<int64_t, std::string> open_;   // task -> key
  std::set<std::shared_ptr<const std::string>, ByText> specs_;
  size_t spec_bytes_ = 0;  // of specs_
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_NETWORK_TASKS_H_
