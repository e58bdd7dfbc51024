// SPDX-License-Identifier: Apache-2.0
// From what a worker reports to what is stored: checks every field, then makes values, intervals
// and baselines of it. Pure.
#ifndef FORALL_SEARCH_CONTROLLER_MEASUREMENT_MAKER_H_
#define FORALL_SEARCH_CONTROLLER_MEASUREMENT_MAKER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "search/controller/measurement_index.h"
#include "search/store/result_store.h"

namespace forall {

// What a split may have, as many as a job can ask for. A worker that claims more would make the
// controller share out an evaluation without end.
inline constexpr int64_t kMostSplitImages = 100'000'000;

// Who measured.
struct MeasuredBy {
  std::string worker;
  std::string build;
  std::string device;
  std::string device_class;
  std::string device_fingerprint;
  std::string profile;
  std::string lease_token;
  absl::Time time;
};

// InvalidArgument naming a field of the result: one of another kind than the task's, of other
// images than asked for, evidence that does not fit. OutOfRange naming a field whose number no
// measurement can have: not finite, a latency or another value that is not positive, more right
// than there are images.
absl::Status CheckResult(const v1::Task& task, const v1::TaskResult& result);
// The latter alone, which no task is needed for.
absl::Status CheckNumbers(const v1::TaskResult& result);

// SHA-256 of what a result says, whatever it came in: recognises a repeated call.
std::string ResultFingerprint(const v1::TaskResult& result);

// Wilson's score interval of a proportion, in percent (Wilson, "Probable inference, the law of
// succession, and statistical inference", JASA 1927), for 95 %. It says how far the accuracy on
// these images may be from that on all images like them.
void WilsonInterval(int64_t correct, int64_t images, double* low, double* high);

// Top-1 and top-5 of a checked result, without ids.
std::vector<MeasurementRecord> AccuracyMeasurements(const v1::Task& task,
                                                    const v1::AccuracyResult& result,
                                                    const MeasuredBy& by);

// The baseline that a first measurement on its device, fingerprint, profile, reference and batch
// begins: the reference as the worker's calibration found it, else as this measurement did.
BaselineRecord MakeBaseline(const v1::Task& task, const v1::LatencyResult& result,
                            const MeasuredBy& by);

// All numbers of a checked result, without ids: its latency, ratio x the baseline's reference,
// comes first, then its other values in their order, then what follows from them and the task wants
// (derived_metric.h). Their subject is the artifact at final fidelity, the graph otherwise.
std::vector<MeasurementRecord> LatencyMeasurements(const v1::Task& task,
                                                   const v1::LatencyResult& result,
                                                   const MeasuredBy& by,
                                                   const BaselineRecord& baseline);

// Whether a checked accuracy is all that its task's evaluation asks for, though the task may have
// been a part that turned out to be the whole.
bool IsWhole(const v1::Task& task, const v1::AccuracyResult& result);
// A checked result that is not.
AccuracyPartRecord PartOf(const v1::Task& task, const v1::AccuracyResult& result,
                          const MeasuredBy& by, int64_t task_id);
// Counts and bits of pieces that cover an evaluation without gap, as if it had been done at once.
v1::AccuracyResult Join(absl::Span<const AccuracyPiece> pieces);

// Without the measurement's id.
MeasurementEvidence EvidenceOf(const v1::TaskResult& result);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_MEASUREMENT_MAKER_H_
