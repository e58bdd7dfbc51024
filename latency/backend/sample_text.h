// SPDX-License-Identifier: Apache-2.0
// Durations out of the texts of measuring programs, strictly: what is not plainly a believable
// duration is DataLoss, with the text.
#ifndef FORALL_LATENCY_BACKEND_SAMPLE_TEXT_H_
#define FORALL_LATENCY_BACKEND_SAMPLE_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

// Nanoseconds in a unit: "s", "ms", "us", "ns". InvalidArgument for any other.
absl::StatusOr<double> NanosOfUnit(absl::string_view unit);

// A plain decimal number, such as 1.5 or 2e-3, without anything around it; no "nan", no "inf".
absl::StatusOr<double> PlainNumber(absl::string_view text);

// A duration in nanoseconds: above zero and at most an hour.
absl::StatusOr<double> DurationNanos(double value, double nanos_per_unit);
absl::StatusOr<double> DurationNanos(absl::string_view text, double nanos_per_unit);

// DataLoss for fewer than `runs` samples (the output is cut off, or the program did not do as it
// was told) and for more than a million.
absl::Status CheckCount(size_t samples, int runs);

// At most 100 bytes of it, without control characters, in quotes: for messages.
std::string Excerpt(absl::string_view text);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_SAMPLE_TEXT_H_
