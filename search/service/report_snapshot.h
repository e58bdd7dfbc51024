// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_SEARCH_SERVICE_REPORT_SNAPSHOT_H_
#define FORALL_SEARCH_SERVICE_REPORT_SNAPSHOT_H_

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "search/controller/controller.h"
#include "search/report/report_input.h"

namespace forall {

// What a report shows of what a controller knows of a job.
inline ReportInput ReportInputOf(Controller::JobSnapshot snapshot, absl::Time generated,
                                 std::string build) {
  ReportInput input;
  input.job = std::move(snapshot.job);
  input.trials = std::move(snapshot.trials);
  input.frontier = std::move(snapshot.frontier);
  input.family = std::move(snapshot.family);
  input.devices = std::move(snapshot.devices);
  input.workers = std::move(snapshot.workers);
  input.hypervolume_history = std::move(snapshot.hypervolume_history);
  input.ledger = std::move(snapshot.ledger);
  input.random_jobs = std::move(snapshot.random.jobs);
  input.random_points = std::move(snapshot.random.points);
  input.generated = generated;
  input.build = std::move(build);
  input.supernet_sha256 = std::move(snapshot.supernet_sha256);
  return input;
}

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_REPORT_SNAPSHOT_H_
