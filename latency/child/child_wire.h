// SPDX-License-Identifier: Apache-2.0
// What a worker and its measuring child say to each other over a socket: JSON texts and model
// files, each behind its length. Both ends are one build of one program.
#ifndef FORALL_LATENCY_CHILD_CHILD_WIRE_H_
#define FORALL_LATENCY_CHILD_CHILD_WIRE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "latency/measure/measurement.h"

namespace forall {

// Under which the child finds the socket.
constexpr int kChildSocket = 3;

// Unavailable when the other end is gone, DeadlineExceeded when it does not read.
absl::Status SendFrame(int fd, absl::string_view payload,
                       absl::Duration timeout = absl::Minutes(1));
// Waits for a whole frame. Unavailable when the other end is gone, DeadlineExceeded, Cancelled
// (`cancelled` may be empty), DataLoss for a length that no frame has.
absl::StatusOr<std::string> ReceiveFrame(int fd, absl::Duration timeout,
                                         const std::function<bool()>& cancelled = {});

// JSON forms. The readers return DataLoss for what the writers do not write.
std::string ProfileToJson(const Profile& profile);
absl::StatusOr<Profile> ProfileFromJson(absl::string_view text);
std::string SamplesToJson(const SessionSamples& samples);
absl::StatusOr<SessionSamples> SamplesFromJson(absl::string_view text);

}  // namespace forall

#endif  // FORALL_LATENCY_CHILD_CHILD_WIRE_H_
