// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/train_options.h"

#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// One flag: how to read it and how to show its present value.
struct Flag {
  std::string name;
  std::string help;
  bool is_switch = false;
  bool decides_weights = false;
  std::function<absl::Status(const std::string&)> read;
  std::function<std::string()> show;
};

class FlagTable {
 public:
  explicit FlagTable(TrainOptions* options);
  const std::vector<Flag>& flags() const { return flags_; }
  const Flag* Find(const std::string& name) const {
    for (const Flag& flag : flags_) {
      if (flag.name == name) return &flag;
    }
    return nullptr;
  }

 private:
  void Text(const char* name, std::string* value, const char* help, bool decides_weights = false) {
    flags_.push_back({name, help, false, decides_weights,
                      [value](const std::string& text) {
                        *value = text;
                        return absl::OkStatus();
                      },
                      [value] { return *value; }});
  }
  void Switch(const char* name, bool* value, const char* help, bool decides_weights = false) {
    flags_.push_back({name, help, true, decides_weights,
                      [value](const std::string& text) {
                        *value = text == "true";
                        return absl::OkStatus();
                      },
                      [value] { return *value ? "true" : "false"; }});
  }
  void Integer(const char* name, int* value, int least, const char* help,
               bool decides_weights = false) {
    const std::string flag = name;
    flags_.push_back({name, help, false, decides_weights,
                      [=](const std::string& text) {
                        if (!absl::SimpleAtoi(text, value) || *value < least) {
                          return absl::InvalidArgumentError(
                              absl::StrCat("--", flag, ": \"", text,
                                           "\" must be a whole number of at least ", least));
                        }
                        return absl::OkStatus();
                      },
                      [value] { return absl::StrCat(*value); }});
  }
  void Real(const char* name, double* value, double least, double most, const char* help,
            bool decides_weights = false) {
    const std::string flag = name;
    flags_.push_back({name, help, false, decides_weights,
                      [=](const std::string& text) {
                        if (!absl::SimpleAtod(text, value) || !std::isfinite(*value) ||
                            *value < least || *value > most) {
                          return absl::InvalidArgumentError(absl::StrCat("--", flag, ": \"", text,
                                                                         "\" must be a number in ",
                                                                         least, "..", most));
                        }
                        return absl::OkStatus();
                      },
                      [value] { return absl::StrCat(*value); }});
  }
  void Seed(const char* name, uint64_t* value, const char* help, bool decides_weights = false) {
    const std::string flag = name;
    flags_.push_back({name, help, false, decides_weights,
                      [=](const std::string& text) {
                        if (!absl::SimpleAtoi(text, value)) {
                          return absl::InvalidArgumentError(
                              absl::StrCat("--", flag, ": \"", text, "\" must be a whole number"));
                        }
                        return absl::OkStatus();
                      },
                      [value] { return absl::StrCat(*value); }});
  }
  template <size_t N>
  void Reals(const char* name, std::array<double, N>* values, const char* help,
             bool decides_weights = false) {
    const std::string flag = name;
    flags_.push_back({name, help, false, decides_weights,
                      [=](const std::string& text) {
                        const std::vector<std::string> words = absl::StrSplit(text, ',');
                        std::array<double, N> read = {};
                        double sum = 0;
                        bool good = words.size() == N;
                        for (size_t i = 0; good && i < N; ++i) {
                          good = absl::SimpleAtod(words[i], &read[i]) && std::isfinite(read[i]) &&
                                 read[i] >= 0;
                          sum += read[i];
                        }
                        if (!good || sum <= 0) {
                          return absl::InvalidArgumentError(absl::StrCat(
                              "--", flag, ": \"", text, "\" must be ", N,
                              " numbers of at least 0 with commas between, not all 0"));
                        }
                        *values = read;
                        return absl::OkStatus();
                      },
                      [values] { return absl::StrJoin(*values, ","); }});
  }
  template <typename E>
  void Choice(const char* name, E* value, std::vector<std::pair<std::string, E>> choices,
              const char* help, bool decides_weights = false) {
    const std::string flag = name;
    flags_.push_back({name, help, false, decides_weights,
                      [=](const std::string& text) {
                        std::vector<std::string> names;
                        for (const auto& [choice, meaning] : choices) {
                          if (text == choice) {
                            *value = meaning;
                            return absl::OkStatus();
                          }
                          names.push_back(choice);
                        }
                        return absl::InvalidArgumentError(absl::StrCat("--", flag, ": \"", text,
                                                                       "\" must be one of ",
                                                                       absl::StrJoin(names, ", ")));
                      },
                      [=] {
                        for (const auto& [choice, meaning] : choices) {
                          if (meaning == *value) return choice;
                        }
                        return std::string();
                      }});
  }

