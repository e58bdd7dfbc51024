// SPDX-License-Identifier: Apache-2.0
// A made-up job for tests of the report. Its architectures and costs are real ones of
// fashion_mnist; its accuracies and latencies come from formulas and are nobody's measurements, as
// its name says.
#ifndef FORALL_SEARCH_REPORT_TESTING_SAMPLE_JOB_H_
#define FORALL_SEARCH_REPORT_TESTING_SAMPLE_JOB_H_

#include <cstdint>

#include "search/report/report_input.h"

namespace forall::testing {

struct SampleOptions {
  int trials = 120;
  uint64_t seed = 1;
  // At most this many members, evenly along the frontier.
  int max_members = 1000;
  // Beside accuracy and latency also MACs as an objective.
  bool three_objectives = false;
};

ReportInput MakeSampleJob(const SampleOptions& options);

}  // namespace forall::testing

#endif  // FORALL_SEARCH_REPORT_TESTING_SAMPLE_JOB_H_
