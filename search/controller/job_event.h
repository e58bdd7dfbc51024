// SPDX-License-Identifier: Apache-2.0
// One line of a job's append-only log. All that a job knows is a fold over these lines (job_fold.h)
// and over the measurements they name, so that a restarted controller knows exactly what the killed
// one knew, and makes the same proposals for the same log.
//
// Kinds and the fields they use (others are left out of the JSON):
//   submitted   tenant, warnings                     whose it is, and what was doubtful then
//   bound       target, device, fingerprint, profile   a latency target has found its device
//   known       subnets                                what the job learns from besides its trials
//   proposed    trial, trial_id, choices; values of a predictor, latencies, expected, deviations
//               the sampler's decision, and what it predicts
//   exported    trial, task, artifact                  task 0: an earlier export was reused
//   part        trial, task, fidelity, split           a part of an accuracy is in
//   measured    trial, task, fidelity, split, target, measurements   task 0: reused, or joined
//   rejected    trial, task, fidelity, target, measurements, message  a latency nobody can trust
//   failed      trial, task, worker, reason, message, last  last: the task is not tried again
//   climbed     trial                                  goes on to the next tier of images
//   decided     trial, state, message, reused, stopped_by, accuracy_known; values, hypervolume,
//               frontier for the reader
//   finalizing  trial                                  a frontier member is measured finally
//   finalized   trial, message                         message: why it could not be
//   contesting  trial                                  its latencies are measured finally: by their
//               intervals it could join the frontier
//   contested   trial                                  that is done, or could not be
//   retracted   measurements, message                  of those that the job rested on, and why
//   state       state, message                         of the job; message: why it failed, or why
//               it proposed no more before its budget of trials was spent
#ifndef FORALL_SEARCH_CONTROLLER_JOB_EVENT_H_
#define FORALL_SEARCH_CONTROLLER_JOB_EVENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "search/store/result_store.h"

namespace forall {

// A network that was measured before the job was submitted.
struct KnownSubnet {
  std::vector<int32_t> choices;
  // Per slot of the job's plan the measurement that holds its value, 0 where there is none.
  std::vector<int64_t> measurements;
  bool operator==(const KnownSubnet&) const = default;
};

struct JobEvent {
  std::string kind = {};
  int64_t sequence = 0;
  absl::Time time = {};

  int64_t trial = 0;  // ordinal within the job
  int64_t trial_id = 0;
  int64_t task = 0;
  int target = -1;         // of JobPlan::targets; -1 for an accuracy
  int state = 0;           // a TrialState or a JobState
  int64_t stopped_by = 0;  // ordinal of the trial that was shown to be better
  bool last = false;
  bool reused = false;
  bool accuracy_known = false;  // of a trial that was decided without its accuracy
  std::vector<int32_t> choices = {};
  std::vector<int64_t> measurements = {};
  std::string artifact = {};
  std::string fidelity = {};
  std::string split = {};
  std::string device = {};
  std::string fingerprint = {};
  std::string profile = {};
  std::string worker = {};
  std::string reason = {};
  std::string message = {};
  std::string tenant = {};
  std::vector<std::string> warnings = {};
  std::vector<double> values = {};
  std::vector<double> latencies = {};  // of a proposal: by tables, in the plan's order
  // Of a proposal that was predicted: per objective, in its own unit and orientation.
  std::vector<double> expected = {};
  std::vector<double> deviations = {};
  std::vector<KnownSubnet> subnets = {};
  double hypervolume = 0;
  int64_t frontier = 0;
};

EventRecord ToRecord(int64_t job, const JobEvent& event);
// DataLoss when the payload is not what ToRecord writes.
absl::StatusOr<JobEvent> FromRecord(const EventRecord& record);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_EVENT_H_
