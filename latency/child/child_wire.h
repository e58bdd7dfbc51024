// SPDX-License-Identifier: Apache-2.0
// What a worker and its measuring child say to each other over a socket: JSON texts and model
// files, each behind its length. Both ends are one build of one program.
#ifndef FORALL_LATENCY_CHILD_CHILD_WIRE_H_
#define FORALL_LATENCY_CHILD_CHILD_WIRE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "latency/measure/measurement.h"

namespace forall {

// Of models, which are the worker's own.
constexpr int64_t kLargestFrame = int64_t{4} << 30;
// Of what a child says, which a hostile model may have taken over: no length that it makes up, and
// no text of that length once it is parsed, is to cost its worker memory. The longest honest answer
// is a session of 5,000 runs (max_runs of a job's rules), 10,000 numbers of at most 25 characters:
// 250 KB. Notes and messages have the rest.
constexpr int64_t kLargestAnswer = int64_t{4} << 20;

// Under which the child finds the socket.
constexpr int kChildSocket = 3;

// Unavailable when the other end is gone, DeadlineExceeded when it does not read.
absl::Status SendFrame(int fd, absl::string_view payload,
                       absl::Duration timeout = absl::Minutes(1));
// Waits for a whole frame. Unavailable when the other end is gone, DeadlineExceeded, Cancelled
// (`cancelled` may be empty), DataLoss for one above `max_bytes`, before memory is taken.
absl::StatusOr<std::string> ReceiveFrame(int fd, absl::Duration timeout,
                                         const std::function<bool()>& cancelled = {},
                                         int64_t max_bytes = kLargestFrame);

// JSON forms. The readers return DataLoss for what the writers do not write.
std::string ProfileToJson(const Profile& profile);
absl::StatusOr<Profile> ProfileFromJson(absl::string_view text);
std::string SamplesToJson(const SessionSamples& samples);
absl::StatusOr<SessionSamples> SamplesFromJson(absl::string_view text);

// To a child whose reference is empty, with the model's frame behind it when it is to be loaded.
struct LoneRequest {
  bool load = false;
  absl::Duration duration;  // otherwise: to run for so long
};
struct LoneAnswer {
  int64_t inferences = 0;
  absl::Duration process_time;
  int64_t peak_bytes = 0;  // after loading
  std::string no_memory;   // why that is not known
};
// Under this key of a result.
constexpr char kLoneAnswer[] = "alone";
std::string LoneRequestToJson(const LoneRequest& request);
absl::StatusOr<LoneRequest> LoneRequestFromJson(absl::string_view text);
std::string LoneAnswerToJson(const LoneAnswer& answer);
absl::StatusOr<LoneAnswer> LoneAnswerFromJson(absl::string_view text);

}  // namespace forall

#endif  // FORALL_LATENCY_CHILD_CHILD_WIRE_H_
