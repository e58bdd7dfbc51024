// SPDX-License-Identifier: Apache-2.0
// What forall-train was asked to do.
#ifndef FORALL_SUPERNET_TRAIN_TRAIN_OPTIONS_H_
#define FORALL_SUPERNET_TRAIN_TRAIN_OPTIONS_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace forall {

// How the learning rate moves over the schedule: both rise for warmup_epochs (kOneCycle along half
// a cosine from lr / 25, kCosine linearly from 0), then fall along half a cosine to lr / 10000.
enum class Schedule { kOneCycle, kCosine };

enum class DepthwiseMethod { kAten, kCustom };

// kSandwich: every step trains the largest, the smallest and some random subnets. kProgressive:
// progressive shrinking, in phases (curriculum.h). kAlone: one architecture and nothing else.
enum class TrainMethod { kSandwich, kProgressive, kAlone };

// Of progressive shrinking: full, kernel, depth 1, depth 2, width 1, width 2.
inline constexpr size_t kProgressivePhases = 6;

struct TrainOptions {
  // What and where.
  std::string family = "fashion_mnist";  // a known name
  std::string spec;                      // path of a spec file; replaces `family` when not empty
  std::string dataset = "fashion_mnist";
  std::string data = "build/deps";
  std::string device = "cpu";  // or "cuda"
  std::string package;         // directory for the trained package; "" writes none
  std::string checkpoint_dir;  // "" keeps none
  bool resume = false;         // go on from checkpoint_dir, when it holds a checkpoint
  bool finish = false;         // train no more: table and package from the checkpoint
  uint64_t seed = 1;

  // How long.
  int epochs = 80;                // stop after this many
  int schedule_epochs = 0;        // length of the learning-rate schedule; 0 = epochs
  double time_limit_seconds = 0;  // stop cleanly, with a checkpoint; 0 = none
  int checkpoint_every = 10;      // epochs
  int eval_every = 10;            // epochs; 0 = only at the end
  int log_every = 50;             // steps

  // What is trained at a step.
  TrainMethod method = TrainMethod::kSandwich;
  // kAlone is what this asks for: "largest", "smallest", "random-N" (of the final table), JSON
  // text, or the path of a JSON file, in either notation of Family::ParseArchitecture.
  std::string architecture;
  // Of the steps, and of `lr`, in each phase of kProgressive. The authors': 180, 120, 25, 120, 25
  // and 120 epochs; 2.6, 0.96, 0.08, 0.24, 0.08 and 0.24.
  std::array<double, kProgressivePhases> phase_shares = {0.30, 0.20, 0.05, 0.20, 0.05, 0.20};
  std::array<double, kProgressivePhases> phase_lr = {1, 0.37, 0.03, 0.09, 0.03, 0.09};
  double kd_ratio = 1.0;  // weight of the teacher's soft labels beside the labels' own loss

  // The recipe. The defaults are those of the supernet that ships.
  int batch = 1024;
  int random_subnets = 2;  // per step, beside the largest and the smallest
  double lr = 0.8;
  Schedule schedule = Schedule::kOneCycle;
  double warmup_epochs = 5;
  double momentum = 0.9;
  double weight_decay = 2e-4;  // convolutions and matrices only
  double label_smoothing = 0.1;
  double clip_norm = 5.0;  // of the mean gradient over the step's subnets; 0 = off
  double dropout = 0.0;    // before the last layer, of the largest subnet only
  double ema_decay = 0.999;
  bool zero_residual_scale = true;  // the last BatchNorm scale of a residual branch starts at 0
  int shift = 2;                    // pixels
  bool flip = true;
  double erase_probability = 0.3;

  // Final evaluation.
  int calibration_images = 2000;
  int calibration_batch = 500;
  int table_subnets = 10;   // random ones, beside the largest and the smallest
  uint64_t table_seed = 1;  // which random ones: the same for every seed
  bool test = false;        // also on the test split
  std::string table;        // JSON file for the final table; "" writes none
  std::string lines;        // file to which a complete run adds one line of JSON; "" adds none

  // Machinery.
  DepthwiseMethod depthwise = DepthwiseMethod::kAten;
  bool cudnn_benchmark = true;
  bool check_depthwise = false;  // compare the custom kernels with ATen's, time both, and exit
  std::string runs;              // file of further flags, one run a line: they go one after another
};

// What --help prints.
std::string TrainHelp();

// `arguments` without the program's name; "--key value", "--key=value", and for switches "--key" or
// "--no-key". InvalidArgument names the flag. An empty result with `*help_wanted` set: --help.
absl::StatusOr<TrainOptions> ParseTrainOptions(absl::Span<const std::string> arguments,
                                               bool* help_wanted);

// The settings that decide what the weights become, as flags: two runs with equal text are the same
// training, so a checkpoint of one may be resumed by the other.
std::string RecipeFlags(const TrainOptions& options);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_TRAIN_OPTIONS_H_
