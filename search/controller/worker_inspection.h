// SPDX-License-Identifier: Apache-2.0
// What an operator is shown of one worker.
#ifndef FORALL_SEARCH_CONTROLLER_WORKER_INSPECTION_H_
#define FORALL_SEARCH_CONTROLLER_WORKER_INSPECTION_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/map.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "search/controller/registry.h"

namespace forall {

// What a worker told since it registered, beside its results. Thread-compatible.
class WorkerNews {
 public:
  struct Calibration {
    double reference_ms = 0;
    absl::Time time;
  };

  // No readings are no news.
  void NoteReadings(const google::protobuf::Map<std::string, std::string>& readings,
                    absl::Time now);
  // The latency's environment, and its calibrated reference where it has one.
  void NoteLatency(const v1::LatencyResult& latency, const std::string& baseline_id,
                   absl::Time now);

  const google::protobuf::Map<std::string, std::string>& readings() const { return readings_; }
  absl::Time readings_time() const { return readings_time_; }
  // Of a baseline; nullptr when it told of none.
  const Calibration* FindCalibration(const std::string& baseline_id) const;

 private:
  google::protobuf::Map<std::string, std::string> readings_;
  absl::Time readings_time_;
  std::map<std::string, Calibration> calibrations_;
};

// InvalidArgument naming the field: more than 200 readings, or a text of more than 1,024 bytes.
absl::Status CheckReadings(const v1::HeartbeatRequest& request);

// `worker` is its resource as clients see it, `latencies` how many of the last to show.
v1::WorkerInspection InspectionOf(const Registry& registry, const v1::Worker& worker,
                                  const WorkerNews& news, int latencies);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_WORKER_INSPECTION_H_
