// SPDX-License-Identifier: Apache-2.0
// What a finished training leaves for other programs: its table, and one line in a comparison.
#ifndef FORALL_SUPERNET_TRAIN_RUN_REPORT_H_
#define FORALL_SUPERNET_TRAIN_RUN_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "space/search_space.h"
#include "supernet/train/train_options.h"
#include "supernet/train/trainer.h"

namespace forall {

// {"subnets": [{"subnet", "macs", "validation", "test", "architecture"}, ...], "package_sha256"}.
absl::Status WriteTable(const std::string& path, const SearchSpace& space,
                        const TrainResult& result);

// Appends one line of JSON: method, architecture where one was trained alone, seed, epochs, steps,
// seconds, seconds per step, and for every subnet of the table its MACs and accuracies. The
// accuracies are a function of the options; the seconds are not.
absl::Status AppendLine(const std::string& path, const TrainOptions& options,
                        const TrainResult& result);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_RUN_REPORT_H_
