// SPDX-License-Identifier: Apache-2.0
// Records for tests: every field set to something of its own, so that a swapped column shows.
#ifndef FORALL_SEARCH_STORE_TESTING_MAKE_RECORDS_H_
#define FORALL_SEARCH_STORE_TESTING_MAKE_RECORDS_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "search/store/result_store.h"

namespace forall::testing {

inline absl::Time TestTime(int64_t n) {
  return absl::FromUnixSeconds(1700000000) + absl::Nanoseconds(n);
}

inline JobRecord MakeJob(int64_t id) {
  return {.id = id,
          .request_id = absl::StrCat("request-", id),
          .spec = std::string("\x0a\x00\xff spec", 8),
          .supernet_sha256 = std::string(64, 'a'),
          .state = JobState::kRunning,
          .error = "job error",
          .history_snapshot = 7,
          .create_time = TestTime(1),
          .update_time = TestTime(2),
          .end_time = std::nullopt};
}

inline TrialRecord MakeTrial(int64_t id, int64_t job_id, int64_t ordinal) {
  return {.id = id,
          .job_id = job_id,
          .ordinal = ordinal,
          .search_space = "fashion_mnist",
          .revision = 3,
          .choices = {0, 2, -1, 2147483647},
          .arch_key = absl::StrCat("arch-", id),
          .graph_key = absl::StrCat("graph-", id),
          .create_time = TestTime(3)};
}

inline TaskRecord MakeTask(int64_t id, int64_t job_id, int64_t trial_id) {
  return {.id = id,
          .job_id = job_id,
          .trial_id = trial_id,
          .kind = TaskKind::kLatency,
          .payload = std::string("\x00payload", 8),
          .state = TaskState::kOpen,
          .attempts = 0,
          .completed_by = "",
          .completed_token = "",
          .result_fingerprint = "",
          .error = "",
          .seconds = 0};
}

// The task as a worker has finished it.
inline TaskRecord Done(TaskRecord task) {
  task.state = TaskState::kDone;
  task.attempts = 2;
  task.completed_by = "workers/w1";
  task.completed_token = "5-17";
  task.result_fingerprint = std::string(64, 'f');
  task.seconds = 12.25;
  return task;
}

inline MeasurementRecord MakeMeasurement(int64_t id, int64_t job_id, int64_t trial_id,
                                         int64_t task_id) {
  return {.id = id,
          .job_id = job_id,
          .trial_id = trial_id,
          .task_id = task_id,
          .key = {.subject = absl::StrCat("graph-", trial_id),
                  .metric = "latency_ms",
                  .device = "devices/pi5",
                  .device_class = "pi5",
                  .device_fingerprint = "fingerprint",
                  .profile = "profile",
                  .dataset = "dataset",
                  .split = "validation",
                  .recipe = "fp32",
                  .batch = 4},
          .value = 5.3,
          .low = 5.25,
          .high = 5.4,
          .interval_kind = "prediction",
          .sample_count = 64,
          .verdict = VerdictState::kNoisy,
          .reasons = {"two modes", "a \"quoted\", reason"},
          .fidelity = FidelityLevel::kFinal,
          .worker = "workers/w1",
          .worker_build = "0.1.0",
          .lease_token = absl::StrCat("5-", id),
          .time = TestTime(4),
          .retracted_by = "",
          .ratio = 1.06,
          .raw_median_ms = 5.5,
          .reference_median_ms = 5.1,
          .baseline_reference_ms = 5.0,
          .baseline_id = "baseline-1"};
}

inline MeasurementEvidence MakeEvidence(int64_t measurement_id) {
  return {.measurement_id = measurement_id,
          .samples_ns = {5300123, 5299871.5, 5312000},
          .reference_samples_ns = {5000001, 5000002},
          .top1_bitmap = std::string("\x00\xff\x10", 3),
          .environment = {{"governor", "performance"}, {"temperature", "61 C"}}};
}

inline EventRecord MakeEvent(int64_t job_id, int64_t sequence) {
  return {.job_id = job_id,
          .sequence = sequence,
          .kind = "proposed",
          .payload = absl::StrCat("{\"n\":", sequence, "}"),
          .time = TestTime(sequence)};
}

}  // namespace forall::testing

#endif  // FORALL_SEARCH_STORE_TESTING_MAKE_RECORDS_H_
