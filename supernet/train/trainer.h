// SPDX-License-Identifier: Apache-2.0
// Trains a supernet, or one architecture alone. Sandwich rule with in-place distillation (Yu and
// Huang, ICCV 2019; Yu et al., BigNAS, ECCV 2020): at each step the largest subnet learns from the
// labels, the smallest and some random ones from the largest's predictions. Progressive shrinking
// (Cai et al., ICLR 2020): phases that draw from ever more options (curriculum.h), every subnet
// learning from the labels and from the full network as the first phase left it; before widths
// become elastic, channels are sorted by importance. Gradients are averaged into one step.
#ifndef FORALL_SUPERNET_TRAIN_TRAINER_H_
#define FORALL_SUPERNET_TRAIN_TRAINER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "data/dataset.h"
#include "space/family.h"
#include "supernet/train/train_options.h"

namespace forall {

// The three splits that a training needs; `test` may be null unless options.test is set.
struct TrainData {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> validation;
  std::shared_ptr<const Dataset> test;
};

struct SubnetAccuracy {
  std::string label;  // "largest", "smallest", "random 1", ...; "alone"
  Architecture architecture;
  int64_t macs = 0;
  double validation = 0;  // fractions, after re-calibration, with the averaged weights
  double test = -1;       // -1: not asked for
};

struct TrainResult {
  int64_t step = 0;
  bool complete = false;    // all epochs done, or --finish; else the time limit stopped it
  double last_loss = 0;     // of the largest or the mean subnet, at the last step of this run
  double seconds = 0;       // of training, over all pieces
  double step_seconds = 0;  // median over the progress lines of this run; 0 without one
  std::vector<SubnetAccuracy> table;  // when complete
  std::string package_hash;           // when a package was written
};

// Everything that happens at a step (order of images, subnets, augmentation) is a function of the
// seed and the step, so a resumed run equals an uninterrupted one: bit for bit on the CPU with one
// build, and up to the library's own non-determinism on a GPU.
//
// Progress goes to standard output. FailedPrecondition: a checkpoint of another recipe, or no
// checkpoint to finish. Internal: the loss is no longer finite (the message says what to try).
absl::StatusOr<TrainResult> Train(const TrainOptions& options,
                                  const std::shared_ptr<const Family>& family,
                                  const TrainData& data, Clock* clock);

// From the command line's options to all of the above.
absl::Status RunTrainer(const TrainOptions& options);

// One run after another: the flags `arguments`, without --runs, and then those of each line of the
// file `runs`; empty lines and lines that begin with # do not count. All lines are parsed before
// the first run. Stops at the first error.
absl::Status RunAll(const std::vector<std::string>& arguments, const std::string& runs);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_TRAINER_H_
