// SPDX-License-Identifier: Apache-2.0
// Everything that a job's report shows, at one moment.
#ifndef FORALL_SEARCH_REPORT_REPORT_INPUT_H_
#define FORALL_SEARCH_REPORT_REPORT_INPUT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proto/forall/v1/resources.pb.h"
#include "proto/forall/v1/search_service.pb.h"
#include "space/family.h"

namespace forall {

struct ReportInput {
  v1::SearchJob job;
  // Of the job, in order of proposal; in any state.
  std::vector<v1::Trial> trials;
  // Its objectives are the report's; the job's own when it names none.
  v1::QueryParetoFrontierResponse frontier;
  // Of the job's supernet. Without it (nullptr) subnets are named by their keys and not drawn.
  std::shared_ptr<const Family> family;
  std::vector<v1::Device> devices;
  std::vector<v1::Worker> workers;
  // (evaluations, hypervolume), ascending in evaluations.
  std::vector<std::pair<int64_t, double>> hypervolume_history;
  v1::PredictionLedger ledger;
  // Jobs that asked the same and drew at random (searchJobs/*), and what they measured: per subnet
  // the objectives, scaled as the job's hypervolume, 0 the ideal and 1 the reference.
  std::vector<std::string> random_jobs;
  std::vector<std::vector<double>> random_points;
  absl::Time generated;
  // Of forall, e.g. "0.1.0": what wrote the report.
  std::string build;
  std::string supernet_sha256;
};

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_REPORT_INPUT_H_
