// SPDX-License-Identifier: Apache-2.0
// What this machine is and what it runs models with, as the controller wants to know it.
#ifndef FORALL_EVALUATOR_WORKER_DEVICE_PROBE_H_
#define FORALL_EVALUATOR_WORKER_DEVICE_PROBE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "latency/backend/backend.h"
#include "latency/measure/environment.h"
#include "proto/forall/v1/resources.pb.h"

namespace forall {

// The machine's name as an id: lower case, other characters than letters, digits, '-', '_' and '.'
// become '-', at most 63; "localhost" when nothing is left.
std::string IdFromHostname();
std::string IdFromName(absl::string_view name);

// InvalidArgument naming `flag` unless `id` is 1 to 63 lower-case letters, digits, '-', '_' and
// '.', the first a letter or digit.
absl::Status CheckWorkerId(absl::string_view flag, absl::string_view id);

// "x86-64" or "aarch64"; other architectures by the kernel's name for them.
std::string DefaultDeviceClass(const Environment& environment);

// devices/{id}. Its properties are what lasts: temperature, load and the like belong to a
// measurement.
v1::Device DescribeDevice(const Environment& environment, const std::string& id,
                          const std::string& device_class);

v1::RuntimeProfile DescribeProfile(const Environment& environment,
                                   const BackendDescription& backend);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_DEVICE_PROBE_H_