  std::vector<Flag> flags_;
};

FlagTable::FlagTable(TrainOptions* o) {
  constexpr double kMany = 1e9;
  Text("family", &o->family, "search space by name");
  Text("spec", &o->spec, "spec file of a search space; replaces --family");
  Text("dataset", &o->dataset, "dataset by name");
  Text("data", &o->data, "directory that holds the dataset");
  Text("device", &o->device, "cpu or cuda");
  Text("package", &o->package, "directory to write the trained package to");
  Text("checkpoint-dir", &o->checkpoint_dir, "directory for checkpoints");
  Switch("resume", &o->resume, "go on from the checkpoint, when there is one");
  Switch("finish", &o->finish, "train no more: make table and package from the checkpoint");
  Seed("seed", &o->seed, "seed of weights, subnets, order and augmentation", true);
  Integer("epochs", &o->epochs, 1, "stop after this many epochs");
  Integer("schedule-epochs", &o->schedule_epochs, 0, "length of the schedule; 0: as --epochs");
  Real("time-limit-seconds", &o->time_limit_seconds, 0, kMany,
       "stop cleanly, with a checkpoint; 0: never");
  Integer("checkpoint-every", &o->checkpoint_every, 1, "epochs between checkpoints");
  Integer("eval-every", &o->eval_every, 0, "epochs between evaluations; 0: only at the end");
  Integer("log-every", &o->log_every, 1, "steps between progress lines");
  Choice<TrainMethod>(
      "method", &o->method,
      {{"sandwich", TrainMethod::kSandwich}, {"progressive", TrainMethod::kProgressive}},
      "sandwich, or progressive (shrinking: full network, then kernels, depths, widths)", true);
  Text("architecture", &o->architecture,
       "train this one alone: largest, smallest, random-N of the table, JSON or its file", true);
  Reals("phase-shares", &o->phase_shares,
        "progressive: of the steps, for full, kernel, depth 1, depth 2, width 1, width 2", true);
  Reals("phase-lr", &o->phase_lr, "progressive: highest learning rates of these, times --lr", true);
  Real("kd-ratio", &o->kd_ratio, 0, 100, "progressive: weight of the teacher's soft labels", true);
  Integer("batch", &o->batch, 1, "images per step", true);
  Integer("random-subnets", &o->random_subnets, 0, "random subnets per step", true);
  Real("lr", &o->lr, 0, 100, "highest learning rate", true);
  Choice<Schedule>("schedule", &o->schedule,
                   {{"one-cycle", Schedule::kOneCycle}, {"cosine", Schedule::kCosine}},
                   "one-cycle or cosine", true);
  Real("warmup-epochs", &o->warmup_epochs, 0, kMany, "rise of the learning rate", true);
  Real("momentum", &o->momentum, 0, 0.9999, "Nesterov momentum", true);
  Real("weight-decay", &o->weight_decay, 0, 1, "of convolutions and matrices", true);
  Real("label-smoothing", &o->label_smoothing, 0, 0.9, "of the largest subnet's labels", true);
  Real("clip-norm", &o->clip_norm, 0, kMany, "longest gradient; 0: any", true);
  Real("dropout", &o->dropout, 0, 0.9, "before the last layer of the largest subnet", true);
  Real("ema-decay", &o->ema_decay, 0, 0.999999, "of the averaged weights that are shipped", true);
  Switch("zero-residual-scale", &o->zero_residual_scale,
         "start residual branches at a BatchNorm scale of 0", true);
  Integer("shift", &o->shift, 0, "augmentation: largest shift in pixels", true);
  Switch("flip", &o->flip, "augmentation: mirror images", true);
  Real("erase-probability", &o->erase_probability, 0, 1, "augmentation: random erasing", true);
  Integer("calibration-images", &o->calibration_images, 1, "training images that re-calibrate");
  Integer("calibration-batch", &o->calibration_batch, 1, "images per calibration batch");
  Integer("table-subnets", &o->table_subnets, 0, "random subnets in the final table");
  Seed("table-seed", &o->table_seed, "seed of those random subnets");
  Switch("test", &o->test, "final table also on the test split");
  Text("table", &o->table, "JSON file for the final table");
  Text("lines", &o->lines, "file to which a complete run adds one line of JSON");
  Text("runs", &o->runs, "file with more flags in each line: one run after another");
  Choice<DepthwiseMethod>("depthwise", &o->depthwise,
                          {{"aten", DepthwiseMethod::kAten}, {"custom", DepthwiseMethod::kCustom}},
                          "depthwise convolutions: aten, or custom (this program's CUDA kernels)");
  Switch("cudnn-benchmark", &o->cudnn_benchmark, "let cuDNN time its algorithms");
  Switch("check-depthwise", &o->check_depthwise, "compare and time the custom kernels, and exit");
}

