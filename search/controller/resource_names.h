// SPDX-License-Identifier: Apache-2.0
// Builds and parses every resource name of the wire, so that no other file knows their form:
// searchJobs/3, searchJobs/3/trials/17 (the trial's ordinal), tasks/88, supernets/fashion_mnist,
// searchSpaces/fashion_mnist, devices/pi5-lab, workers/pi5-lab-1. And page tokens, which are opaque
// to clients.
#ifndef FORALL_SEARCH_CONTROLLER_RESOURCE_NAMES_H_
#define FORALL_SEARCH_CONTROLLER_RESOURCE_NAMES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

std::string JobName(int64_t job);
std::string TrialName(int64_t job, int64_t ordinal);
std::string TaskName(int64_t task);
std::string SupernetName(absl::string_view id);
std::string SearchSpaceName(absl::string_view id);
std::string DeviceName(absl::string_view id);
std::string WorkerName(absl::string_view id);

// InvalidArgument saying what form is wanted.
absl::StatusOr<int64_t> ParseJobName(absl::string_view name);
struct TrialId {
  int64_t job = 0;
  int64_t ordinal = 0;
};
absl::StatusOr<TrialId> ParseTrialName(absl::string_view name);
absl::StatusOr<int64_t> ParseTaskName(absl::string_view name);
absl::StatusOr<std::string> ParseSupernetName(absl::string_view name);
absl::StatusOr<std::string> ParseSearchSpaceName(absl::string_view name);
absl::StatusOr<std::string> ParseDeviceName(absl::string_view name);
absl::StatusOr<std::string> ParseWorkerName(absl::string_view name);

// What a user may choose as an id: lower-case letters, digits, '-', '_' and '.', 1 to 63, the first
// a letter or digit. InvalidArgument naming `field`.
absl::Status CheckId(absl::string_view id, absl::string_view field);

// `fallback` when 0. InvalidArgument when negative; at most 1,000.
absl::StatusOr<int32_t> CheckPageSize(int32_t page_size, int32_t fallback);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_RESOURCE_NAMES_H_
