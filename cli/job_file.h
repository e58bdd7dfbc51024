// SPDX-License-Identifier: Apache-2.0
// A job as a YAML or JSON file.
//
//   name: pi5 under 8 ms
//   supernet: fashion_mnist
//   objectives: [accuracy_top1, latency_ms@pi5-lab]
//   constraints: ["latency_ms@pi5-lab<=8", "macs<=50M"]
//   sampler: {algorithm: nsga2, population_size: 50, mutation_probability: 0.1}
//   budget: {max_trials: 300, max_duration: 2h}
//   fidelity: {screening_images: 2500, final_images: 10000, calibration_images: 2000,
//              calibration_seed: 1, test_split: true}
//   seed: 1
//   dataset: fashion_mnist
//   parallelism: 4
//   recipe: fp32
#ifndef FORALL_CLI_JOB_FILE_H_
#define FORALL_CLI_JOB_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/forall/v1/resources.pb.h"

namespace forall {

// InvalidArgument names the field (or the line, when the text is not YAML) and, for an unknown
// field, suggests the nearest known one. Values are checked for type only: the controller knows the
// rest.
absl::StatusOr<v1::SearchJobSpec> ParseJobFile(absl::string_view text);

}  // namespace forall

#endif  // FORALL_CLI_JOB_FILE_H_