absl::Status CheckTogether(const TrainOptions& options) {
  if ((options.resume || options.finish) && options.checkpoint_dir.empty()) {
    return absl::InvalidArgumentError("--resume and --finish need --checkpoint-dir");
  }
  if (options.time_limit_seconds > 0 && options.checkpoint_dir.empty()) {
    return absl::InvalidArgumentError("--time-limit-seconds needs --checkpoint-dir");
  }
  if (!options.architecture.empty() && options.method == TrainMethod::kProgressive) {
    return absl::InvalidArgumentError(
        "--architecture trains one network alone: it does not go with --method progressive");
  }
  if (!options.architecture.empty() && !options.package.empty()) {
    return absl::InvalidArgumentError(
        "--architecture trains no supernet, so there is no --package to write");
  }
  if (options.device != "cpu" && options.device != "cuda") {
    return absl::InvalidArgumentError(
        absl::StrCat("--device: \"", options.device, "\" must be cpu or cuda"));
  }
  if (options.depthwise == DepthwiseMethod::kCustom && options.device != "cuda") {
    return absl::InvalidArgumentError("--depthwise custom needs --device cuda");
  }
  return absl::OkStatus();
}

}  // namespace

std::string TrainHelp() {
  TrainOptions defaults;
  const FlagTable table(&defaults);
  std::string help =
      "forall-train: trains a once-for-all supernet (sandwich rule, or progressive shrinking) and\n"
      "writes a package that forall searches.\n\n"
      "  forall-train --family fashion_mnist --data build/deps --device cuda \\\n"
      "      --checkpoint-dir /tmp/ckpt --package supernets/mine\n\n"
      "Flags (defaults in brackets; switches take --no-NAME too):\n";
  for (const Flag& flag : table.flags()) {
    absl::StrAppend(&help, "  --", flag.name, flag.is_switch ? "" : " VALUE", "  [", flag.show(),
                    "]\n        ", flag.help, "\n");
  }
  return help;
}

absl::StatusOr<TrainOptions> ParseTrainOptions(absl::Span<const std::string> arguments,
                                               bool* help_wanted) {
  *help_wanted = false;
  TrainOptions options;
  const FlagTable table(&options);
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      *help_wanted = true;
      return options;
    }
    if (argument.rfind("--", 0) != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", argument, "\" is no flag; forall-train --help lists them"));
    }
    const size_t equals = argument.find('=');
    std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const Flag* flag = table.Find(name);
    bool negated = false;
    if (flag == nullptr && name.rfind("no-", 0) == 0) {
      flag = table.Find(name.substr(3));
      negated = true;
    }
    if (flag == nullptr || (negated && !flag->is_switch)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " is not known; forall-train --help lists the flags"));
    }
    if (flag->is_switch) {
      if (equals != std::string::npos) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, " takes no value"));
      }
      FORALL_RETURN_IF_ERROR(flag->read(negated ? "false" : "true"));
    } else if (equals != std::string::npos) {
      FORALL_RETURN_IF_ERROR(flag->read(argument.substr(equals + 1)));
    } else if (i + 1 < arguments.size()) {
      FORALL_RETURN_IF_ERROR(flag->read(arguments[++i]));
    } else {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
    }
  }
  if (options.schedule_epochs == 0) options.schedule_epochs = options.epochs;
  FORALL_RETURN_IF_ERROR(CheckTogether(options));
  if (!options.architecture.empty()) options.method = TrainMethod::kAlone;
  return options;
}

std::string RecipeFlags(const TrainOptions& options) {
  TrainOptions copy = options;
  const FlagTable table(&copy);
  std::vector<std::string> words = {absl::StrCat("--schedule-epochs ", options.schedule_epochs)};
  for (const Flag& flag : table.flags()) {
    if (!flag.decides_weights) continue;
    const std::string value = flag.show();
    if (value.empty()) continue;
    if (!flag.is_switch) {
      words.push_back(absl::StrCat("--", flag.name, " ", value));
    } else {
      words.push_back(absl::StrCat(value == "true" ? "--" : "--no-", flag.name));
    }
  }
  return absl::StrJoin(words, " ");
}

}  // namespace forall
